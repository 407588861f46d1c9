"""Insider-access anomaly detection on a stream of access events."""

__version__ = "0.1.0"
