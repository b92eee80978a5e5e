"""A sink's dead letters on their way to their topic, and which offsets they hold back meanwhile.

    LetterPiece ──► Letter ──► producer ──► acknowledged ──► the number of the last one up to which Kafka has all
                      └── holds ──► nothing past its record is committed

A letter that Kafka refuses ends the task: its record is read again by the next life. So nothing is dropped, and a
letter may be there twice.

While letters wait for room in the producer's queue, nothing more is fetched, and of what the task has written only a
little is taken: the rest is made there when there is room for it.

Used by: engine.pump.sink.
Not here: what a letter says (engine.task.letters), when offsets are committed (commits.py).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

from engine.api.errors import ConnectError
from engine.kafka.errors import as_ours, is_queue_full
from engine.kafka.producer import Refused
from engine.pump.outside import ClientPort
from engine.shm.board import Row, Word
from engine.shm.frame import Letter, LetterPiece, decode_letter

__all__ = ["DeadLetters", "LetterPort"]

Place = tuple[str, int]

#: In the producer's queue, at most.
QUEUE_RECORDS_MAX = 10_000
QUEUE_BYTES_MAX = 4 * 1024 * 1024
#: In front of it, and one letter more.
WAITING_BYTES_MAX = 2 * 1024 * 1024


class LetterPort(ClientPort, Protocol):
    """What is needed of a producer (`engine.kafka.producer.BatchProducer`; a fake in the simulation)."""

    def __len__(self) -> int: ...
    def close(self) -> None: ...
    def poll(self) -> None: ...
    def send_each(
        self, topic: str, value: Any, key: Any, partition: int, timestamp: Any, headers: Any, on_delivery: Any
    ) -> None: ...


class DeadLetters:
    """One pump's."""

    def __init__(self, topic: str, begin: Callable[[], LetterPort] | None, row: Row) -> None:
        """begin: makes the topic, if it is missing, and a producer; raises ConnectError. None: nobody wants letters."""
        self._topic = topic
        self._begin = begin
        self._row = row
        self._producer: LetterPort | None = None
        self._parts = bytearray()  # of a letter that is not all there
        self._waiting: deque[tuple[Letter, int]] = deque()  # for the producer; with their sizes
        self._waiting_bytes = 0
        self._queue_bytes = 0
        self._open: dict[Place, list[tuple[int, int]]] = {}  # offset, number: a heap, with some that are done
        self._done: set[int] = set()  # numbers that are still in a heap
        self._acknowledged = row.get(Word.LETTERS_ACKNOWLEDGED)
        self._ahead: set[int] = set()  # numbers that Kafka has, behind one that it has not
        self.refusal: ConnectError | None = None  # a letter was refused: what is held back stays so

    @property
    def client(self) -> ClientPort:
        """The producer, which hears of what is wrong with Kafka."""
        assert self._producer is not None, "not started"
        return self._producer

    @property
    def is_full(self) -> bool:
        """Whether nothing more may come."""
        return bool(self._waiting)

    @property
    def may_hear(self) -> bool:
        """Whether there is room for another letter; else they wait on the other bank."""
        return self.refusal is not None or self._waiting_bytes < WAITING_BYTES_MAX

    def start(self) -> None:
        """Find or make the topic, and make the producer. Raises ConnectError."""
        if self._begin is not None:
            self._producer = self._begin()

    def close(self) -> None:
        """Give the producer back."""
        if self._producer is not None:
            self._producer.close()

    def hear(self, piece: LetterPiece) -> None:
        """The task has written a part of a letter."""
        assert self._begin is not None, "nobody wants dead letters"
        self._parts += piece.part
        if piece.is_last:
            letter = decode_letter(self._parts)
            place = letter.topic, letter.partition
            heapq.heappush(self._open.setdefault(place, []), (letter.offset, letter.number))
            if self.refusal is None:  # else nothing is sent any more, and all of them hold their offsets back
                self._waiting.append((letter, len(self._parts)))
                self._waiting_bytes += len(self._parts)
            self._parts = bytearray()

    def poll(self, fence: Callable[[], None]) -> None:
        """Hear what Kafka has answered, and send what there is room for, unless a letter was refused.

        fence: called before anything is sent; may raise Fenced.
        """
        producer = self._producer
        if producer is None or not self._open or self.refusal is not None:
            return
        try:
            producer.poll()
            while self._waiting and self._has_room(producer):
                fence()
                self._send(producer, *self._waiting[0])
                self._waiting_bytes -= self._waiting.popleft()[1]
        except Refused as refused:
            if not is_queue_full(refused.error):
                self._refuse(refused.error, f"write to the dead letter topic {self._topic}")

    def first(self, place: Place) -> int:
        """The lowest offset of a partition whose letter Kafka has not; -1: there is none."""
        heap = self._open.get(place)
        if heap is None:
            return -1
        while heap and heap[0][1] in self._done:
            self._done.discard(heapq.heappop(heap)[1])
        if not heap:
            del self._open[place]
            return -1
        return heap[0][0]

    def are_out(self, places: Collection[Place] | None = None) -> bool:
        """Whether Kafka has not all letters of these partitions; None: of any."""
        if not self._open:
            return False
        return any(self.first(place) >= 0 for place in list(self._open if places is None else places))

    def are_awaited(self, places: Collection[Place] | None = None) -> bool:
        """Whether that may still change."""
        return self.refusal is None and self.are_out(places)

    def _has_room(self, producer: LetterPort) -> bool:
        return len(producer) < QUEUE_RECORDS_MAX and (self._queue_bytes < QUEUE_BYTES_MAX or not len(producer))

    def _send(self, producer: LetterPort, letter: Letter, size: int) -> None:
        answer = partial(self._answered, letter.number, f"{letter.topic}-{letter.partition}@{letter.offset}", size)
        producer.send_each(self._topic, letter.value, letter.key, -1, letter.timestamp, letter.headers or None, answer)
        self._queue_bytes += size
        self._row.set(Word.LETTERS, self._row.get(Word.LETTERS) + 1)

    def _answered(self, number: int, which: str, size: int, error: Any, _: object) -> None:
        self._queue_bytes -= size
        if error is not None:
            self._refuse(error, f"write the dead letter of {which} to topic {self._topic}")
            return
        self._done.add(number)
        self._ahead.add(number)
        while self._acknowledged + 1 in self._ahead:
            self._acknowledged += 1
            self._ahead.discard(self._acknowledged)
        self._row.set(Word.LETTERS_ACKNOWLEDGED, self._acknowledged)

    def _refuse(self, error: Any, doing: str) -> None:
        self._row.set(Word.LETTERS_FAILED, self._row.get(Word.LETTERS_FAILED) + 1)
        self.refusal = self.refusal or as_ours(error, doing)
