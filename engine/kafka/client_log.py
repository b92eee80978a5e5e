"""What a librdkafka client says, as log lines a person can use: each thing once, and again only after a while.

    its log lines    a failed connection is told by its error as well, and left out here
    its errors       librdkafka goes on trying by itself; a person should know what is away
    its troubles     all brokers away, credentials refused, throttled: kept for the bank, which says that it waits
    new numbers      an idempotent producer that numbers its records anew may send twice what was on its way

A client whose broker is away says so twenty times a second.

Used by: engine.kafka.producer, engine.kafka.consumer.
Not here: when a bank's wait is told, and ends (engine.patience).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, ThrottleEvent

from engine.kafka.errors import CREDENTIALS, DENIED
from engine.shm.waits import Cause, Trouble

__all__ = ["ClientLog"]

logger = logging.getLogger("millrace.kafka")

#: The same is told again after so long.
REPEAT_SECONDS = 60.0
#: Different things remembered at most; a client has a few dozen.
KINDS_MAX = 1000
_AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
}
#: A login that was cut short is told as a refused one.
_CUT_SHORT = re.compile(r"transport failure|timed out|disconnected", re.IGNORECASE)
#: A broker says so after the handshake (TLS 1.3), when the connection counts as made: RFC 8446, 6.2, and what OpenSSL
#: calls those alerts that are about a certificate or about who shows it.
_NOT_TAKEN = re.compile(
    r"alert (bad certificate|certificate|unsupported certificate|unknown ca|access denied)", re.IGNORECASE
)
# A failed connection; of the gapless guarantee: that it is experimental, which we know, and prove (tests/kafka), and
# that it was broken, which the pump mends and tells in its own words.
_LEFT_OUT = re.compile(r"^(FAIL|ERROR) |gap-?less", re.IGNORECASE)
#: Told with debug=eos alone, which is a dozen lines in a producer's life. By it a batch that a broker has stored, and
#: whose answer was lost, gets other numbers when it is sent again: the broker does not know it for the same.
_NEW_NUMBERS = re.compile(r"^IDEMPSTATE .* -> (DrainBump|DrainReset)$")


class ClientLog:
    """The ear of one client."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """now: seconds on a clock that never goes back."""
        self._now = now
        self._told: dict[object, float] = {}
        self._troubles: dict[Cause, str] = {}  # since they were taken last
        self._new_numbers = 0
        self._last = ""  # why a broker was lost, most lately

    def settings(self) -> dict[str, Any]:
        """What the client is made with so that it is heard."""
        return {"logger": self, "error_cb": self.error, "throttle_cb": self.throttled}

    def take_troubles(self) -> list[Trouble]:
        """What was heard of since the last call and may pass."""
        if not self._troubles:
            return []
        troubles, self._troubles = self._troubles, {}
        return [Trouble(cause, why) for cause, why in troubles.items()]

    def take_new_numbers(self) -> int:
        """How often the producer has begun to number its records anew since the last call."""
        times, self._new_numbers = self._new_numbers, 0
        return times

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Hear a log line (librdkafka calls it as it would a logger's `log`)."""
        line = text % arguments if arguments else text
        if _NEW_NUMBERS.search(line):
            self._new_numbers += 1
        if not logger.isEnabledFor(level):
            return
        if not _LEFT_OUT.search(line) and self._is_news(re.sub(r"\d+", "", line)):
            logger.log(level, "%s", line)

    def error(self, error: KafkaError) -> None:
        """Hear an error."""
        code = error.code()
        if code == KafkaError._ALL_BROKERS_DOWN:
            self._troubles[Cause.BROKER] = self._last or error.str()
            return  # it is told with each of them, and why
        is_refused = (code in CREDENTIALS and not _CUT_SHORT.search(error.str())) or _NOT_TAKEN.search(error.str())
        if is_refused:
            self._troubles[Cause.CREDENTIALS] = error.str()
        elif code in DENIED:
            self._troubles[Cause.DENIED] = error.str()
        self._last = error.str()
        if self._is_news(code):
            waits = "; waiting for it to come back" if code in _AWAY and not is_refused else ""
            logger.warning("kafka: %s (%s)%s", error.str(), error.name(), waits)

    def throttled(self, event: ThrottleEvent) -> None:
        """Hear that a broker holds this client back."""
        if event.throttle_time > 0:
            self._troubles[Cause.QUOTA] = f"{event.broker_name} answers {event.throttle_time:g} s later"

    def _is_news(self, kind: object) -> bool:
        now = self._now()
        last = self._told.get(kind)
        if last is not None and now - last < REPEAT_SECONDS:
            return False
        if len(self._told) >= KINDS_MAX:
            self._told.clear()
        self._told[kind] = now
        return True
