"""A dead letter as it lies in its topic, and which letters somebody means.

    record ──► Letter(record, context)      context: what headers say under `__connect.errors.`, `__millrace.errors.`
    options ──► Filters ──► take(letter)    all that is given must hold

Headers are those of Kafka Connect, which Millrace writes too, and a few of its own; without them a letter does not say
where it comes from.

Used by: engine.commands.dlq, engine.commands.redrive, engine.commands.into, engine.commands.dead_letters_report.
Not here: who writes dead letters (engine.task, engine.pump.refusals).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from engine.api.errors import ConfigError, Problem
from engine.kafka.sample import RawRecord
from engine.letter_context import OURS, PREFIX

__all__ = [
    "ATTEMPT",
    "Filters",
    "Letter",
    "Span",
    "header_of",
    "letter_of",
    "moment_of",
    "place_of",
    "span_of",
]

#: How often a record was sent again.
ATTEMPT = "__millrace.redrive.attempt"
_WHOLE_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_SPAN = re.compile(r"(\d{1,18})(-(\d{1,18})?)?", re.ASCII)
_PLACE = re.compile(r"(\d{1,9})(?:@(.+))?", re.ASCII)

Headers = Sequence[tuple[str, bytes | None]]


class Letter(NamedTuple):
    """A record of a dead letter topic."""

    record: RawRecord
    context: Mapping[str, str]  # by the names behind the prefix, of ours without a prefix of theirs; empty: it has none

    @property
    def place(self) -> str:
        """Where it lies, as an argument takes it: `0@12`."""
        return f"{self.record.partition}@{self.record.offset}"

    @property
    def topic(self) -> str:
        """Where its record was; empty: it does not say."""
        return self.context.get("topic", "")

    @property
    def partition(self) -> int | None:
        """Where its record was; None: it does not say."""
        return _number(self.context.get("partition", ""))

    @property
    def offset(self) -> int | None:
        """Where its record was; None: it does not say."""
        return _number(self.context.get("offset", ""))

    @property
    def origin(self) -> str:
        """Where its record was, for people: `orders-0@1`; empty: it does not say."""
        if not self.topic:
            return ""
        partition, offset = ("?" if part is None else part for part in (self.partition, self.offset))
        return f"{self.topic}-{partition}@{offset}"

    @property
    def stage(self) -> str:
        """What failed."""
        return self.context.get("stage", "")

    @property
    def error(self) -> str:
        """The class of the error, by its full name."""
        return self.context.get("exception.class.name", "")

    @property
    def code(self) -> str:
        """What the other system calls the error, or its kind; empty: Kafka Connect has written it."""
        return self.context.get("code", "")

    @property
    def lack(self) -> str:
        """Why its bytes are not the record's, which a source's may not be; empty: they are."""
        if "left.out" in self.context:
            return f"a part of it is not in its letter: {self.context['left.out']}"
        if "source.partition" in self.context:
            return "its source could not convert it: it is as it was polled"
        return ""

    @property
    def is_cut(self) -> bool:
        """Whether a part of its record is not there."""
        return "left.out" in self.context

    @property
    def message(self) -> str:
        """The error's."""
        return self.context.get("exception.message", "")

    @property
    def attempt(self) -> int:
        """How often its record was sent again before."""
        said = [payload or b"" for name, payload in self.record.headers if name == ATTEMPT]
        return (_number(said[-1].decode(errors="replace")) if said else 0) or 0

    @property
    def original(self) -> RawRecord:
        """Its record as it was, as far as it says so."""
        record = self.record
        return record._replace(
            topic=self.topic or record.topic,
            partition=record.partition if self.partition is None else self.partition,
            offset=record.offset if self.offset is None else self.offset,
            headers=self.own_headers,
        )

    @property
    def own_headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Its record's, without what was added to it since."""
        headers = self.record.headers
        return tuple(one for one in headers if not one[0].startswith((PREFIX, OURS)) and one[0] != ATTEMPT)


class Span(NamedTuple):
    """Offsets: the first and the last that are meant; None: no end."""

    first: int = 0
    last: int | None = None

    def __contains__(self, offset: object) -> bool:
        return isinstance(offset, int) and self.first <= offset and (self.last is None or offset <= self.last)


