"""What a pump's client cannot do now: heard of from the client, and asked about until it is over.

    client's errors ──► hear ──► Patience.note
    Patience due ─────► ask ───► a question to Kafka ──► Patience.end, or later

librdkafka tells when it loses all brokers, and not when it has one again; a refused login or a denied topic it tells
once, too. So the wait ends when Kafka answers a question, or when records move, whichever is first.

Used by: engine.pump.source, engine.pump.sink.
Not here: pauses, words and logs (engine.patience), what a pump may not do meanwhile (source.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from engine.patience import Patience
from engine.shm.waits import Cause, OutsideError, Trouble

__all__ = ["MOVING", "ClientPort", "Outside"]

#: A question is waited for so long at first, twice as long each time, and at most so long: the pump does nothing else.
ASK_SECONDS = 1.0
ASK_SECONDS_MAX = 5.0
#: A client that was throttled and has not been again for so long is not any more.
QUOTA_SECONDS = 5.0
#: What is over when records move, or commits are answered.
MOVING = (Cause.CREDENTIALS, Cause.REPLICAS, Cause.LEADER, Cause.BROKER, Cause.ACKNOWLEDGEMENTS)
ASKED = (Cause.CREDENTIALS, Cause.DENIED, Cause.LEADER, Cause.BROKER, Cause.ACKNOWLEDGEMENTS)


class ClientPort(Protocol):
    """Whom it hears and asks (`engine.kafka.producer.BatchProducer`, `engine.kafka.consumer.GroupConsumer`)."""

    def take_troubles(self) -> list[Trouble]: ...
    def is_answering(self, seconds: float) -> bool: ...
    def is_allowed(self, topics: Collection[str], seconds: float) -> bool: ...
    def shortage(self, topics: Collection[str], seconds: float) -> Trouble | None: ...
    def has_new_files(self) -> bool: ...


class Outside:
    """One pump's view of Kafka."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def hear(self, client: ClientPort, now_ns: int) -> None:
        """Note what the client has heard of since the last call."""
        for trouble in client.take_troubles():
            self._patience.note(trouble, QUOTA_SECONDS if trouble.cause == Cause.QUOTA else 0.0)
        self._patience.tick(now_ns)

    def ask(self, client: ClientPort, topics: Collection[str], now_ns: int) -> None:
        """Ask whether what is waited for is there, if that is due.

        topics: those that are written or read. Raises OutsideError where only a new client can go on.
        """
        patience = self._patience
        cause = patience.cause
        if cause not in ASKED or not patience.is_due(now_ns):
            return
        seconds = min(ASK_SECONDS * (1 << min(patience.tries, 16)), ASK_SECONDS_MAX)
        if cause == Cause.ACKNOWLEDGEMENTS:
            if (shortage := client.shortage(topics, seconds)) is not None:
                patience.note(shortage)
            patience.later()
        elif self._is_there(cause, client, topics, seconds):
            patience.end(cause)
        else:
            patience.later()

    @staticmethod
    def _is_there(cause: Cause, client: ClientPort, topics: Collection[str], seconds: float) -> bool:
        if cause == Cause.DENIED:
            return client.is_allowed(topics, seconds)
        if cause == Cause.CREDENTIALS and client.has_new_files():
            if client.is_allowed(topics, seconds):
                raise OutsideError("certificates or keys were replaced; starting again with them", cause)
            return False
        return client.is_answering(seconds)
