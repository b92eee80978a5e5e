"""A record, as connectors see one: what is read from a system or written to it.

The runtime moves batches of columns (batch.py); these are views into a batch, or the
simple way to build one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from engine.api.schema import Schema

__all__ = ["Header", "SinkRecord", "SourceRecord", "TopicPartition"]


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Header(NamedTuple):
    """One header of a record; a key may occur several times, and the order counts."""

    key: str
    value: Any
    schema: Schema | None = None


class SourceRecord(Struct, frozen=True, kw_only=True):
    """One record on its way into Kafka."""

    topic: str
    value: Any = None
    value_schema: Schema | None = None
    key: Any = None
    key_schema: Schema | None = None
    partition: int | None = None  # None: the producer's partitioner chooses
    timestamp: int | None = None  # milliseconds since the epoch; None: when it is produced
    headers: Sequence[Header] = ()
    source_partition: Mapping[str, Any] | None = None  # what it was read from, e.g. {"filename": "a.txt"}
    source_offset: Mapping[str, Any] | None = None  # where to go on after it, e.g. {"position": 42}


class SinkRecord(Struct, frozen=True, kw_only=True):
    """One record out of Kafka. `topic` and `partition` are what transforms made of them."""

    topic: str
    partition: int
    offset: int
    value: Any = None
    value_schema: Schema | None = None
    key: Any = None
    key_schema: Schema | None = None
    timestamp: int | None = None  # milliseconds since the epoch; None: the record has none
    timestamp_type: str = "CreateTime"  # or "LogAppendTime", "NoTimestampType"
    headers: Sequence[Header] = ()
    original_topic: str = ""  # as consumed, before any transform
    original_partition: int = -1
    original_offset: int = -1
