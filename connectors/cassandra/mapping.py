"""Which part of a record goes into which column: the keys `topic.TOPIC.KEYSPACE.TABLE.SETTING`.

    topic.sales.shop.orders.mapping = id=key.id, name=value.customer.name, sent=timestamp, trace=header.trace
    topic.sales.shop.orders.ttl     = 3600

A part is `value`, `key`, a field of them by its path, `header.NAME`, `timestamp`, `topic`, `partition` or `offset`;
`value.*` and `key.*` are all fields, each into the column of its name. What holds a dot, a comma or the like is written
in double quotes. Topics may have several tables.

Used by: all of the others.
Source: the mapping of DataStax's Kafka sink, whose names these keys have; what differs is in
docs/connectors/cassandra-sink.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal, TypeVar

from msgspec import Meta, Struct

from connectors.cassandra.config import Level
from engine.api.config import Config
from engine.api.errors import ConfigError, Problem

__all__ = [
    "TIMESTAMP",
    "TTL_SECONDS_MAX",
    "Entry",
    "Path",
    "PrimaryKey",
    "TableMapping",
    "TableSettings",
    "Unit",
    "microseconds_of",
    "read_mappings",
    "seconds_of",
]

#: The longest time that Cassandra lets a row live: 20 years.
TTL_SECONDS_MAX = 630_720_000
_PREFIX = "topic."
_NAMED = re.compile(r"topic\.(?P<topic>.+)\.(?P<keyspace>\w+)\.(?P<table>\w+)\.(?P<setting>\w+)")
_WORD = r'(?:"(?:[^"]|"")*"|[^.,="\s()]+)'
_ITEM = re.compile(rf"\s*(?:(?P<column>{_WORD})\s*=\s*)?(?P<path>{_WORD}(?:\.{_WORD})*)\s*(?:,|\Z)")
_STEP = re.compile(_WORD)
_KEY = re.compile(rf"\s*(?:\((?P<several>[^()]*)\)|(?P<one>{_WORD}))\s*(?P<rest>(?:,.*)?)\Z", re.DOTALL)
_ALONE = ("timestamp", "topic", "partition", "offset")
_EXPECTED = (
    "expected value, key, value.FIELD, key.FIELD, value.*, key.*, header.NAME, timestamp, topic, partition or offset"
)

Read = TypeVar("Read")
Unit = Literal["NANOSECONDS", "MICROSECONDS", "MILLISECONDS", "SECONDS", "MINUTES", "HOURS", "DAYS"]


class Path(Struct, frozen=True):
    """A part of a record."""

    root: str  # value, key, header, timestamp, topic, partition, offset
    steps: tuple[str, ...] = ()  # of a header its name alone

    def __str__(self) -> str:
        return ".".join((self.root, *self.steps))


TIMESTAMP = Path("timestamp")


class Entry(Struct, frozen=True):
    """What a column gets."""

    column: str
    path: Path


class PrimaryKey(Struct, frozen=True):
    """Of a table that is to be made."""

    partition: tuple[str, ...]
    clustering: tuple[str, ...] = ()


class TableSettings(Config, frozen=True, kw_only=True):
    """The keys of one table, without their prefix."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"consistencyLevel", "ttlTimeUnit", "timestampTimeUnit"})

    mapping: Annotated[str, Meta(min_length=1, description="Columns and what they get: column=part, with commas.")]
    ttl: Annotated[str | None, Meta(description="How long rows live: a number, or the part that says it.")] = None
    ttlTimeUnit: Annotated[Unit, Meta(description="The unit of ttl.")] = "SECONDS"  # noqa: N815  as users know it
    timestamp: Annotated[str, Meta(description="The part that says when a row was written.")] = "timestamp"
    timestampTimeUnit: Annotated[  # noqa: N815
        Unit, Meta(description="The unit of timestamp, where it is a number of the value, key or a header.")
    ] = "MICROSECONDS"
    consistencyLevel: Annotated[Level | None, Meta(description="Absent: consistency.level.")] = None  # noqa: N815
    deletesEnabled: Annotated[  # noqa: N815
        bool, Meta(description="Whether a record without a value deletes its row; else it changes nothing.")
    ] = True
    nullToUnset: Annotated[  # noqa: N815
        bool, Meta(description="Whether null leaves a column as it is; else it empties it.")
    ] = True
    primaryKey: Annotated[  # noqa: N815
        str | None, Meta(description="Of a table that is made: `a, b`, or `(a, b), c` for a partition key of two.")
    ] = None


class TableMapping(Struct, frozen=True):
    """One table of one topic."""

    topic: str
    keyspace: str
    table: str
    entries: tuple[Entry, ...]
    stars: tuple[str, ...]  # roots of which all fields are taken
    settings: TableSettings
    timestamp: Path
    ttl: Path | int | None  # an int: seconds
    primary_key: PrimaryKey | None

    @property
    def name(self) -> str:
        """As messages and CQL name it."""
        return f"{self.keyspace}.{self.table}"

    def key(self, setting: str) -> str:
        """The full name of one of its keys."""
        return f"{_PREFIX}{self.topic}.{self.keyspace}.{self.table}.{setting}"


