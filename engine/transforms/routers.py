"""RegexRouter and TimestampRouter: records go to other topics, by their topic's name or by their time.

Used by: the catalog.
Not here: Java's patterns (engine.api.java_regex, engine.api.java_date_patterns).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, Any, TypeVar

from msgspec import Meta, field
from msgspec.structs import replace

from engine.api.batch import Columns
from engine.api.column import Repeat, uniform
from engine.api.config import Config
from engine.api.converter import Failure
from engine.api.errors import ConfigError, DataError, Problem
from engine.api.java_date_patterns import DatePattern
from engine.api.java_regex import compiled, replacement
from engine.api.transform import AnyRecord, Transform
from engine.transforms.record_text import record_text

__all__ = ["RegexRouter", "RegexRouterConfig", "TimestampRouter", "TimestampRouterConfig"]

_KEPT_MAX = 10_000  # names of topics that are remembered

Key = TypeVar("Key", bound=Hashable)


class RegexRouterConfig(Config, frozen=True, kw_only=True):
    """Which topics, and what they are called instead."""

    regex: Annotated[
        str,
        Meta(description="A pattern of Java's that the whole name of a topic matches.", extra={"importance": "HIGH"}),
    ]
    replacement: Annotated[
        str,
        Meta(
            description="What stands in its place; `$1` and `${name}` are groups of it.", extra={"importance": "HIGH"}
        ),
    ]


class TimestampRouterConfig(Config, frozen=True, kw_only=True):
    """What topics are called."""

    topic_format: Annotated[
        str,
        Meta(
            description="The new name, in which `${topic}` is the old one, and `${timestamp}` the record's time.",
            extra={"importance": "HIGH"},
        ),
    ] = field(name="topic.format", default="${topic}-${timestamp}")
    timestamp_format: Annotated[
        str,
        Meta(description="The pattern of the time, as Java's SimpleDateFormat has it.", extra={"importance": "HIGH"}),
    ] = field(name="timestamp.format", default="yyyyMMdd")


class RegexRouter(Transform):
    """Renames the topics that a regular expression matches."""

    config = RegexRouterConfig
    reads_timestamps = False
    reads_headers = False

    def configure(self, config: RegexRouterConfig) -> None:
        key, value = "regex", config.regex
        try:
            self._pattern = compiled(config.regex)
            key, value = "replacement", config.replacement
            self._replacement = replacement(config.replacement, self._pattern)
        except ValueError as error:
            raise ConfigError([Problem(key, f"Invalid value {value} for configuration {key}: {error}")]) from None
        self._kept: dict[str, str] = {}

    def apply(self, record: AnyRecord) -> AnyRecord:
        return replace(record, topic=self._routed(record.topic))

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.topics = _mapped(self._routed, columns.topics)
        return ()

    def _routed(self, topic: str) -> str:
        found = self._kept.get(topic)
        if found is None:
            found = topic
            if self._pattern.fullmatch(topic):
                # What is replaced is the first match, which may be less than the whole.
                found = self._pattern.sub(self._replacement, topic, count=1)
            _keep(self._kept, topic, found)
        return found


class TimestampRouter(Transform):
    """Puts the time of a record into the name of its topic."""

    config = TimestampRouterConfig

    def configure(self, config: TimestampRouterConfig) -> None:
        try:
            self._pattern = DatePattern(config.timestamp_format)
        except ValueError as error:
            key = "timestamp.format"
            text = f"Invalid value {config.timestamp_format} for configuration {key}: {error}"
            raise ConfigError([Problem(key, text)]) from None
        self._format = config.topic_format
        self._kept: dict[tuple[str, str], str] = {}

    def apply(self, record: AnyRecord) -> AnyRecord:
        if record.timestamp is None:
            raise DataError(f"Timestamp missing on record: {record_text(record)}")
        return replace(record, topic=self._routed(record.topic, record.timestamp))

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        missing = [index for index, timestamp in enumerate(columns.timestamps) if timestamp is None]
        failures = []
        for index, record in zip(missing, columns.picked(missing).records(), strict=True):
            failures.append(Failure(index, DataError(f"Timestamp missing on record: {record_text(record)}")))
        routed = [
            topic if timestamp is None else self._routed(topic, timestamp)
            for topic, timestamp in zip(columns.topics, columns.timestamps, strict=True)
        ]
        columns.topics = uniform(routed)
        return failures

    def _routed(self, topic: str, timestamp: int) -> str:
        time = self._pattern.format(timestamp)
        found = self._kept.get((topic, time))
        if found is None:
            found = self._format.replace("${topic}", topic).replace("${timestamp}", time)
            _keep(self._kept, (topic, time), found)
        return found


def _mapped(change: Any, topics: Sequence[str]) -> Sequence[str]:
    if isinstance(topics, Repeat) and topics:
        return Repeat(change(topics.value), len(topics))
    return uniform([*map(change, topics)])


def _keep(kept: dict[Key, str], key: Key, found: str) -> None:
    if len(kept) >= _KEPT_MAX:
        kept.clear()
    kept[key] = found
