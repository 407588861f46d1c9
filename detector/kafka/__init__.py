"""The only place that knows kafka-python."""
