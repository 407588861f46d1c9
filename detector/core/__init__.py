"""The whole of detection, pure: no I/O, clock, log, thread, global, environment, Kafka or Prometheus."""
