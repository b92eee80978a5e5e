"""The record that kills a source's process, in a transform or a converter: see suspects.py.

    poll ──► parts ──► transform, convert ──► in the ring, which outlives the task process ──► the next part

The next life polls from the stored offset, and what it gets may be cut otherwise. So a record is known again by its
source partition and offset, or where it has none by what it is. Neighbours that have the same offset are not taken
apart: once it is stored, none of them comes again. A poll that kills is its connector's fault, and no record's.

Used by: engine.task.source.
Not here: what is done about a record that has failed (tolerance.py).
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from engine.api.batch import SourceBatch
from engine.shm.board import Row, Word
from engine.stages import outgoing
from engine.stages.transform import RecordError
from engine.stages.work import Outbound, Stages
from engine.task.dealing import Polled
from engine.task.source_letters import payload
from engine.task.suspects import NOTHING, SAFE_NS, Hand, Suspects

__all__ = ["SourceSuspects"]

#: Two numbers by which a record is known again.
Identity = tuple[int, int]


class SourceSuspects(Suspects):
    """One source task's."""

    def __init__(self, row: Row, stages: Stages) -> None:
        super().__init__(row)
        self._stage = "TRANSFORMATION" if stages.chain else "VALUE_CONVERTER"
        self._dealt: deque[Hand] = deque()  # and not collected
        self._await_polled = self._await_until_ns = 0

    def deal(self, polled: Polled) -> None:
        """This is worked on, here or by a stage process."""
        self._dealt.append(Hand(*_identity(polled, -1), len(polled)) if len(polled) else NOTHING)
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
        elif outgoing.last_offsets(polled):
            self._await_polled, self._await_until_ns = total, now_ns + SAFE_NS
        if self.part_records:
            suspect = self._row.get(Word.SUSPECT_PLACE), self._row.get(Word.SUSPECT_LAST)
            are_suspects = any(_identity(polled, index) == suspect for index in range(len(polled)))
            self._passed(len(polled), are_suspects=are_suspects)

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
        error = self._blame("this record" if count == 1 else f"these {count} records of one source offset")
        if error is None:
            return None
        failed = [RecordError(index, error, stage=self._stage) for index in range(count)]
        if skips and self._is_believed():
            return Outbound(0, [], None, 0, [], failed)
        return Outbound(0, [], failed[0], 0, [])

    def split(self, polled: Polled) -> list[Polled]:
        """What was polled, in parts as small as they have to be."""
        records, count = self.part_records, len(polled)
        if not (records and count):
            return [polled]
        parts = []
        begin = border = 0
        for index in range(1, count + 1):
            if index < count and _are_one(polled, index):
                continue
            if index - begin > records and border > begin:
                parts.append(_slice(polled, begin, border))
                begin = border
            border = index
        return [*parts, _slice(polled, begin, count)] if begin < count else parts


def _place(polled: Polled, index: int) -> tuple[Any, Any]:
    """Source partition and offset of one of them."""
    if isinstance(polled, SourceBatch):
        return polled.source_partition, polled.source_offsets[index] if polled.source_offsets else None
    return polled[index].source_partition, polled[index].source_offset


def _are_one(polled: Polled, index: int) -> bool:
    """Whether a record has the offset of the one before it."""
    place = _place(polled, index)
    return place[1] is not None and place == _place(polled, index - 1)


def _identity(polled: Polled, index: int) -> Identity:
    partition, offset = _place(polled, index)
    if offset is None:
        offset = polled.values[index] if isinstance(polled, SourceBatch) else polled[index].value
    return _number(partition), _number(offset)


def _number(value: Any) -> int:
    return zlib.crc32(payload(value) or b"")


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
