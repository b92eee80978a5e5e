"""What several tests on the real broker need."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from tests.harness import topics
from tests.harness.kafka import KafkaServer, UserKafka


@pytest.fixture
def dead(kafka: KafkaServer | UserKafka) -> Iterator[str]:
    """A topic's name that no other test has; whoever needs it makes it."""
    name = f"dead-{uuid.uuid4().hex[:8]}"
    yield name
    if name in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics:
        topics.delete_topic(kafka.bootstrap, name)
