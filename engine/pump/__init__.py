"""The pump: librdkafka, offsets, delivery. No plugin code."""
