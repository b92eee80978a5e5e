"""Finding plugins: entry points, class paths, Kafka Connect's Java names and aliases; asking them in a probe."""
