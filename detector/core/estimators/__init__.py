"""What is learned from data: fit, score, and the arrays in which it is kept. A file is an estimator."""
