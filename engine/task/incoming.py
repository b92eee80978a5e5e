"""A sink's frames as they come through the ring, in order: read, dealt to stage processes if there are any, collected.

    ring ──► head ──► is_back ──► drop, once it is put or heard
              └── deal ──► stage process ──┘

A frame stays in the ring until it is released, so that it can be worked on beside the connector: where part of it is
not wanted any more, or a stage process could not do it whole.

Used by: engine.task.sink.
Not here: what is wanted, and what is put (sink.py); whose turn it is (crew.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from engine.api.batch import Run
from engine.api.converter import HeaderConverter
from engine.shm import frame
from engine.shm.frame import ArrivedSinkFrame, Assigned, PassingSinkFrame, Tail, records_in
from engine.shm.ring import RingReader
from engine.stages import crossing
from engine.stages.work import Inbound
from engine.task.crew import Crew

__all__ = ["Coming", "Incoming", "without_foreign"]


class Coming(Struct):
    """What was read of the ring and waits for its turn."""

    message: ArrivedSinkFrame | PassingSinkFrame | Assigned | Tail
    raw: memoryview  # the ring's, until it is released
    is_away: bool = False  # a stage process has it
    is_last: bool = True  # it goes back with it; else it is part of a frame that goes on
    told: set[tuple[str, int, int]] = set()  # topic, partition, offset of records that were reported: each is once
    was_given: bool = False  # the connector had it before: it has its turn again
    tries: int = 1  # how often it was tried to convert it, or how many processes have died of it
    put_tries: int = 1  # how often the put that is under way was called, but for the search for bad records
    letter: int = 0  # number of the last letter of them; nothing behind them is put before Kafka has it
    done: Inbound | None = None  # what a stage process has made of it; None: nothing, it is to be worked on here

    def whole(self) -> ArrivedSinkFrame:
        """Its records."""
        message = self.message if isinstance(self.message, ArrivedSinkFrame) else frame.decode_sink(self.raw)
        assert isinstance(message, ArrivedSinkFrame), "a frame without records"
        return message


class Incoming:
    """The queue between a sink's ring and its put."""

    def __init__(self, ring: RingReader, crew: Crew | None, headers: HeaderConverter) -> None:
        """crew: None: all is worked on beside the connector. headers: for those that the connector looks at."""
        self._ring = ring
        self._crew = crew
        self._headers = headers
        self._queue: deque[Coming] = deque()

    def head(self, split: Callable[[Coming], Iterable[Coming]], *, is_here: bool) -> Coming | None:
        """What comes next, if anything; with stage processes, so much is read that each has something to do.

        split: a frame into the parts that are worked on one after the other. is_here: stage processes get nothing more.
        """
        if self._crew is not None and not is_here:
            self._deal_ahead(self._crew)
        elif not self._queue and (raw := self._ring.read()) is not None:
            self._queue += split(Coming(frame.decode_sink(raw), raw))
        return self._queue[0] if self._queue else None

    def has_more(self) -> bool:
        """Whether something has come that was not dropped yet."""
        return bool(self._queue) or not self._ring.is_drained()

    def is_back(self, coming: Coming) -> bool:
        """Whether no stage process has the head any more. Raises LedgerError."""
        if self._crew is None or not coming.is_away:
            return True
        parcel = self._crew.collect()
        if parcel is None:
            return False
        assert isinstance(coming.message, PassingSinkFrame), "only frames of records are dealt"
        if parcel.payload:
            runs = coming.message.runs
            coming.done = crossing.read_inbound(parcel.payload, self._crew.unpacker, runs, self._headers)
        del parcel
        self._crew.release()
        coming.is_away = False
        return True

    def dealt(self) -> list[Run]:
        """What stage processes have, or have given back and has not had its turn."""
        if self._crew is None:
            return []
        messages = [coming.message for coming in self._queue]
        return [run for message in messages if isinstance(message, PassingSinkFrame) for run in message.runs]

    def drop(self) -> None:
        """The head has had its turn."""
        self._queue.popleft()

    def put_back(self, coming: Coming) -> None:
        """It has its turn again."""
        self._queue.appendleft(coming)

    def _deal_ahead(self, crew: Crew) -> None:
        crew.send()
        while not crew.is_full:
            raw = self._ring.read()
            if raw is None:
                return
            coming = Coming(frame.decode_passing(raw), raw)
            if isinstance(coming.message, PassingSinkFrame):
                coming.is_away = True
                crew.deal(records_in(coming.message.runs), raw)
            self._queue.append(coming)


def without_foreign(message: ArrivedSinkFrame, is_wanted: Callable[[Run], bool]) -> ArrivedSinkFrame:
    """A frame without the records of runs that nobody wants any more."""
    if all(map(is_wanted, message.runs)):
        return message
    keep: list[int] = []
    runs = []
    before = []
    at = 0
    for index, run in enumerate(message.runs):
        if is_wanted(run):
            keep.extend(range(at, at + run.count))
            runs.append(run)
            if message.before is not None:
                before.append(message.before[index])
        at += run.count
    kept = ArrivedSinkFrame(
        runs,
        message.size_bytes,
        [message.values[index] for index in keep],
        message.keys and [message.keys[index] for index in keep],
        message.timestamps and [message.timestamps[index] for index in keep],
        message.timestamp_type,
        before=before,
    )
    if message.has_headers():
        headers = frame.decode_headers(message.headers)
        kept.headers = msgspec.Raw(frame.encode([headers[index] for index in keep]))
    return kept
