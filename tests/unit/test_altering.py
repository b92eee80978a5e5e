"""What clients send as offsets is taken, or refused, as Kafka Connect does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.altering import alter, read_offsets, sink_places, source_parts
from engine.api.errors import ConnectError
from engine.config.files import Pipeline
from engine.connector_lines import PlanOptions
from engine.herder.model import Alter, PartitionOffset
from engine.herder.questions import NoAnswerError, ReadOffsets
from engine.kafka import group_offsets

PLACE = {"kafka_topic": "t", "kafka_partition": 2}
TEN = {"kafka_offset": 10}
NO_NUMBER = ". {} values for sink connectors need to be integers."
BAD_PARTITION = "Failed to parse the following Kafka partition value in the provided offsets: '{}'" + NO_NUMBER.format(
    "Partition"
)
BAD_OFFSET = "Failed to parse the following Kafka offset value in the provided offsets: '{}'" + NO_NUMBER.format(
    "Offset"
)


@pytest.mark.parametrize(
    ("partition", "offset", "expected"),
    [
        (PLACE, TEN, {("t", 2): 10}),
        (PLACE, {"kafka_offset": "10", "more": 1}, {("t", 2): 10}),
        ({"kafka_topic": "t", "kafka_partition": "+2"}, None, {("t", 2): None}),
        ({"kafka_topic": 7, "kafka_partition": 2}, TEN, {("7", 2): 10}),
        (PLACE, {"kafka_offset": -1}, {("t", 2): -1}),
    ],
)
def test_numbers_of_a_sink_may_be_text(
    partition: Any, offset: Any, expected: dict[tuple[str, int], int | None]
) -> None:
    assert sink_places((PartitionOffset(partition, offset),)) == expected


@pytest.mark.parametrize(
    ("partition", "offset", "words"),
    [
        (None, TEN, "The partition for a sink connector offset cannot be null or missing"),
        (None, None, "The partition for a sink connector offset cannot be null or missing"),
        *(
            (
                partition,
                TEN,
                "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'",
            )
            for partition in ({}, {"kafka_topic": "t"}, {"kafka_partition": 2})
        ),
        (
            {"kafka_topic": None, "kafka_partition": 2},
            TEN,
            "Kafka topic names must be valid strings and may not be null",
        ),
        (
            {"kafka_topic": "t", "kafka_partition": None},
            TEN,
            "Kafka partitions must be valid numbers and may not be null",
        ),
        ({"kafka_topic": "t", "kafka_partition": "two"}, TEN, BAD_PARTITION.format("two")),
        ({"kafka_topic": "t", "kafka_partition": 1.0}, TEN, BAD_PARTITION.format("1.0")),
        ({"kafka_topic": "t", "kafka_partition": True}, TEN, BAD_PARTITION.format("true")),
        ({"kafka_topic": "t", "kafka_partition": " 2"}, TEN, BAD_PARTITION.format(" 2")),
        ({"kafka_topic": "t", "kafka_partition": 2**31}, TEN, BAD_PARTITION.format(2**31)),
        (PLACE, {}, "The offset for a sink connector should either be null or contain the key 'kafka_offset'"),
        (PLACE, {"kafka_offset": None}, BAD_OFFSET.format("null")),
        (PLACE, {"kafka_offset": "1e3"}, BAD_OFFSET.format("1e3")),
        (PLACE, {"kafka_offset": 2**63}, BAD_OFFSET.format(2**63)),
    ],
)
def test_what_is_no_offset_of_a_sink_is_400_in_kafka_connects_words(partition: Any, offset: Any, words: str) -> None:
    with pytest.raises(NoAnswerError) as caught:
        sink_places((PartitionOffset(partition, offset),))
    assert (caught.value.status, str(caught.value)) == (400, words)


def test_one_bad_offset_among_good_ones_refuses_them_all() -> None:
    with pytest.raises(NoAnswerError):
        sink_places((PartitionOffset(PLACE, TEN), PartitionOffset({"kafka_topic": "t"}, TEN)))
    with pytest.raises(NoAnswerError):
        source_parts((PartitionOffset({"a": 1}, None), PartitionOffset({"a": [1]}, None)))


def test_the_last_of_several_for_one_partition_counts() -> None:
    assert sink_places((PartitionOffset(PLACE, TEN), PartitionOffset(PLACE, None))) == {("t", 2): None}
    twice = (PartitionOffset({"b": 1, "a": 2}, {"x": 1}), PartitionOffset({"a": 2, "b": 1}, {"x": 2}))
    assert source_parts(twice) == {b'{"a":2,"b":1}': b'{"x":2}'}


def test_offsets_of_a_source_are_flat_objects_or_null() -> None:
    flat = {"text": "x", "whole": 2**63 - 1, "float": 1.5, "yes": True, "nothing": None}
    assert source_parts((PartitionOffset(flat, None), PartitionOffset(None, flat))) == {
        b'{"float":1.5,"nothing":null,"text":"x","whole":9223372036854775807,"yes":true}': None,
        b"null": b'{"float":1.5,"nothing":null,"text":"x","whole":9223372036854775807,"yes":true}',
    }


@pytest.mark.parametrize(("value", "kind"), [({"a": 1}, "MAP"), ([1], "ARRAY"), (2**63, "class java.math.BigInteger")])
@pytest.mark.parametrize("side", ["partition", "offset"])
def test_what_is_nested_or_too_large_cannot_be_an_offset_of_a_source(value: Any, kind: str, side: str) -> None:
    part = {"ok": 1, "deep": value}
    one = PartitionOffset(part, None) if side == "partition" else PartitionOffset({}, part)
    with pytest.raises(NoAnswerError) as caught:
        source_parts((one,))
    words = f"Offsets may only contain primitive types as values, but field deep contains {kind}"
    assert (caught.value.status, str(caught.value)) == (500, words)


class Source:
    """The offsets of a source of the class `Refusing`, in a worker's store."""

    def __init__(self, folder: Path) -> None:
        keys = {
            "bootstrap.servers": "localhost:1",
            "key.converter": "StringConverter",
            "value.converter": "StringConverter",
            "offset.storage.file.filename": f"{folder}/offsets",
        }
        plugin = "tests.unit.plugins.plugins_of_tests:Refusing"
        self.config = {"connector.class": plugin, "topic": "t", "password": "hush-hush"}
        self._worker = Pipeline(worker=keys, worker_file="worker.properties", connectors=())
        self._options = PlanOptions(worker_id="w1", is_bulk=False)

    def alter(self, *offsets: tuple[Any, Any]) -> str:
        listed = tuple(PartitionOffset(*one) for one in offsets)
        return alter(self._worker, self._options, Alter(1, "a", self.config, listed)).decode()

    def reset(self) -> str:
        return alter(self._worker, self._options, Alter(1, "a", self.config, None)).decode()

    def read(self) -> list[Any]:
        listed: list[Any] = json.loads(read_offsets(self._worker, self._options, ReadOffsets("a", self.config)))[
            "offsets"
        ]
        return listed


