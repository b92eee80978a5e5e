"""What a source has polled, dealt to its stage processes and collected in order.

    polled ──► deal ──► stage process ──► collect ──► what was polled, and what became of it

Used by: engine.task.source.
Not here: frames (source.py), whose turn it is (crew.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from engine.api.batch import Columns, SourceBatch
from engine.api.errors import ConnectError
from engine.api.record import SourceRecord
from engine.stages import crossing
from engine.stages.transform import RecordError
from engine.stages.work import Outbound
from engine.task.crew import Crew

__all__ = ["Dealing", "Made"]

Polled = SourceBatch | Sequence[SourceRecord]


class _Dealt(NamedTuple):
    polled: Polled
    total: int
    bad: RecordError | None


class Made(NamedTuple):
    """What became of a batch."""

    polled: Polled
    total: int  # records that were polled up to its end
    bad: RecordError | None  # the record that cannot cross to a stage process; what is done ends before it
    done: Outbound


class Dealing:
    """The batches of a source that are under way."""

    def __init__(self, crew: Crew, *, has_chain: bool) -> None:
        self._crew = crew
        self._has_chain = has_chain
        self._dealt: deque[_Dealt] = deque()
        self._has_bad = False

    @property
    def is_under_way(self) -> bool:
        """Whether anything was dealt and not collected."""
        return bool(self._dealt)

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be dealt now, or is to be: nothing goes on past a bad record."""
        return self._crew.is_full or self._has_bad

    def deal(self, polled: Polled, total: int, columns: Columns) -> None:
        """Have a stage process work on what was polled, up to the first record that cannot be carried there.

        total: records that were polled up to its end.
        """
        bad: RecordError | None = None
        try:
            message = crossing.columns_message(columns, self._crew.packer, has_chain=self._has_chain)
        except ConnectError:
            bad = crossing.first_bad(columns, self._crew.packer, has_chain=self._has_chain)
            columns = columns.picked(range(bad.index))
            message = crossing.columns_message(columns, self._crew.packer, has_chain=self._has_chain)
            self._has_bad = True
        self._crew.deal(len(columns), message)
        self._dealt.append(_Dealt(polled, total, bad))

    def collect(self) -> Made | None:
        """The next batch in turn, if it is done. Raises LedgerError."""
        parcel = self._crew.collect()
        if parcel is None:
            return None
        done = crossing.read_outbound(parcel.payload, self._crew.unpacker)
        del parcel
        self._crew.release()
        return Made(*self._dealt.popleft(), done)

    def forget(self) -> None:
        """Nothing of what is under way is wanted any more."""
        self._dealt.clear()
