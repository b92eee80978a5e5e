"""Routers give records other topics, one by one or in batches alike."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.batch import Columns
from engine.api.column import Repeat
from engine.api.errors import ConfigError, DataError
from engine.api.record import Header, SinkRecord, SourceRecord
from engine.api.schema import INT32, Schema
from engine.transforms.routers import RegexRouter, RegexRouterConfig, TimestampRouter, TimestampRouterConfig

DAY_MS = 86_400_000


def regex(pattern: str, replacement: str) -> RegexRouter:
    made = RegexRouter()
    made.configure(RegexRouterConfig(regex=pattern, replacement=replacement))
    return made


def timestamp(**keys: str) -> TimestampRouter:
    made = TimestampRouter()
    made.configure(TimestampRouterConfig.parse(keys))
    return made


def columns(topics: Any, timestamps: Any) -> Columns:
    count = len(topics)
    none = Repeat(None, count)
    return Columns(
        topics=topics,
        partitions=none,
        timestamps=timestamps,
        keys=none,
        key_schemas=none,
        values=Repeat("v", count),
        value_schemas=none,
        headers=Repeat((), count),
        origins=range(count),
        source_partitions=none,
        source_offsets=none,
    )


def test_a_topic_is_replaced_by_the_first_match_in_it() -> None:
    router = regex("a|ab", "x")
    assert router.apply(SourceRecord(topic="ab")).topic == "xb"  # the whole matches "ab", the first match is "a"
    assert router.apply(SourceRecord(topic="abc")).topic == "abc"


def test_a_batch_is_routed_as_its_records_are() -> None:
    router = regex("(.*)-(.*)", "$2")
    batch = columns(["a-b", "c", "a-b"], Repeat(None, 3))
    assert not router.apply_batch(batch)
    assert [*batch.topics] == ["b", "c", "b"]
    same = columns(Repeat("a-b", 3), Repeat(None, 3))
    router.apply_batch(same)
    assert isinstance(same.topics, Repeat)
    assert [*same.topics] == ["b"] * 3


@pytest.mark.parametrize(
    ("pattern", "replacement", "key", "reason"),
    [
        (r"\p{IsGreek}", "x", "regex", "is not known"),
        ("(a)", "$2", "replacement", "No group 2"),
        ("a", "trailing$", "replacement", "group index is missing"),
    ],
)
def test_what_cannot_be_translated_is_refused(pattern: str, replacement: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as raised:
        regex(pattern, replacement)
    assert [problem.key for problem in raised.value.problems] == [key]


def test_a_batch_goes_to_the_topics_of_its_days() -> None:
    router = timestamp()
    batch = columns(Repeat("t", 4), [0, DAY_MS - 1, DAY_MS, -1])
    assert not router.apply_batch(batch)
    assert [*batch.topics] == ["t-19700101", "t-19700101", "t-19700102", "t-19691231"]
    one_day = columns(Repeat("t", 3), [0, 1, 2])
    router.apply_batch(one_day)
    assert isinstance(one_day.topics, Repeat)


def test_a_record_without_a_timestamp_costs_itself() -> None:
    router = timestamp()
    batch = columns(["a", "b", "c"], [0, None, 0])
    failures = router.apply_batch(batch)
    assert [failure.index for failure in failures] == [1]
    assert str(failures[0].error).startswith("Timestamp missing on record: SourceRecord{")
    assert (batch.topics[0], batch.topics[2]) == ("a-19700101", "c-19700101")


def test_a_record_is_told_as_kafka_connect_tells_it() -> None:
    schema = Schema.struct({"a": INT32}, name="rec")
    record = SinkRecord(
        topic="t",
        partition=1,
        offset=7,
        key=b"k",
        value=schema.struct_type(a=1),
        value_schema=schema,
        headers=[Header("h", 1, INT32)],
        original_topic="o",
        original_partition=2,
        original_offset=7,
    )
    with pytest.raises(DataError) as raised:
        timestamp().apply(record)
    assert str(raised.value) == (
        "Timestamp missing on record: SinkRecord{kafkaOffset=7, timestampType=CreateTime, originalTopic=o, "
        "originalKafkaPartition=2, originalKafkaOffset=7} ConnectRecord{topic='t', kafkaPartition=1, key=[B@0, "
        "keySchema=null, value=Struct{a=1}, valueSchema=Schema{rec:STRUCT}, timestamp=null, "
        "headers=ConnectHeaders(headers=[ConnectHeader(key=h, value=1, schema=Schema{INT32})])}"
    )


def test_a_large_record_is_told_in_part() -> None:
    with pytest.raises(DataError) as raised:
        timestamp().apply(SourceRecord(topic="t", value="x" * 1_000_000))
    assert len(str(raised.value)) < 11_000


def test_a_pattern_of_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="Illegal pattern character 'n'"):
        timestamp(**{"timestamp.format": "nope"})
