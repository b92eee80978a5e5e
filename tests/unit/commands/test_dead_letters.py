"""A dead letter says what its headers say, and filters take those of which all holds."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.errors import ConfigError
from engine.commands.dead_letters import Filters, Letter, Span, header_of, letter_of, moment_of, place_of, span_of
from engine.kafka.sample import RawRecord

NOON_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z
CONTEXT: dict[str, bytes | None] = {
    "topic": b"orders",
    "partition": b"3",
    "offset": b"17",
    "connector.name": b"copy",
    "task.id": b"0",
    "stage": b"VALUE_CONVERTER",
    "class.name": b"org.apache.kafka.connect.json.JsonConverter",
    "exception.class.name": b"org.apache.kafka.connect.errors.DataException",
    "exception.message": None,
    "exception.stacktrace": b"org.apache.kafka.connect.errors.DataException\n\tat ...",
}


def letter(context: dict[str, bytes | None] = CONTEXT, **more: Any) -> Letter:
    own = (("trace", b"x"), ("trace", b"y"), ("empty", None))
    told = [(f"__connect.errors.{name}", payload) for name, payload in context.items()]
    told += [("__millrace.errors.code", b"23505"), ("__millrace.errors.attempts", b"1")] if context else []
    made = RawRecord("orders-dead", 0, 12, NOON_MS, b"k", b"{", (*own, *told))
    return letter_of(made._replace(**more))


def test_its_headers_say_where_it_comes_from_and_what_happened() -> None:
    one = letter()
    assert (one.place, one.origin) == ("0@12", "orders-3@17")
    assert (one.topic, one.partition, one.offset) == ("orders", 3, 17)
    assert (one.stage, one.error, one.message) == (
        "VALUE_CONVERTER",
        "org.apache.kafka.connect.errors.DataException",
        "",
    )
    assert one.own_headers == (("trace", b"x"), ("trace", b"y"), ("empty", None))
    assert one.attempt == 0


def test_a_record_without_these_headers_says_nothing() -> None:
    one = letter({})
    assert (one.context, one.topic, one.partition, one.offset, one.origin) == ({}, "", None, None, "")
    assert letter({"topic": b"t", "partition": b"x"}).origin == "t-?@?"


@pytest.mark.parametrize(
    ("said", "attempt"), [([b"2"], 2), ([b"2", b"1"], 1), ([b"many"], 0), ([None], 0), ([b"-1"], 0), ([], 0)]
)
def test_how_often_it_was_sent_again_is_in_a_header(said: list[bytes | None], attempt: int) -> None:
    one = letter(headers=tuple(("__millrace.redrive.attempt", payload) for payload in said))
    assert one.attempt == attempt
    assert one.own_headers == ()


@pytest.mark.parametrize(
    ("filters", "is_taken"),
    [
        (Filters(), True),
        (Filters(connector="copy"), True),
        (Filters(connector="cop"), False),
        (Filters(error="DataException"), True),
        (Filters(error="org.apache.kafka.connect.errors.DataException"), True),
        (Filters(error="Exception"), False),
        (Filters(error="23505"), True),
        (Filters(stage="value_converter"), True),
        (Filters(stage="TASK_PUT"), False),
        (Filters(topic="orders", partition=3, offsets=Span(17, 17)), True),
        (Filters(topic="order"), False),
        (Filters(partition=0), False),
        (Filters(offsets=Span(18)), False),
        (Filters(since_ms=NOON_MS, until_ms=NOON_MS + 1), True),
        (Filters(until_ms=NOON_MS), False),
        (Filters(since_ms=NOON_MS + 1), False),
        (Filters(headers=(("trace", None),)), True),
        (Filters(headers=(("trace", "y"), ("empty", None))), True),
        (Filters(headers=(("trace", "z"),)), False),
        (Filters(headers=(("trace", "x"), ("nothing", None))), False),
        (Filters(places=((1, Span()), (0, Span(12, 12)))), True),
        (Filters(places=((0, Span(13)),)), False),
        (Filters(connector="copy", stage="TASK_PUT"), False),
    ],
)
def test_filters_take_it_if_all_holds(filters: Filters, *, is_taken: bool) -> None:
    assert filters.take(letter()) is is_taken


@pytest.mark.parametrize(
    "filters",
    [Filters(connector="copy"), Filters(error="DataException"), Filters(topic="orders"), Filters(offsets=Span())],
)
def test_what_a_letter_does_not_say_is_not_meant(filters: Filters) -> None:
    assert not filters.take(letter({}))


def test_a_record_without_a_timestamp_is_in_no_range_of_time() -> None:
    assert not Filters(since_ms=0).take(letter(timestamp=None))
    assert Filters().take(letter(timestamp=None))


def test_options_are_read() -> None:
    assert [span_of("--o", text) for text in ("5", "5-9", "5-")] == [Span(5, 5), Span(5, 9), Span(5)]
    assert place_of("--p", "1") == (1, Span())
    assert place_of("--p", "1@5-9") == (1, Span(5, 9))
    times = ("2026-03-01T12:00:00Z", "2026-03-01T12:00", "2026-03-01T13:00+01:00", str(NOON_MS))
    assert [moment_of("--s", text) for text in times] == [NOON_MS] * 4
    assert moment_of("--s", "2026-03-01") == NOON_MS - 12 * 3_600_000
    assert header_of("--h", "a") == ("a", None)
    assert header_of("--h", "a=b=c") == ("a", "b=c")


@pytest.mark.parametrize("text", ["", "x", "9-5", "-5", "5-x", "1e3"])
def test_a_range_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--o {text}: expected an offset or a range"):
        span_of("--o", text)


def test_other_options_that_are_wrong_are_told() -> None:
    with pytest.raises(ConfigError, match="--p orders-0: expected PARTITION@OFFSET"):
        place_of("--p", "orders-0")
    with pytest.raises(ConfigError, match="--s yesterday: expected a time: 2026-03-01"):
        moment_of("--s", "yesterday")
    with pytest.raises(ConfigError, match="--h =x: expected NAME"):
        header_of("--h", "=x")
