"""What a sink's task counts of each batch: on the board for people, and in the ledger, where it must add up.

    converted ──► transformed ──► begins ──► refused ──► ends

Nothing is counted as handed over before it is: a batch that waits for the dead letters of its frame has not begun.

Used by: engine.task.sink, engine.task.errant.
Not here: what must add up (engine.ledger.sink); records that fail (tolerance.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from engine.api.batch import Run
from engine.api.record import TopicPartition
from engine.clock import Clock
from engine.ledger.sink import TaskAccount
from engine.shm.board import Measure, Row, Stage, Word
from engine.shm.frame import records_in
from engine.stages.work import Inbound
from engine.task.letters import Original
from engine.task.putting import Putting

__all__ = ["SinkCounts"]


class SinkCounts:
    """One task's."""

    def __init__(self, row: Row, clock: Clock, account: TaskAccount | None) -> None:
        """account: None: the ledger is switched off."""
        self.row = row
        self._clock = clock
        self._account = account

    def opened(self, places: Collection[TopicPartition]) -> None:
        """These partitions come."""
        if self._account is not None:
            self._account.opened(places)

    def refused_late(self, runs: Sequence[Run]) -> None:
        """Lives before have died of these in the connector, which has not taken them."""
        if self._account is not None:
            self._account.refused_late(runs)

    def converted(self, going: Putting, done: Inbound) -> None:
        """A frame has come, and became this. Raises LedgerError."""
        message, not_converted = going.message, done.not_converted_count
        if self._account is not None:
            self._account.arrived(message.runs, message.before or (), done.came)
        errors = not_converted + (done.not_converted is not None)
        self.row.count(Stage.CONVERT, done.converted, message.size_bytes, errors=errors)
        if self._account is not None:
            self._account.converted(going.done(), done.converted + not_converted)

    def transformed(self, going: Putting, done: Inbound) -> None:
        """Transforms have had their turn; a record that ended the batch there ends it now. Raises LedgerError."""
        assert done.origins is not None, "a converter has given other numbers of values"
        errors = len(done.skipped) - done.not_converted_count + (done.not_transformed is not None)
        self.row.count(Stage.TRANSFORM, done.transformed, errors=errors)
        if self._account is not None:
            self._account.transformed(going.done(), done.origins, done.transformed)

    def begins(self, going: Putting) -> None:
        """It is handed over, whatever comes of it. Raises LedgerError."""
        if not self.row.measured(Stage.PUT, Measure.RECORDS):
            self.row.set(Word.FIRST_RECORD_NS, self._clock.monotonic_ns())
        runs = going.done()
        # Records, not what is left of them after transforms: these are the ones that could be repeated.
        self.row.count(Stage.PUT, records_in(runs))
        if self._account is not None:
            if not going.coming.was_given:
                going.coming.was_given = True
                self._account.given(runs)
            skipped = [one.index for one in going.skipped] if going.skipped else ()
            self._account.putting(runs, going.origins, len(going.batch), skipped)

    def refused(self, records: Collection[Original]) -> None:
        """The connector has not taken these, and that is tolerated; each is told once."""
        if records and self._account is not None:
            self._account.refused((one.topic, one.partition, one.offset) for one in records)

    def ends(self, going: Putting) -> None:
        """The connector has taken it, but for what it has refused."""
        if self._account is not None:
            self._account.handled(going.done())
