"""Kafka Connect's transforms and predicates, and ours; found by the catalog, as connectors and converters are."""
