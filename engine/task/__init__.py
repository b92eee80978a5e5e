"""The task process: a connector's task, its transforms and converters. No Kafka client."""
