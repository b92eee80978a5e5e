"""Offsets and topics over REST: read in any state, changed and reset while a connector is stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.dual.asked import Asked, error
from tests.harness import topics, wait
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

STOPPED_FIRST = "Connectors must be in the STOPPED state before their offsets can be modified."
ALTERED = "The offsets for this connector have been altered successfully"
RESET = "The offsets for this connector have been reset successfully"
NONE_GIVEN = "Partitions / offsets need to be provided for an alter offsets request"


def entry(partition: object, offset: object) -> dict[str, Any]:
    """The body of a change of one partition."""
    return {"offsets": [{"partition": partition, "offset": offset}]}


def offsets(worker: Asked, name: str) -> list[Any]:
    """Each partition with its offset."""
    answer = worker.get(f"/connectors/{name}/offsets")
    assert answer.status == 200, answer.body
    assert list(answer.json) == ["offsets"]
    found = [(one["partition"], one["offset"]) for one in answer.json["offsets"]]
    return sorted(found, key=str)


def until(condition: Callable[[], bool], what: str) -> None:
    wait.until(condition, what, timeout_s=60)


@pytest.fixture
def name(topic: str) -> str:
    """A name that no connector has had: offsets and topics stay with it."""
    return f"c-{topic[-8:]}"


@pytest.fixture
def source(worker: Asked, kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path, name: str) -> str:
    """The file of a stopped source that has read four bytes of it."""
    file = tmp_path / "in.txt"
    file.write_text("a\nb\n")
    worker.make(name, {"connector.class": "FileStreamSource", "topic": topic, "file": str(file)})
    until(lambda: sum(topics.end_offsets(kafka.bootstrap, topic).values()) == 2, "two records")
    worker.put(f"/connectors/{name}/stop")
    worker.wait_for(name, "STOPPED")
    return str(file)


@pytest.fixture
def sink(worker: Asked, kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path, name: str) -> str:
    """The topic of a stopped sink that has read two records of each of its partitions 0 and 1."""
    topics.produce(kafka.bootstrap, topic, ["a", "b", "c", "d"], partitions=[0, 0, 1, 1])
    file = tmp_path / "out.txt"
    worker.make(name, {"connector.class": "FileStreamSink", "topics": topic, "file": str(file)})
    until(lambda: file.exists() and len(file.read_text().splitlines()) == 4, "four lines")
    worker.put(f"/connectors/{name}/stop")
    worker.wait_for(name, "STOPPED")
    return topic


def test_a_sources_offsets_are_read_changed_and_reset(worker: Asked, source: str, name: str) -> None:
    partition = {"filename": source}
    assert offsets(worker, name) == [(partition, {"position": 4})]
    changed = worker.patch(f"/connectors/{name}/offsets", entry(partition, {"position": 2}))
    assert (changed.status, changed.json) == (200, {"message": ALTERED})
    assert offsets(worker, name) == [(partition, {"position": 2})]
    assert worker.patch(f"/connectors/{name}/offsets", entry({"filename": "elsewhere"}, None)).json == {
        "message": ALTERED
    }
    for _ in range(2):
        reset = worker.delete(f"/connectors/{name}/offsets")
        assert (reset.status, reset.json) == (200, {"message": RESET})
        assert offsets(worker, name) == []


def test_a_sinks_offsets_are_those_of_its_group(worker: Asked, sink: str, name: str) -> None:
    first, second = ({"kafka_partition": number, "kafka_topic": sink} for number in (0, 1))
    both = [(first, {"kafka_offset": 2}), (second, {"kafka_offset": 2})]
    assert [one for one in offsets(worker, name) if one[1] != {"kafka_offset": 0}] == both
    changed = worker.patch(f"/connectors/{name}/offsets", entry(first, {"kafka_offset": 1}))
    assert (changed.status, changed.json) == (200, {"message": ALTERED})
    as_text = entry({"kafka_topic": sink, "kafka_partition": "1"}, {"kafka_offset": "0"})
    assert worker.patch(f"/connectors/{name}/offsets", as_text).status == 200
    assert offsets(worker, name)[:2] == [(first, {"kafka_offset": 1}), (second, {"kafka_offset": 0})]
    assert worker.patch(f"/connectors/{name}/offsets", entry(first, None)).status == 200
    assert first not in [partition for partition, _ in offsets(worker, name)]
    for _ in range(2):
        reset = worker.delete(f"/connectors/{name}/offsets")
        assert (reset.status, reset.json) == (200, {"message": RESET})
        assert offsets(worker, name) == []


def test_offsets_are_changed_while_a_connector_is_stopped_only(worker: Asked, sink: str, name: str) -> None:
    worker.put(f"/connectors/{name}/resume")
    worker.wait_for(name, "RUNNING", "RUNNING")
    body = entry({"kafka_topic": sink, "kafka_partition": 0}, {"kafka_offset": 0})
    for answer in (worker.patch(f"/connectors/{name}/offsets", body), worker.delete(f"/connectors/{name}/offsets")):
        assert str(error(answer, 400)).startswith(STOPPED_FIRST)


@pytest.mark.parametrize("body", [{}, {"offsets": []}, {"offsets": None}])
def test_a_change_of_nothing_is_refused(worker: Asked, source: str, name: str, body: object) -> None:
    for one in (name, "nope"):
        assert error(worker.patch(f"/connectors/{one}/offsets", body), 400) == NONE_GIVEN


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", {"offsets": {}}, {"nope": []}, {"offsets": [1]}], ids=lambda body: str(body)[:30]
)
def test_a_body_that_cannot_be_read_is_500(worker: Asked, source: str, name: str, body: object) -> None:
    assert error(worker.patch(f"/connectors/{name}/offsets", body), 500)


@pytest.mark.parametrize(
    ("partition", "offset", "message"),
    [
        (None, {"position": -1}, "The value for the 'position' key in the offset should be a non-negative value"),
        (None, {"position": "x"}, "The value for the 'position' key in the offset is expected to be a Long value"),
        (None, {"nope": 1}, "Offset objects should either be null or contain the key 'position'"),
        ({"nope": 1}, {"position": 1}, "Partition objects should contain the key 'filename'"),
    ],
)
def test_a_source_may_refuse_offsets(
    worker: Asked, source: str, name: str, partition: object, offset: object, message: str
) -> None:
    answer = worker.patch(f"/connectors/{name}/offsets", entry(partition or {"filename": source}, offset))
    assert error(answer, 500) == message
    assert offsets(worker, name) == [({"filename": source}, {"position": 4})]


SINK_MISTAKES: Sequence[tuple[object, object, str]] = [
    (
        {},
        {"kafka_offset": 1},
        "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'",
    ),
    (None, {"kafka_offset": 1}, "The partition for a sink connector offset cannot be null or missing"),
    (
        {"kafka_topic": None, "kafka_partition": 0},
        {"kafka_offset": 1},
        "Kafka topic names must be valid strings and may not be null",
    ),
    (
        {"kafka_topic": "t", "kafka_partition": None},
        {"kafka_offset": 1},
        "Kafka partitions must be valid numbers and may not be null",
    ),
    (
        {"kafka_topic": "t", "kafka_partition": "x"},
        {"kafka_offset": 1},
        (
            "Failed to parse the following Kafka partition value in the provided offsets: 'x'. "
            "Partition values for sink connectors need to be integers."
        ),
    ),
    (
        {"kafka_topic": "t", "kafka_partition": 0},
        {},
        "The offset for a sink connector should either be null or contain the key 'kafka_offset'",
    ),
    *(
        (
            {"kafka_topic": "t", "kafka_partition": 0},
            {"kafka_offset": value},
            (
                f"Failed to parse the following Kafka offset value in the provided offsets: '{told}'. "
                "Offset values for sink connectors need to be integers."
            ),
        )
        for value, told in (("x", "x"), (1.5, "1.5"), (None, "null"))
    ),
]


def test_a_sinks_mistakes_are_named(worker: Asked, sink: str, name: str) -> None:
    for partition, offset, message in SINK_MISTAKES:
        assert error(worker.patch(f"/connectors/{name}/offsets", entry(partition, offset)), 400) == message
    whole = {"kafka_topic": sink, "kafka_partition": 0}
    negative = worker.patch(f"/connectors/{name}/offsets", entry(whole, {"kafka_offset": -1}))
    assert error(negative, 500) == f"Failed to modify offsets for sink connector {name}"
    for elsewhere in ({**whole, "kafka_partition": 99}, {**whole, "kafka_topic": "no-such-topic"}):
        answer = worker.patch(f"/connectors/{name}/offsets", entry(elsewhere, {"kafka_offset": 1}))
        assert error(answer, 500) == f"Failed to alter consumer group offsets for connector {name}"


def test_offsets_of_nobody(worker: Asked) -> None:
    message = "Connector nope not found"
    assert error(worker.get("/connectors/nope/offsets"), 404) == message
    assert error(worker.patch("/connectors/nope/offsets", entry({"a": 1}, {"b": 0})), 404) == message
    assert error(worker.delete("/connectors/nope/offsets"), 404) == message


def test_topics_are_told_and_forgotten(worker: Asked, source: str, name: str, topic: str) -> None:
    assert worker.get(f"/connectors/{name}/topics").json == {name: {"topics": [topic]}}
    reset = worker.put(f"/connectors/{name}/topics/reset")
    assert (reset.status, reset.body) == (202, b"")
    until(lambda: worker.get(f"/connectors/{name}/topics").json == {name: {"topics": []}}, "no topics")
    assert worker.get("/connectors/nope/topics").json == {"nope": {"topics": []}}
    assert worker.put("/connectors/nope/topics/reset").status == 202
