"""A local Kafka and a synthetic company, for trying the detector and for its tests."""
