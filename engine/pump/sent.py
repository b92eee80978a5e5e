"""A frame on its way to Kafka: which answers are awaited, and what they have said.

Used by: engine.pump.delivery.
Not here: how it is sent, and what becomes of an error (delivery.py).
"""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError, Message

from engine.api.task import UNKNOWN_OFFSET
from engine.ledger.source import PumpAccount
from engine.shm.frame import SourceFrame

__all__ = ["Listener", "Sent"]

#: In the place of partition and offset of a record that Kafka has refused.
NOWHERE = (-1, UNKNOWN_OFFSET)


class Listener(Protocol):
    """Who is told (`Delivery`)."""

    wants_each: bool
    wants_places: bool
    account: PumpAccount | None

    def fail(self, sent: Sent | None, index: int | None, error: KafkaError | None) -> None: ...
    def settle(self, number: int, place: tuple[int, int]) -> None: ...


class Sent:
    """A frame on its way, until Kafka has all of it."""

    __slots__ = ("_delivery", "answered", "frame", "is_placed", "letters", "pending", "places", "skipped")

    def __init__(self, frame: SourceFrame, delivery: Listener) -> None:
        self.frame = frame
        self.pending = 0
        self.places: list[tuple[int, int, int]] = []  # (sequence, partition, offset), where they are wanted
        self.answered = -1  # sum of the indexes of single records that were answered; -1: they have no answers each
        self.is_placed = False  # the ledger knows the offsets
        self.skipped = 0  # records that Kafka has refused
        self.letters: list[int] = []  # indexes of records whose letters go once all others are answered
        self._delivery = delivery

    def group_arrived(self, count: int, error: KafkaError | None, message: Message) -> None:
        """The answer for the last of `count` records of one partition is here."""
        account = self._delivery.account
        if error is None and account is not None:
            partition = message.partition()
            assert partition is not None
            account.placed(self.frame, partition, count, message.offset())
            self.is_placed = True
        self.arrived(error, message)

    def arrived(self, error: KafkaError | None, _: Message) -> None:
        """One expected answer is here."""
        if error is not None:
            self._delivery.fail(self, None, error)
        else:
            self.pending -= 1

    def record_arrived(self, index: int, error: KafkaError | None, message: Message) -> None:
        """The answer for one record is here."""
        if error is not None:
            self._delivery.fail(self, index, error)
            return
        if not self._delivery.wants_places:
            self.pending -= 1
            self.answered += index
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        # Kafka acknowledges a batch that it had already without saying where it lies.
        place = partition, UNKNOWN_OFFSET if offset is None else offset
        self.settle(index, place)
        self._delivery.settle(self.frame.sequence + index, place)

    def settle(self, index: int, place: tuple[int, int] | None) -> None:
        """Kafka has one record, at this partition and offset; None: it has refused it, and that is that."""
        self.pending -= 1
        self.answered += index
        self.skipped += place is None
        if self._delivery.wants_each:
            self.places.append((self.frame.sequence + index, *(place or NOWHERE)))
