"""A record of a source has another number than one that holds anything else, and the same in each life."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from engine.api.batch import SourceBatch
from engine.api.record import Header, SourceRecord
from engine.task import known_again

SELF = "tests.unit.task.test_known_again"


class Plain:
    """A connector's own object."""

    def __init__(self, held: Any) -> None:
        self.held = held


class Slotted:
    """One with slots."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class Hiding:
    """One that says nothing of what it holds, privately."""

    __slots__ = ("__held",)

    def __init__(self, held: Any) -> None:
        self.__held = held

    def __repr__(self) -> str:
        return "<Hiding>"


def envelope(row: int, clock: int) -> Mapping[str, Any]:
    return {"op": "u", "ts_ms": clock, "source": {"ts_ms": clock}, "after": {"row": row}}


PAIRS = {
    "objects": (Plain(1), Plain(2)),
    "objects with slots": (Slotted(1), Slotted(2)),
    "objects that hide what they hold": (Hiding(1), Hiding(2)),
    "objects within": ({"a": [Plain(1)]}, {"a": [Plain(2)]}),
    "large numbers": ({"n": 2**70}, {"n": 2**70 + 1}),
    "lone surrogates": ({"s": "\ud800a"}, {"s": "\ud800b"}),
    "what looks like an address": ({"s": "\ud800 at 0x1"}, {"s": "\ud800 at 0x2"}),
    "keys that are no texts": ({(1, 2): 1}, {(1, 3): 1}),
    "keys of two kinds": ({1: "a", "1": "b"}, {1: "c", "1": "b"}),
    "not a number": ({"f": float("nan")}, {"f": float("inf")}),
    "no number": ({"f": float("nan")}, {"f": None}),
    "complex numbers": (1 + 2j, 1 + 3j),
    "ranges": (range(2), range(3)),
    "decimals": ({"d": Decimal("1.0")}, {"d": Decimal("2.0")}),
    "UUIDs": (UUID(int=1), UUID(int=2)),
    "other mappings": (MappingProxyType({"a": Plain(1)}), MappingProxyType({"a": Plain(2)})),
    "rows that have columns as an envelope": ({"op": "x", "ts_ms": 1}, {"op": "x", "ts_ms": 2}),
    "envelopes": (envelope(1, 1), envelope(2, 1)),
}


def batch_of(value: Any, **more: Any) -> SourceBatch:
    return SourceBatch(**{"topic": "all", "values": [value], **more})


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_values_are_told_apart(pair: tuple[Any, Any]) -> None:
    one, other = map(batch_of, pair)
    assert known_again.can_be_told(one, 0)
    assert known_again.content_number(one, 0) != known_again.content_number(other, 0)


@pytest.mark.parametrize(
    "other",
    [{"topic": "two"}, {"keys": ["b"]}, {"headers": [[Header("h", 2, None)]]}, {"headers": None}, {"values": [None]}],
)
def test_so_are_topics_keys_and_headers(other: dict[str, Any]) -> None:
    same: dict[str, Any] = {"topic": "one", "values": [1], "keys": ["a"], "headers": [[Header("h", 1, None)]]}
    number = known_again.content_number(SourceBatch(**same), 0)
    assert known_again.content_number(SourceBatch(**{**same, **other}), 0) != number
    record = SourceRecord(topic="one", value=1, key="a", headers=[Header("h", 1, None)])
    assert known_again.content_number([record], 0) == number


def test_the_times_of_the_poll_do_not_count() -> None:
    one, other = batch_of(envelope(1, 1), timestamps=[1]), batch_of(envelope(1, 2), timestamps=[2])
    assert known_again.name_of(one, 0) == known_again.name_of(other, 0)


def test_of_an_object_that_tells_nothing_that_is_known() -> None:
    assert not known_again.can_be_told(batch_of(object()), 0)
    assert not known_again.can_be_told(batch_of([Plain(object())]), 0)
    assert not known_again.can_be_told(batch_of(test_values_are_told_apart), 0)
    both = [Plain(1), Plain(2)]
    for one in both:
        one.held = both
    assert not known_again.can_be_told(batch_of(both), 0)


def numbers() -> list[int]:
    values = [value for pair in PAIRS.values() for value in pair]
    return [known_again.content_number(batch_of(value), 0) for value in [*values, {"b", "a"}, {"s": {"\ud800", "a"}}]]


def test_they_are_the_same_in_another_process() -> None:
    for seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", f"import {SELF} as me; print(*me.numbers())"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        )
        assert [*map(int, told.stdout.split())] == numbers()
