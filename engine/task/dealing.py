"""What a source has polled, until it is transformed and converted: in stage processes if there are any, or here.

    polled ──► deal ──┬──► stage process ──┬──► collect, in order ──► what was polled, and what became of it
                      └──► here ───────────┘

Here is done whatever has no stage process to go to: all, where there are none; what cannot be carried to one; and what
one could not do whole. So who must wait, and which record is bad, is found out in one place.

Used by: engine.task.source.
Not here: frames (source.py), whose turn it is (crew.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from engine.api.batch import SourceBatch
from engine.api.errors import ConnectError
from engine.api.record import SourceRecord
from engine.stages import crossing, outgoing, work
from engine.stages.carrying import NotCarriedError
from engine.stages.tolerate import Manner
from engine.stages.transform import Transformed
from engine.stages.work import Note, Outbound, Stages
from engine.task.crew import Crew

__all__ = ["Dealing", "Made", "Polled"]

Polled = SourceBatch | Sequence[SourceRecord]


class _Dealt(Struct):
    polled: Polled
    total: int
    is_away: bool = False  # a stage process has it
    done: Outbound | None = None  # what becomes of it is known
    transformed: Transformed | None = None  # here; it is kept while a converter asks to be called again


class Made(NamedTuple):
    """What became of a batch."""

    polled: Polled
    total: int  # records that were polled up to its end
    done: Outbound


class Dealing:
    """The batches of a source that are under way."""

    def __init__(self, stages: Stages, crew: Crew | None, note: Note, manner: Callable[[], Manner]) -> None:
        """crew: None: all is done here. note: is told what is about to be done here. manner: of each attempt here."""
        self._manner = manner
        self._stages = stages
        self._crew = crew
        self._note = note
        self._dealt: deque[_Dealt] = deque()
        self._notice = crossing.Notice()

    @property
    def is_under_way(self) -> bool:
        """Whether anything was dealt and not collected."""
        return bool(self._dealt)

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be dealt now."""
        if self._crew is None:
            return bool(self._dealt)
        return self._crew.is_full or len(self._dealt) >= self._crew.batches_max

    def deal(self, polled: Polled, total: int, *, is_here: bool = False, done: Outbound | None = None) -> None:
        """Take what was polled. total: records that were polled up to its end.

        is_here: no stage process gets it. done: what becomes of it, where that is known.
        """
        is_away = self._crew is not None and not is_here and len(polled) > 0 and self._is_sent(self._crew, polled)
        self._dealt.append(_Dealt(polled, total, is_away, done))

    def collect(self) -> Made | None:
        """The next batch in turn, if it is done.

        Raises RetriableError when a converter asks to be called again, which the next call does; LedgerError.
        """
        head = self._dealt[0]
        done = head.done
        if self._crew is not None and head.is_away:
            parcel = self._crew.collect()
            if parcel is None:
                return None
            if parcel.payload:
                done = crossing.read_outbound(parcel.payload, self._crew.unpacker)
            del parcel
            self._crew.release()
            head.is_away = False
        if done is None:
            done = self._done_here(head)
        self._dealt.popleft()
        return Made(head.polled, head.total, done)

    def forget(self) -> None:
        """Nothing of what is under way is wanted any more."""
        self._dealt.clear()

    def _is_sent(self, crew: Crew, polled: Polled) -> bool:
        """Have a stage process work on it, unless it cannot be carried there."""
        columns = outgoing.columns_of(polled)
        try:
            message = crossing.columns_message(columns, crew.packer, has_chain=bool(self._stages.chain))
        except NotCarriedError as error:
            self._notice.tell(error)
            return False
        except ConnectError:
            return False  # a column of the connector's own cannot be read; it has its turn here
        crew.deal(len(columns), message)
        return True

    def _done_here(self, head: _Dealt) -> Outbound:
        manner = self._manner()
        if head.transformed is None:
            head.transformed = work.transformed(outgoing.columns_of(head.polled), self._stages, self._note, manner)
        return work.outbound(head.transformed, self._stages, self._note, manner)