FIXED = "because it doesn't support external modification of offsets"
EXTERNAL = "However, if this connector manages offsets externally, they will need to be manually {} in the system"


@pytest.mark.slow
def test_offsets_are_stored_forgotten_and_told_with_what_is_left_to_do(tmp_path: Path) -> None:
    source = Source(tmp_path)
    told = source.alter(({"p": 1}, {"at": 5}), ({"p": 2}, {"at": 6}), (None, {"at": 7}))
    assert told.startswith("The Connect framework-managed offsets for this connector have been altered successfully.")
    assert EXTERNAL.format("altered") in told
    both = [{"partition": {"p": 1}, "offset": {"at": 5}}, {"partition": {"p": 2}, "offset": {"at": 6}}]
    assert source.read() == both
    assert source.alter(({"p": 1}, None)) == "The offsets for this connector have been altered successfully"
    assert source.read() == both[1:]
    assert source.reset() == "The offsets for this connector have been reset successfully"
    assert source.read() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "words"),
    [
        (
            "fixed",
            "Failed to modify offsets for connector a because it doesn't support external modification of offsets",
        ),
        ("known", "no such table; tried with [hidden]"),
        ("unknown", "Failed to modify offsets for source connector a"),
    ],
)
def test_what_a_connector_refuses_changes_nothing_and_is_told_without_secrets(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], way: str, words: str
) -> None:
    source = Source(tmp_path)
    source.alter(({"p": 1}, {"at": 5}))
    with pytest.raises(NoAnswerError) as caught:
        source.alter(({"p": 1}, {"at": 6}), ({"p": 2}, {"way": way}))
    assert (caught.value.status, str(caught.value)) == (500, words)
    assert source.read() == [{"partition": {"p": 1}, "offset": {"at": 5}}]
    assert "hush-hush" not in capfd.readouterr().err


def test_a_sink_hears_that_all_is_to_be_forgotten_though_the_group_has_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_offsets, "list_offsets", lambda *_: {})
    sink = Source(tmp_path)
    sink.config = {"connector.class": "tests.unit.plugins.plugins_of_tests:KeepingSink", "topics": "t"}
    with pytest.raises(NoAnswerError, match=r"to be reset: \[\]"):
        sink.reset()
    with pytest.raises(NoAnswerError, match="to be altered: .*topic='t', partition=2"):
        sink.alter((PLACE, TEN))


def test_a_connector_that_ends_its_process_costs_an_answer(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="alter_offsets: its process left with exit code 0"):
        Source(tmp_path).alter(({"p": 1}, {"way": "exit"}))
