"""Filter, and the predicates that say where a transform applies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from engine.api import java_regex
from engine.api.batch import Columns
from engine.api.column import Repeat
from engine.api.config import Config
from engine.api.converter import Failure
from engine.api.errors import ConfigError, Problem
from engine.api.record import SinkRecord, SourceRecord
from engine.api.transform import AnyRecord, Predicate, Transform

__all__ = [
    "Filter",
    "HasHeaderKey",
    "HasHeaderKeyConfig",
    "RecordIsTombstone",
    "TopicNameMatches",
    "TopicNameMatchesConfig",
]


class Filter(Transform):
    """Drops every record; with a predicate, those for which it holds."""

    reads_timestamps = False
    reads_headers = False

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return None

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.pick(())
        return ()


class HasHeaderKeyConfig(Config, frozen=True, kw_only=True):
    """Which header."""

    name: Annotated[str, Meta(min_length=1, description="The header's name.", extra={"importance": "MEDIUM"})]


class HasHeaderKey(Predicate):
    """Holds for a record that has at least one header of a name."""

    config = HasHeaderKeyConfig
    reads_timestamps = False

    def configure(self, config: HasHeaderKeyConfig) -> None:
        self._name = config.name

    def test(self, record: SourceRecord | SinkRecord) -> bool:
        return any(header.key == self._name for header in record.headers)

    def test_batch(self, columns: Columns) -> Sequence[bool]:
        name = self._name
        if isinstance(columns.headers, Repeat):
            return Repeat(any(header.key == name for header in columns.headers.value), len(columns))
        return [any(header.key == name for header in headers) for headers in columns.headers]


class RecordIsTombstone(Predicate):
    """Holds for a record whose value is null."""

    reads_timestamps = False
    reads_headers = False

    def test(self, record: SourceRecord | SinkRecord) -> bool:
        return record.value is None

    def test_batch(self, columns: Columns) -> Sequence[bool]:
        return [value is None for value in columns.values]


class TopicNameMatchesConfig(Config, frozen=True, kw_only=True):
    """Which topics."""

    pattern: Annotated[
        str,
        Meta(
            min_length=1,
            description="A Java regular expression that must match the whole name of the topic.",
            extra={"importance": "MEDIUM"},
        ),
    ]


class TopicNameMatches(Predicate):
    """Holds for a record whose topic's name matches a pattern."""

    config = TopicNameMatchesConfig
    reads_timestamps = False
    reads_headers = False

    def configure(self, config: TopicNameMatchesConfig) -> None:
        try:
            self._matches = java_regex.compiled(config.pattern).fullmatch
        except ValueError as error:
            text = f"Invalid value {config.pattern} for configuration pattern: Invalid regex: {error}"
            raise ConfigError([Problem("pattern", text)]) from error

    def test(self, record: SourceRecord | SinkRecord) -> bool:
        return self._matches(record.topic) is not None

    def test_batch(self, columns: Columns) -> Sequence[bool]:
        matches = self._matches
        if isinstance(columns.topics, Repeat):
            return Repeat(matches(columns.topics.value) is not None, len(columns))
        return [matches(topic) is not None for topic in columns.topics]
