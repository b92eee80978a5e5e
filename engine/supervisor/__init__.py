"""The supervisor: forks, watches, restarts and stops; one thread, one poll loop, no plugin code, no Kafka client."""
