"""What a librdkafka client says, as log lines a person can use: each thing once, and again only after a while.

    its log lines    a failed connection is told by its error as well, and left out here
    its errors       librdkafka goes on trying by itself; a person should know what is away

A client whose broker is away says so twenty times a second.

Used by: engine.kafka.producer, engine.kafka.consumer.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

__all__ = ["ClientLog"]

logger = logging.getLogger("millrace.kafka")

#: The same is told again after so long.
REPEAT_SECONDS = 30.0
#: Different things remembered at most; a client has a few dozen.
KINDS_MAX = 1000
_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
}
# A failed connection; of the gapless guarantee: that it is experimental, which we know, and prove (tests/kafka), and
# that it was broken, which the pump mends and tells in its own words.
_LEFT_OUT = re.compile(r"^(FAIL|ERROR) |gap-?less", re.IGNORECASE)


class ClientLog:
    """The ear of one client."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """now: seconds on a clock that never goes back."""
        self._now = now
        self._told: dict[object, float] = {}

    def settings(self) -> dict[str, Any]:
        """What the client is made with so that it is heard."""
        return {"logger": self, "error_cb": self.error}

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Hear a log line (librdkafka calls it as it would a logger's `log`)."""
        line = text % arguments if arguments else text
        if not _LEFT_OUT.search(line) and self._is_news(re.sub(r"\d+", "", line)):
            logger.log(level, "%s", line)

    def error(self, error: KafkaError) -> None:
        """Hear an error."""
        # That all brokers are down is told with each of them, and why.
        if error.code() != KafkaError._ALL_BROKERS_DOWN and self._is_news(error.code()):
            waits = "; waiting for it to come back" if error.code() in _AWAY else ""
            logger.warning("kafka: %s (%s)%s", error.str(), error.name(), waits)

    def _is_news(self, kind: object) -> bool:
        now = self._now()
        last = self._told.get(kind)
        if last is not None and now - last < REPEAT_SECONDS:
            return False
        if len(self._told) >= KINDS_MAX:
            self._told.clear()
        self._told[kind] = now
        return True
