"""A client that has asked is gone with its answer: one that stays as garbage is destroyed by whoever collects."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]  # exported unsaid

from engine.config.line import LineSpec, PluginSpec, Subscription
from engine.kafka.access import is_allowed
from engine.kafka.check import check_kafka
from engine.kafka.producer import BatchProducer
from engine.kafka.topics import topic_ids
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
SECONDS = 10.0
MISSING = "never-made"
PLUGIN = PluginSpec("converters.string:StringConverter")


@pytest.fixture
def collector() -> Iterator[None]:
    """Nothing is collected meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def clients() -> int:
    return sum(isinstance(one, AdminClient) for one in gc.get_objects())


@pytest.mark.usefixtures("collector")
def test_a_question_that_is_answered_with_an_error_leaves_no_client_behind(kafka: Kafka) -> None:
    before = clients()
    settings = {"bootstrap.servers": kafka.bootstrap}
    assert topic_ids(settings, [MISSING], SECONDS) == {MISSING: ""}
    assert is_allowed(settings, AclOperation.READ, [MISSING], "", SECONDS)
    assert BatchProducer(settings).largest_batch_bytes(MISSING, SECONDS) is None
    sink = LineSpec(
        connector="archive",
        task=0,
        type="sink",
        plugin="Tests",
        task_path="tests:None",
        task_config={},
        key_converter=PLUGIN,
        value_converter=PLUGIN,
        header_converter=PLUGIN,
        kafka={**settings, "group.id": "connect-archive"},
        subscription=Subscription(topics=(MISSING,)),
    )
    check_kafka([sink], timeout_seconds=SECONDS)
    assert clients() == before
