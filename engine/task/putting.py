"""A batch on its way into the connector, and which of its records are bad where `put` takes all or nothing.

    put(all) fails ──► put(its first half) ──► ... ──► one record, which is bad; all before it is put
                                                           └──► put(all behind it) ──► ...

To find one bad record of n takes log2(n) calls, and one more puts what is behind it.

What is bad is told of as soon as that is known, and nothing behind it is put before Kafka has its dead letter: a sink
that keeps positions beside its rows moves them past it then, and would leave it out when it comes again.

Used by: engine.task.sink, engine.task.sink_counts.
Not here: who is told of them (tolerance.py, letters.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from engine.api.batch import Run, SinkBatch
from engine.api.errors import ConnectError
from engine.bank import describe
from engine.ledger.errors import described
from engine.mending import failure_of_record
from engine.shm.frame import ArrivedSinkFrame, Headers, PassingSinkFrame
from engine.stages import convert
from engine.stages.tolerate import may_pass
from engine.stages.transform import RecordError
from engine.task.incoming import Coming
from engine.task.letters import Letters, Original, consumed, headers_of, originals
from engine.task.tolerance import Tolerance

__all__ = ["Putting", "Search"]

#: Runs of records that an error names.
PLACES_TOLD_MAX = 3


class Search:
    """The bad records of a batch of which any part may be put, in order, and fails if one in it is bad."""

    def __init__(self, count: int, origins: Sequence[int] | None = None) -> None:
        """count: of the records; all of them together have not been tried yet, or have failed.

        origins: what they were made of; those made of one have one offset, and are put together, or bad together.
        """
        self._borders: Sequence[int] = range(count + 1)  # where it may be cut
        if origins is not None:
            self._borders = [at for at in range(count) if not at or origins[at] != origins[at - 1]] + [count]
        self._count = len(self._borders) - 1
        self._begin = 0
        self._end = self._count
        self._bad_end: int | None = None  # a bad one is known to be between `_begin` and here
        self._error = (
            Exception()
        )  # with which the last part has failed: that of its bad record, once others have passed
        self.found: list[tuple[int, Exception]] = []

    @property
    def begin(self) -> int:
        """All before is put, or bad."""
        return self._borders[self._begin]

    @property
    def end(self) -> int:
        """Of the part that is tried next."""
        return self._borders[self._end]

    @property
    def is_over(self) -> bool:
        """Whether every record is put, or bad."""
        return self._begin == self._count

    def passed(self) -> None:
        """The part is put."""
        self._begin = self._end
        self._go_on()

    def failed(self, error: Exception) -> None:
        """The part is not, nothing of it."""
        self._bad_end, self._error = self._end, error
        self._go_on()

    def _go_on(self) -> None:
        if self._bad_end is not None and self._bad_end - self._begin == 1:
            self.found.append((self.begin, self._error))
            self._begin += 1
            self._bad_end = None
        left = (self._count if self._bad_end is None else self._bad_end) - self._begin
        self._end = self._begin + (left if self._bad_end is None else left // 2)


class Putting(Struct):
    """A batch on its way into the connector; it is kept while its put asks to be called again."""

    coming: Coming
    message: ArrivedSinkFrame | PassingSinkFrame  # of the frame, what is wanted
    batch: SinkBatch
    bad: RecordError | None = None  # the record that ended the batch
    act: str = ""  # what could not be done to it
    skipped: Sequence[RecordError] = ()
    origins: Sequence[int] | None = None  # which of the frame's records transforms have left; None: there is no chain
    at_ns: int = 0  # not before
    search: Search | None = None  # for bad records, once a put has failed
    found_count: int = 0  # of them, those that were told of
    has_begun: bool = False  # something of it may have been put
    looks: int = 0  # for letters that were missing
    read: tuple[ArrivedSinkFrame, list[Headers] | None] | None = None  # the frame, once somebody is told of records

    def part(self) -> SinkBatch:
        """What is put next."""
        search = self.search
        return self.batch if search is None else convert.part_of(self.batch, search.begin, search.end)

    def failed(self, error: Exception) -> None:
        """The part was not put."""
        self.search = self.search or Search(len(self.batch), self.origins)
        self.search.failed(error)

    def passed(self) -> None:
        """The part was put."""
        if self.search is not None:
            self.search.passed()

    def is_put(self) -> bool:
        """Whether nothing is left."""
        return self.search is None or self.search.is_over

    def done(self) -> Sequence[Run]:
        """What is done once it is put, with all that transforms dropped and all that was skipped."""
        runs = self.message.runs
        return runs if self.bad is None else convert.kept_runs(runs, range(self.bad.index))

    def tell_found(self, plugin: type, tolerance: Tolerance, letters: Letters | None) -> Sequence[Original]:
        """Report bad records that were found since it was asked last, and return them. plugin: the connector's task."""
        search, before = self.search, self.found_count
        if search is None or len(search.found) == before:
            return ()
        self.found_count = len(search.found)
        found = search.found[before:]
        bad = [RecordError(self._place(at), error, stage="TASK_PUT", plugin=plugin) for at, error in found]
        return self.tell(bad, tolerance, letters, self.coming.put_tries)

    def tell(
        self, failures: Sequence[RecordError], tolerance: Tolerance, letters: Letters | None, tries: int = 0
    ) -> Sequence[Original]:
        """Report records of the frame, each once however often the frame is worked on; returns those that are new.

        failures: in its order. tries: how often it was tried to put them; 0: that was not what has failed.
        """
        if not failures:
            return ()
        coming = self.coming
        new = []
        for failure, one in zip(failures, self._originals(failures), strict=True):
            place = one.topic, one.partition, one.offset
            if place not in coming.told:
                coming.told.add(place)
                tolerance.report(failure, partial(consumed, one))
                new.append((failure, one))
        if letters is not None and new:
            coming.letter = letters.write(new, tries or coming.tries)
        return [one for _, one in new]

    def end(self, tolerance: Tolerance, letters: Letters | None) -> ConnectError | None:
        """All before the record that ended the batch is put: report it; returns what ends the task."""
        bad = self.bad
        if bad is None:
            return None
        if not may_pass(bad.error):  # else it comes again
            self.tell([bad], tolerance, letters)
        (one,) = self._originals([bad])
        text = f"the record at topic {one.topic}, partition {one.partition}, offset {one.offset} could not be"
        return failure_of_record(f"{text} {self.act}: {describe(bad.error)}", bad.error)

    def _originals(self, failures: Sequence[RecordError]) -> list[Original]:
        if self.read is None:
            # A stage process makes whole frames only: what it was given is what is wanted.
            whole = self.message if isinstance(self.message, ArrivedSinkFrame) else self.coming.whole()
            self.read = whole, headers_of(whole)
        message, headers = self.read
        return originals(message, [one.index for one in failures], headers)

    def _place(self, at: int) -> int:
        """Where in the frame the record lies that this one of the batch was made of."""
        return at if self.origins is None else self.origins[at]

    def described(self) -> str:
        """Which records these are, for people; of many partitions the first few."""
        runs = self.done()
        places = [
            described((run.topic, run.partition), run.first_offset, run.last_offset) for run in runs[:PLACES_TOLD_MAX]
        ]
        return "; ".join(places) + (f"; {len(runs) - len(places)} more" if len(runs) > len(places) else "")
