"""Bytes -> EventBatch. A file is a format, available under its own name."""