def read_mappings(properties: Mapping[str, str]) -> list[TableMapping]:
    """The tables of a configuration. Raises ConfigError with every problem."""
    problems: list[Problem] = []
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    known = TableSettings.__struct_fields__
    for key, text in properties.items():
        if not key.startswith(_PREFIX):
            continue
        match = _NAMED.fullmatch(key)
        if match is None or match["setting"] not in known:
            names = ", ".join(known)
            message = f'unknown key "{key}"; expected topic.TOPIC.KEYSPACE.TABLE.SETTING, the setting one of {names}'
            problems.append(Problem(key, message))
            continue
        found.setdefault((match["topic"], match["keyspace"], match["table"]), {})[match["setting"]] = text
    mappings = []
    for (topic, keyspace, table), settings in found.items():
        prefix = f"{_PREFIX}{topic}.{keyspace}.{table}."
        try:
            mappings.append(_read(topic, keyspace, table, TableSettings.parse(settings)))
        except ConfigError as error:
            problems += [_prefixed(problem, prefix) for problem in error.problems]
    if not found and not problems:
        example = f"{_PREFIX}orders.shop.orders.mapping=id=key.id, price=value.price"
        problems.append(Problem("topics", f"no table is named; expected a key for each topic, as {example}"))
    if problems:
        raise ConfigError(problems)
    return mappings


def _prefixed(problem: Problem, prefix: str) -> Problem:
    message = problem.message.replace(f'configuration "{problem.key}"', f'configuration "{prefix}{problem.key}"')
    message = message.replace(f"configuration {problem.key}:", f"configuration {prefix}{problem.key}:")
    return Problem(prefix + problem.key, message)


def _read(topic: str, keyspace: str, table: str, settings: TableSettings) -> TableMapping:
    problems: list[Problem] = []

    def read(key: str, text: str, reader: Callable[[str], Read]) -> Read | None:
        try:
            return reader(text)
        except ValueError as error:
            problems.append(Problem(key, f"Invalid value {text} for configuration {key}: {error}"))
            return None

    entries, stars = read("mapping", settings.mapping, _entries) or ((), ())
    timestamp = read("timestamp", settings.timestamp, _path) or TIMESTAMP
    ttl = None if settings.ttl is None else read("ttl", settings.ttl, partial(_ttl, unit=settings.ttlTimeUnit))
    primary_key = None if settings.primaryKey is None else read("primaryKey", settings.primaryKey, _primary_key)
    if timestamp.root == "value" and settings.deletesEnabled:
        reason = (
            f"timestamp={timestamp}: a record without a value deletes a row, and has no {timestamp} to say when; "
            "expected deletesEnabled=false, or a part of the key, a header or the record's own timestamp"
        )
        problems.append(Problem("timestamp", reason))
    if problems:
        raise ConfigError(problems)
    return TableMapping(topic, keyspace, table, entries, stars, settings, timestamp, ttl, primary_key)


def _entries(text: str) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """What each column gets, and the roots of which all fields are taken."""
    items = [*_items(text)]
    names = [column for column, _ in items if column is not None]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"column {name} is there twice")
    entries = tuple(Entry(column, path) for column, path in items if column is not None)
    return entries, tuple(dict.fromkeys(path.root for column, path in items if column is None))


def _ttl(text: str, unit: str) -> Path | int:
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        try:
            return _path(text)
        except ValueError as error:
            raise ValueError(f"{error}, or a number") from None
    seconds = seconds_of(int(text), unit)
    if seconds > TTL_SECONDS_MAX:
        raise ValueError(f"expected at most 20 years, {TTL_SECONDS_MAX} seconds")
    return seconds


#: Nanoseconds of each unit.
_UNIT_NS: Mapping[str, int] = {
    "NANOSECONDS": 1,
    "MICROSECONDS": 1_000,
    "MILLISECONDS": 1_000_000,
    "SECONDS": 1_000_000_000,
    "MINUTES": 60_000_000_000,
    "HOURS": 3_600_000_000_000,
    "DAYS": 86_400_000_000_000,
}


def seconds_of(number: int, unit: str) -> int:
    """Whole seconds, rounded up: what lives for a moment does not live for ever, which 0 would mean."""
    return -(-number * _UNIT_NS[unit] // 1_000_000_000)


def microseconds_of(number: int, unit: str) -> int:
    """Whole microseconds."""
    return number * _UNIT_NS[unit] // 1_000


def _items(text: str) -> Iterator[tuple[str | None, Path]]:
    at = 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None:
            raise ValueError(f"expected column=part at {text[at : at + 40]!r}")
        at = match.end()
        if match["column"] is None and match["path"] not in ("value.*", "key.*"):
            raise ValueError(f"expected column={match['path']}, or value.* or key.*")
        path = _path(match["path"])
        if match["column"] is not None and "*" in path.steps and path.root != "header":
            raise ValueError(f"{path} is for columns of the fields' own names; expected it without a column")
        yield None if match["column"] is None else _plain(match["column"]), path


def _path(text: str) -> Path:
    text = text.strip()
    steps = tuple(map(_plain, _STEP.findall(text)))
    if not steps or re.fullmatch(rf"{_WORD}(?:\.{_WORD})*", text) is None:
        raise ValueError(f"{text!r} is no part of a record; {_EXPECTED}")
    root, rest = steps[0], steps[1:]
    if root == "header" and rest:
        return Path(root, (".".join(rest),))
    if root in ("value", "key") or (root in _ALONE and not rest):
        return Path(root, rest)
    raise ValueError(f"{text!r} is no part of a record; {_EXPECTED}")


def _primary_key(text: str) -> PrimaryKey:
    match = _KEY.match(text)
    if match is None:
        raise ValueError("expected columns, as in `a, b` or `(a, b), c`")
    several = match["several"]
    partition = [match["one"]] if several is None else several.split(",")
    clustering = match["rest"].split(",")[1:]
    names = [_plain(name.strip()) for name in (*partition, *clustering)]
    if not all(names) or len(set(names)) < len(names):
        raise ValueError("expected columns, each once, as in `a, b` or `(a, b), c`")
    return PrimaryKey(tuple(names[: len(partition)]), tuple(names[len(partition) :]))


def _plain(word: str) -> str:
    return word[1:-1].replace('""', '"') if word.startswith('"') else word