class Filters(Struct, frozen=True):
    """Which letters are meant; what is empty or None is any."""

    connector: str = ""
    error: str = ""  # a class: its full name, or what is behind the last dot; or a code
    stage: str = ""
    topic: str = ""  # where the record was
    partition: int | None = None
    offsets: Span | None = None
    since_ms: int | None = None  # the record's timestamp
    until_ms: int | None = None
    headers: tuple[tuple[str, str | None], ...] = ()  # all of them; None: any value
    places: tuple[tuple[int, Span], ...] = ()  # any of them: where the letter lies

    def take(self, letter: Letter) -> bool:
        """Whether this one is meant."""
        context = letter.context
        return (
            (not self.connector or context.get("connector.name") == self.connector)
            and (not self.error or self.error in (letter.error, re.split(r"[.:$]", letter.error)[-1], letter.code))
            and (not self.stage or letter.stage.upper() == self.stage.upper())
            and (not self.topic or letter.topic == self.topic)
            and (self.partition is None or letter.partition == self.partition)
            and (self.offsets is None or letter.offset in self.offsets)
            and self._is_in_time(letter.record.timestamp)
            and all(_has(letter.record.headers, name, value) for name, value in self.headers)
            and (not self.places or self._is_at_place(letter.record))
        )

    def _is_in_time(self, timestamp: int | None) -> bool:
        if self.since_ms is None and self.until_ms is None:
            return True
        if timestamp is None:
            return False
        return (self.since_ms is None or timestamp >= self.since_ms) and (
            self.until_ms is None or timestamp < self.until_ms
        )

    def _is_at_place(self, record: RawRecord) -> bool:
        return any(record.partition == partition and record.offset in span for partition, span in self.places)


def letter_of(record: RawRecord) -> Letter:
    """A record with what its headers say of it; of a name that occurs twice the last one counts: the newest."""
    context = {
        name.removeprefix(PREFIX).removeprefix(OURS): "" if payload is None else payload.decode(errors="replace")
        for name, payload in record.headers
        if name.startswith((PREFIX, OURS))
    }
    return Letter(record, context)


def span_of(option: str, text: str) -> Span:
    """`12`, `12-40` or `12-`. Raises ConfigError."""
    found = _SPAN.fullmatch(text)
    if found is not None:
        first, dash, last = found.groups()
        span = Span(int(first), int(last) if last else None if dash else int(first))
        if span.last is None or span.first <= span.last:
            return span
    raise _wrong(option, text, "an offset or a range of them: 12, 12-40 or 12-")


def place_of(option: str, text: str) -> tuple[int, Span]:
    """`0`, `0@12`, `0@12-40` or `0@12-`: a partition, and offsets in it. Raises ConfigError."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise _wrong(option, text, "PARTITION@OFFSET, as `millrace dlq list` shows it: 0@12, 0@12-40 or 0")
    partition, offsets = found.groups()
    return int(partition), Span() if offsets is None else span_of(option, offsets)


def moment_of(option: str, text: str) -> int:
    """Milliseconds since 1970 of `2026-03-01`, `2026-03-01T12:00`, with a zone or in UTC. Raises ConfigError."""
    if _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise _wrong(option, text, "a time: 2026-03-01, 2026-03-01T12:00:00Z, or milliseconds since 1970") from error


def header_of(option: str, text: str) -> tuple[str, str | None]:
    """`NAME`, or `NAME=VALUE`. Raises ConfigError."""
    name, equals, value = text.partition("=")
    if not name:
        raise _wrong(option, text, "NAME or NAME=VALUE")
    return name, value if equals else None


def _has(headers: Headers, name: str, value: str | None) -> bool:
    wanted = None if value is None else value.encode()
    return any(one == name and (wanted is None or payload == wanted) for one, payload in headers)


def _number(text: str) -> int | None:
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


def _wrong(option: str, text: str, expected: str) -> ConfigError:
    return ConfigError([Problem(option, f"{option} {text}: expected {expected}")])
