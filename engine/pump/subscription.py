"""Which topics a sink's group reads: a list, or a pattern as Java reads it, against whole names.

librdkafka's own patterns follow another grammar and match parts of names, so the topics that match are found here and
subscribed to by name. It learns of a topic that is made later only after minutes, unless it is asked for all topics.

Used by: engine.pump.sink.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from engine.api.errors import ConnectError, RetriableError, UnreachableError
from engine.config.line import INTERNAL, LineSpec

__all__ = ["Subscriber", "TopicsPort"]

logger = logging.getLogger("millrace.pump")

SECOND_NS = 1_000_000_000
#: While a topic of the list is missing, or none matches, the topics are asked for after so long, then twice as long...
MISSING_NS = SECOND_NS // 2
#: ... up to this.
MISSING_NS_MAX = 5 * SECOND_NS
#: A topic is listed before its partitions have leaders, and not every member gets some of each: the member looks again.
LEARNINGS_MAX = 4
#: A pattern is matched anew after so many milliseconds, unless the client's settings say otherwise.
REFRESH_KEYS = ("topic.metadata.refresh.interval.ms", "metadata.max.age.ms")
REFRESH_MS = 300_000


class TopicsPort(Protocol):
    """Who joins the group (`engine.kafka.consumer.GroupConsumer`)."""

    def subscribe(self, topics: Sequence[str]) -> None: ...
    def reads(self, topics: Collection[str]) -> bool: ...
    def topic_names(self, timeout_seconds: float) -> list[str]: ...
    def learn_topics(self, topics: Collection[str], timeout_seconds: float) -> bool: ...


class Subscriber:
    """Keeps a member subscribed to what its sink should read. Raises ConnectError for a pattern that is none."""

    def __init__(self, spec: LineSpec, port: TopicsPort, note: Callable[[Exception], object]) -> None:
        """note: told what keeps it from looking, for now."""
        self._listed = spec.subscription.topics
        pattern = spec.subscription.pattern
        self._pattern = _compiled(pattern) if pattern else None
        self._port = port
        self._note = note
        self._timeout_seconds = spec.timing.broker_timeout
        self._refresh_ns = _refresh_ms(spec.kafka) * 1_000_000
        self._pause_ns = MISSING_NS
        self._look_at_ns = 0
        self._learnings = 0
        self._is_known = False  # every topic of the list is there, and the member has had the time to see it
        self.topics: tuple[str, ...] = ()  # subscribed to now

    def start(self, now_ns: int) -> None:
        """Join the group, if there is anything to read yet."""
        if self._pattern is None:
            self._subscribe(self._listed)
            self._look_at_ns = now_ns + MISSING_NS
        else:
            self.look(now_ns)

    def tick(self, now_ns: int) -> None:
        """Look for new topics when it is time."""
        if now_ns >= self._look_at_ns:
            self.look(now_ns)

    def look(self, now_ns: int) -> bool:
        """Look for new topics now, unless all of a list are known to be there; returns whether there was an answer."""
        self._is_known = self._is_known or (bool(self._listed) and self._port.reads(self._listed))
        if self._is_known:
            return True
        try:
            names = self._port.topic_names(self._timeout_seconds)
            if self._listed and set(self._listed).issubset(names):
                if not self._learnings:
                    self._pause_ns = MISSING_NS
                self._learnings += 1
                has_all = self._port.learn_topics(self._listed, self._timeout_seconds)
                self._is_known = has_all or self._learnings >= LEARNINGS_MAX
        except (RetriableError, UnreachableError) as error:
            self._note(error)
            self._look_at_ns = now_ns + MISSING_NS_MAX
            return False
        if self._pattern is None:
            is_missing = not self._is_known
        else:
            matching = [name for name in names if self._pattern.fullmatch(name) and name not in INTERNAL]
            is_missing = not matching
            self._subscribe(tuple(sorted(matching)))
        if is_missing:
            self._look_at_ns = now_ns + self._pause_ns
            self._pause_ns = min(2 * self._pause_ns, MISSING_NS_MAX)
        else:
            self._look_at_ns = now_ns + self._refresh_ns
        return True

    def _subscribe(self, topics: tuple[str, ...]) -> None:
        if topics and topics != self.topics:
            self.topics = topics
            self._port.subscribe(topics)


def _compiled(pattern: str) -> re.Pattern[str]:
    # Java names a group (?<name>...), Python (?P<name>...); (?<= and (?<! are the same in both.
    try:
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", pattern))
    except re.error as error:
        raise ConnectError(f"topics.regex {pattern!r} cannot be read: {error}") from error


def _refresh_ms(settings: Mapping[str, object]) -> int:
    given = [int(str(settings[key])) for key in REFRESH_KEYS if key in settings]
    return min(given, default=REFRESH_MS)
