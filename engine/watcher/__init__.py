"""The process of a connector that watches something: the connector itself, and nothing of its tasks."""
