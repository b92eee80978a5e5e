"""What a fetch brought, as columns; nothing is done for a single record in Python.

    [Message, ...] ──► Fetched(slices, values, keys, timestamps, headers)

A column is made by an unbound method (`list(map(Message.value, messages))`): 0.015 to 0.03 us a record, where a
comprehension takes 0.08 to 0.13. Offsets are looked at only at the two ends of a slice: in a partition they grow, so a
slice whose ends are as far apart as it is long has no gap.

Used by: engine.kafka.consumer (makes), engine.pump.framing (reads).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

__all__ = ["TORN", "Fetched", "Slice", "columns_of"]

Headers = list[tuple[str, bytes | None]]


class Slice(NamedTuple):
    """Neighbours of one partition in what was fetched."""

    topic: str
    partition: int
    length: int  # n records
    first_offset: int
    last_offset: int
    offsets: list[int] | None = None  # None: they follow each other


class Fetched(NamedTuple):
    """n records in the order they came, as columns of n slots; None: all slots empty."""

    slices: list[Slice]
    values: list[bytes | None]
    keys: list[bytes | None] | None
    timestamps: list[int] | None  # milliseconds; -1: none; None: nobody reads them
    timestamp_types: int | list[int]  # one for all, or one each
    headers: list[Headers | None] | None
    is_torn: bool = False  # partitions came or went in the middle of it: it is empty, seek and fetch again


TORN = Fetched([], [], None, None, 0, None, is_torn=True)


def columns_of(
    messages: Sequence[Message], *, is_one_topic: bool, wants_timestamps: bool = True, wants_headers: bool = True
) -> Fetched:
    """The columns of at least one message; none of them is an event. is_one_topic: all come from the same.

    wants_timestamps, wants_headers: either costs more than all other columns together, headers where there are any.
    """
    keys = list(map(Message.key, messages))
    headers: list[Any] | None = None
    if wants_headers and any(map(Message.headers, messages)):
        headers = list(map(Message.headers, messages))
    timestamps: list[int] | None = None
    types: int | list[int] = TIMESTAMP_NOT_AVAILABLE
    if wants_timestamps:
        stamped = list(map(Message.timestamp, messages))
        each = list(map(itemgetter(0), stamped))
        types = each[0] if each.count(each[0]) == len(each) else each
        timestamps = list(map(itemgetter(1), stamped))
    return Fetched(
        _slices(messages, is_one_topic=is_one_topic),
        list(map(Message.value, messages)),
        keys if keys.count(None) != len(keys) else None,
        timestamps,
        types,
        headers,
    )


def _slices(messages: Sequence[Message], *, is_one_topic: bool) -> list[Slice]:
    cuts = set(_cuts(list(map(Message.partition, messages))))
    if not is_one_topic:
        cuts.update(_cuts(list(map(Message.topic, messages))))
    slices = []
    begin = 0
    for end in sorted(cuts):
        slices.append(_slice(messages, begin, end))
        begin = end
    return slices


def _cuts(column: list[object]) -> list[int]:
    """The indexes at which neighbours in a column differ, and its length."""
    if column.count(column[0]) == len(column):  # as often as not; it costs a third of the rest
        return [len(column)]
    at = 0
    cuts = []
    for _, group in groupby(column):
        at += len(list(group))
        cuts.append(at)
    return cuts


def _slice(messages: Sequence[Message], begin: int, end: int) -> Slice:
    topic, partition = messages[begin].topic(), messages[begin].partition()
    first, last = messages[begin].offset(), messages[end - 1].offset()
    is_gapless = last - first + 1 == end - begin  # type: ignore[operator]  # None: events only
    offsets = None if is_gapless else list(map(Message.offset, messages[begin:end]))
    return Slice(topic, partition, end - begin, first, last, offsets)  # type: ignore[arg-type]  # None: events only
