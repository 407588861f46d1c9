"""Kafka: the only place that knows kafka-python, whose version is pinned because the record reader and the guard rest on its internals."""
