"""Holding a source on the embedded Kafka back by its sinks, so that nothing falls out before it is safe.

    sources' PRODUCE ──────────────► outstanding ◄────────────── sinks' COMMIT
                     records of all      │ times the largest mean size, and overhead
                                         ▼
                     may_send: below OUTSTANDING_BYTES_MAX, whatever the partition

The embedded Kafka drops a partition's oldest batches beyond 5 MiB. The bound is for all partitions together, so it
holds however records spread over them; committed is what counts, because a restarted sink goes back to there.

Bytes are not counted where offsets are committed: they are records times the largest mean size that any source's
frames have shown. Records of one frame that differ much in size make that an estimate; what falls out in spite of it
fails the run (engine.pump.sink, engine.kafka.consumer).

A line that died may have produced records that never arrived, or committed some without counting them. They would
seem outstanding for ever: once nothing moves any more and the sinks have read all there is, they are written off.

Used by: engine.pump.main, which hands it to a source.
Source: librdkafka's mock cluster counts a batch as its bytes in the produce request; tests/unit/test_embedded.py
holds that fact.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.clock import Clock, SystemClock
from engine.shm.board import Board, HeaderWord, Measure, Row, Stage, State, Word

__all__ = ["OUTSTANDING_BYTES_MAX", "BoardHold"]

#: Of all partitions together. A partition keeps 5 MiB; what is between is for frames that several sources send at once.
OUTSTANDING_BYTES_MAX = 4 * 1024 * 1024
#: What a batch of one record takes beside key and value: 61 bytes of the batch's header, at most 22 of the record's.
#: Headers of records come on top; the sizes that the board counts leave them out.
RECORD_OVERHEAD_BYTES = 83
#: So long nothing must have moved before what never arrived is written off. More than a fetch of an idle partition
#: takes (500 ms) and the sinks' look at their lag (500 ms).
STILL_NS = 2_000_000_000

_OVER = (State.DONE, State.FAILED, State.STOPPED)
_SOURCE_MOVES = (Stage.PRODUCE, Stage.ACKNOWLEDGE)
_SINK_MOVES = (Stage.CONSUME, Stage.PUT, Stage.FLUSH, Stage.COMMIT)


class BoardHold:
    """A source's view of the board: how much is on its way from all sources to all sinks of this run."""

    def __init__(self, board: Board, clock: Clock | None = None) -> None:
        self._board = board
        self._clock = clock or SystemClock()
        self._rows_used = 0
        self._sources: list[_Source] = []
        self._sinks: dict[str, list[Row]] = {}  # by connector
        self._written_off: dict[str, int] = {}  # by the sinks' connector: records that never arrived
        self._moves: list[int] = []
        self._still_since_ns = 0

    def may_send(self, size_bytes: int) -> bool:
        """Whether a frame of so many bytes of keys and values may go.

        False: ask again. A frame that is too large by itself goes when nothing else is on its way. Without a sink
        that lives nobody would ever make room, and nobody would miss what falls out: everything may go.
        """
        self._look_for_rows()
        waiting = [name for name, rows in self._sinks.items() if any(map(_is_alive, rows))]
        record_bytes = max((source.largest_mean() for source in self._sources), default=0) + RECORD_OVERHEAD_BYTES
        if all(self._has_room(name, size_bytes, record_bytes) for name in waiting):
            self._moves = []
            return True
        self._write_off_what_never_came(waiting)
        return False

    def outstanding(self, connector: str) -> int:
        """Records that were produced, and that this sink's connector has not committed."""
        # The committed first: it can only grow, so that the answer errs upwards.
        committed = sum(row.measured(Stage.COMMIT, Measure.RECORDS) for row in self._sinks[connector])
        produced = sum(source.row.measured(Stage.PRODUCE, Measure.RECORDS) for source in self._sources)
        return max(0, produced - committed - self._written_off.get(connector, 0))

    def _has_room(self, connector: str, size_bytes: int, record_bytes: int) -> bool:
        records = self.outstanding(connector)
        # Every source may decide in the same moment to send a frame as large as this one.
        going = sum(_is_alive(source.row) for source in self._sources) * (size_bytes + RECORD_OVERHEAD_BYTES)
        return not records or records * record_bytes + going <= OUTSTANDING_BYTES_MAX

    def _look_for_rows(self) -> None:
        used = self._board.header[HeaderWord.ROWS_USED]
        if used == self._rows_used:
            return
        for index in range(self._rows_used, used):
            row = self._board.row(index)
            identity = row.identity
            if identity.type == "source":
                self._sources.append(_Source(row))
            else:
                self._sinks.setdefault(identity.connector, []).append(row)
        self._rows_used = used

    def _write_off_what_never_came(self, waiting: list[str]) -> None:
        now_ns = self._clock.monotonic_ns()
        moves = list(self._counts())
        if moves != self._moves or not self._is_all_read():
            self._moves = moves
            self._still_since_ns = now_ns
        elif now_ns - self._still_since_ns >= STILL_NS:
            for name in waiting:
                self._written_off[name] = self._written_off.get(name, 0) + self.outstanding(name)

    def _counts(self) -> Iterator[int]:
        for source in self._sources:
            for stage in _SOURCE_MOVES:
                yield source.row.measured(stage, Measure.RECORDS)
        for rows in self._sinks.values():
            for row in rows:
                yield row.get(Word.RESTARTS)
                yield row.get(Word.PARTITIONS)
                for stage in _SINK_MOVES:
                    yield row.measured(stage, Measure.RECORDS)

    def _is_all_read(self) -> bool:
        """Whether nothing is queued at a source, and every sink has put all that its partitions hold."""
        sources = (source.row for source in self._sources)
        sinks = (row for rows in self._sinks.values() for row in rows)
        return all(not row.get(Word.QUEUED) for row in sources if _is_alive(row)) and all(
            row.get(Word.STATE) in (State.RUNNING, State.DRAINING)
            and row.get(Word.PARTITIONS) > 0
            and not row.get(Word.LAG)
            and not row.get(Word.RING_USED_BYTES)
            and row.measured(Stage.PUT, Measure.RECORDS) == row.measured(Stage.FLUSH, Measure.RECORDS)
            for row in sinks
            if _is_alive(row)
        )


class _Source:
    """A source's row, and the largest mean size of a record that it has shown."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self._records = 0
        self._bytes = 0
        self._largest = 0

    def largest_mean(self) -> int:
        """Bytes of key and value, rounded up; of what came since the last look, or of an earlier one."""
        size = self.row.measured(Stage.PRODUCE, Measure.BYTES)
        records = self.row.measured(Stage.PRODUCE, Measure.RECORDS)
        # Another process counts: records and bytes belong together only when the bytes stand still around them.
        if records > self._records and size == self.row.measured(Stage.PRODUCE, Measure.BYTES):
            self._largest = max(self._largest, -(-(size - self._bytes) // (records - self._records)))
            self._records, self._bytes = records, size
        return self._largest


def _is_alive(row: Row) -> bool:
    return row.get(Word.STATE) not in _OVER
