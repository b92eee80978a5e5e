"""What tests with a registry share: a topic of their own, and Confluent's client as a peer."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from tests.harness.registry import SchemaRegistry


@pytest.fixture
def topic() -> str:
    """A name: subjects are called after it, and no broker is asked."""
    return f"orders-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def peer(registry: SchemaRegistry) -> SchemaRegistryClient:
    """Confluent's client of the same registry."""
    return SchemaRegistryClient({"url": registry.url})
