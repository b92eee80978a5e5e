"""The record that kills a source's process, in a transform or a converter: see suspects.py.

    poll ──► parts ──► transform, convert ──► in the ring, which outlives the task process ──► the next part

The next life polls from the stored offset, and what it gets may be cut otherwise. So a record is known again by its
source partition and offset, and by what it holds: many may have one offset, and more of them come with the next poll.
Where a part ends and others of the poll have its offset, that is not told: once it is stored, none of them comes again.
A poll that kills is its connector's fault, and no record's.

Used by: engine.task.source.
Not here: by which numbers a record is known (known_again.py), what is done about one that has failed (tolerance.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec.structs import replace

from engine.api.batch import SourceBatch
from engine.shm.board import Row, Word
from engine.shm.frame import SourceOffset
from engine.stages import outgoing
from engine.stages.transform import RecordError
from engine.stages.work import Outbound, Stages
from engine.task.dealing import Polled
from engine.task.known_again import can_be_told, content_number, name_of, place_number, place_of
from engine.task.suspects import NOTHING, SAFE_NS, Hand, Suspects

__all__ = ["SourceSuspects"]

#: Those that were to blame, and may come again with others of their offset.
_KILLERS = (Word.KILLER_FIRST, Word.KILLER_SECOND, Word.KILLER_THIRD)


class _Part(NamedTuple):
    """Some of what was polled."""

    records: Polled  # which keeps its id from being another's
    places: outgoing.Places  # of all that was polled
    begin: int  # its first one among them


class SourceSuspects(Suspects):
    """One source task's."""

    def __init__(self, row: Row, stages: Stages) -> None:
        super().__init__(row)
        self._stage = "TRANSFORMATION" if stages.chain else "VALUE_CONVERTER"
        self._dealt: deque[Hand] = deque()  # and not collected
        self._parts: dict[int, _Part] = {}  # by id of what was cut out
        self._is_unsafe = False  # what has failed, as no offset behind it was told
        self._await_polled = self._await_until_ns = 0

    def deal(self, polled: Polled) -> None:
        """This is worked on, here or by a stage process."""
        count = len(polled)
        last = count - 1
        self._dealt.append(Hand(place_number(polled, last), content_number(polled, last), count) if count else NOTHING)
        self._tell(self._dealt)

    def lay_down(self) -> None:
        """What was dealt first waits for a converter: whoever dies meanwhile does not die of it."""
        self._tell([*self._dealt][1:])

    def take_up(self) -> None:
        """It is worked on again."""
        self._tell(self._dealt)

    def passed(self, polled: Polled, total: int, now_ns: int) -> None:
        """What was dealt first is on its way to the pump. total: records that were polled up to its end."""
        self._dealt.popleft()
        self._tell(self._dealt)
        if not len(polled):
            return
        if not self.deaths:
            self._row.set(Word.BLAMED, 0)
        self._is_unsafe = self._is_unsafe or self.deaths > 0
        if self._is_unsafe and self.offsets(polled):
            self._is_unsafe = False
            self._await_polled, self._await_until_ns = total, now_ns + SAFE_NS
        self._parts.pop(id(polled), None)
        if self.part_records:
            self._look_for_suspect(polled)

    def offsets(self, polled: Polled, end: int | None = None) -> list[SourceOffset]:
        """Where to go on after the first `end` of them, all by default; nothing of an offset that more have."""
        if (part := self._parts.get(id(polled))) is not None:
            return part.places.between(part.begin, part.begin + (len(polled) if end is None else end))
        return outgoing.last_offsets(polled) if end is None else outgoing.Places(polled).between(0, end)

    def stored(self, total: int) -> None:
        """The stored offsets cover so many records that were polled."""
        if total >= self._await_polled:
            self._await_until_ns = 0

    def waits(self, now_ns: int) -> bool:
        """Whether what has failed is to be stored before more is taken: else the next death brings it again."""
        if not self.part_records:
            return False
        if now_ns < self._await_until_ns:
            return True
        self._end()
        return False

    def refused(self, polled: Polled, *, skips: bool) -> Outbound | None:
        """What becomes of what was dealt last, where it is to blame; None: it is worked on. skips: it costs itself."""
        count = len(polled)
        if not count:  # an offset alone
            self.deaths = 0
            return None
        if self._row.get(Word.LONE_DEATHS) and not can_be_told(polled, count - 1):
            self.deaths = 0  # others would be taken for it
            return None
        is_known = count == 1 and name_of(polled, 0) in self._killers()
        error = self._blame("this record", is_known=is_known)
        if error is None:
            return None
        if not is_known:
            self._remember(polled)
        failed = [RecordError(index, error, stage=self._stage) for index in range(count)]
        if skips and self._is_believed():
            return Outbound(0, [], None, 0, [], failed)
        return Outbound(0, [], failed[0], 0, [])

    def split(self, polled: Polled) -> list[Polled]:
        """What was polled, in parts as small as they have to be."""
        records, count = self.part_records, len(polled)
        if not (records and count):
            return [polled]
        places = outgoing.Places(polled)
        parts = []
        for begin, end in pairwise(sorted({*range(0, count, records), *self._borders(polled), count})):
            part = _slice(polled, begin, end)
            self._parts[id(part)] = _Part(part, places, begin)
            parts.append(part)
        return parts

    def _borders(self, polled: Polled) -> Iterable[int]:
        """Where to cut, so that what was to blame is alone."""
        if killers := self._killers():
            for index in range(len(polled)):
                if name_of(polled, index) in killers:
                    yield from (index, index + 1)

    def _killers(self) -> set[int]:
        """Numbers for what was to blame, while anything is looked for."""
        return {self._row.get(word) for word in _KILLERS} - {0} if self.part_records else set()

    def _remember(self, polled: Polled) -> None:
        numbers = [name_of(polled, 0), *map(self._row.get, _KILLERS)]
        for word, number in zip(_KILLERS, numbers, strict=False):
            self._row.set(word, number)

    def _look_for_suspect(self, polled: Polled) -> None:
        """Note whether it is among these, and how many have its place: nothing is stored between them."""
        place, content = self._row.get(Word.SUSPECT_PLACE), self._row.get(Word.SUSPECT_LAST)
        near = [index for index in range(len(polled)) if place_number(polled, index) == place]
        are_suspects = any(content_number(polled, index) == content for index in near)
        before = sum(place_of(polled, index)[1] is not None for index in near)
        self._passed(len(polled), are_suspects=are_suspects, before=before)


def _slice(polled: Polled, begin: int, end: int) -> Polled:
    if not isinstance(polled, SourceBatch):
        return polled[begin:end]

    def cut(column: Sequence[Any] | None) -> Any:
        return None if column is None else column[begin:end]

    return replace(
        polled,
        values=polled.values[begin:end],
        value_schemas=cut(polled.value_schemas),
        keys=cut(polled.keys),
        partitions=cut(polled.partitions),
        timestamps=cut(polled.timestamps),
        headers=cut(polled.headers),
        source_offsets=cut(polled.source_offsets),
    )
