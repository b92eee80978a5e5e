"""Kafka Connect's REST interface: paths, bodies and status codes. Nothing is decided here."""
