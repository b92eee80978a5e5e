"""The record that kills a source's process, in a transform or a converter: see suspects.py.

    poll ──► parts ──► transform, convert ──► in the ring, which outlives the task process ──► the next part

The next life polls from the stored offset, and what it gets may be cut otherwise. So a record is known again by its
source partition and offset, key and value: many may have one offset, and more of them come with the next poll. Where a
part ends between neighbours of one offset, that is not told: once it is stored, none of them comes again. A poll that
kills is its connector's fault, and no record's.

Used by: engine.task.source.
Not here: what is done about a record that has failed (tolerance.py).
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.api.batch import SourceBatch
from engine.api.column import StructColumn
from engine.offsets.store import encode_part
from engine.shm.board import Row, Word
from engine.shm.frame import SourceOffset
from engine.stages import outgoing
from engine.stages.transform import RecordError
from engine.stages.work import Outbound, Stages
from engine.task.dealing import Polled
from engine.task.suspects import NOTHING, SAFE_NS, Hand, Suspects

__all__ = ["SourceSuspects"]

#: When a change was read, which an envelope of Debezium tells, is another time in each life.
_CLOCKS = frozenset(("ts_ms", "ts_us", "ts_ns"))
#: Those that were to blame, and may come again with others of their offset.
_KILLERS = (Word.KILLER_FIRST, Word.KILLER_SECOND, Word.KILLER_THIRD)


class SourceSuspects(Suspects):
    """One source task's."""

    def __init__(self, row: Row, stages: Stages) -> None:
        super().__init__(row)
        self._stage = "TRANSFORMATION" if stages.chain else "VALUE_CONVERTER"
        self._dealt: deque[Hand] = deque()  # and not collected
        self._parted: dict[int, Polled] = {}  # by id: parts behind which more of the same offset comes
        self._is_unsafe = False  # what has failed, as no offset behind it was told
        self._await_polled = self._await_until_ns = 0

    def deal(self, polled: Polled) -> None:
        """This is worked on, here or by a stage process."""
        count = len(polled)
        last = count - 1
        self._dealt.append(Hand(_place_number(polled, last), _content(polled, last), count) if count else NOTHING)
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
        self._parted.pop(id(polled), None)
        if self.part_records:
            self._look_for_suspect(polled)

    def offsets(self, polled: Polled) -> list[SourceOffset]:
        """Where to go on after all of it; nothing of an offset that more records have."""
        offsets = outgoing.last_offsets(polled)
        if id(polled) not in self._parted:
            return offsets
        partition = encode_part(_place(polled, len(polled) - 1)[0])
        return [offset for offset in offsets if offset.partition != partition]

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
        is_known = count == 1 and _name(polled, 0) in self._killers()
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
        parts = []
        for begin, end in pairwise(sorted({*range(0, count, records), *self._borders(polled), count})):
            part = _slice(polled, begin, end)
            if end < count and _have_one_offset(polled, end):
                self._parted[id(part)] = part
            parts.append(part)
        return parts

    def _borders(self, polled: Polled) -> Iterable[int]:
        """Where to cut, so that what was to blame is alone."""
        if killers := self._killers():
            for index in range(len(polled)):
                if _name(polled, index) in killers:
                    yield from (index, index + 1)

    def _killers(self) -> set[int]:
        """Numbers for what was to blame, while anything is looked for."""
        return {self._row.get(word) for word in _KILLERS} - {0} if self.part_records else set()

    def _remember(self, polled: Polled) -> None:
        numbers = [_name(polled, 0), *map(self._row.get, _KILLERS)]
        for word, number in zip(_KILLERS, numbers, strict=False):
            self._row.set(word, number)

    def _look_for_suspect(self, polled: Polled) -> None:
        """Note whether it is among these, and how many have its place: nothing is stored between them."""
        place, content = self._row.get(Word.SUSPECT_PLACE), self._row.get(Word.SUSPECT_LAST)
        near = [index for index in range(len(polled)) if _place_number(polled, index) == place]
        are_suspects = any(_content(polled, index) == content for index in near)
        before = sum(_place(polled, index)[1] is not None for index in near)
        self._passed(len(polled), are_suspects=are_suspects, before=before)


def _place(polled: Polled, index: int) -> tuple[Any, Any]:
    """Source partition and offset of one of them."""
    if isinstance(polled, SourceBatch):
        return polled.source_partition, polled.source_offsets[index] if polled.source_offsets else None
    return polled[index].source_partition, polled[index].source_offset


def _have_one_offset(polled: Polled, index: int) -> bool:
    """Whether a record has the offset of the one before it."""
    place = _place(polled, index)
    return place[1] is not None and place == _place(polled, index - 1)


def _place_number(polled: Polled, index: int) -> int:
    partition, offset = _place(polled, index)
    return _number(partition) << 31 ^ _number(offset)


def _name(polled: Polled, index: int) -> int:
    """One number for all of it."""
    place, content = _place_number(polled, index), _content(polled, index)
    return content ^ zlib.crc32(b"%d %d" % (place, content)) or 1


def _content(polled: Polled, index: int) -> int:
    """A number for key and value."""
    if not isinstance(polled, SourceBatch):
        return _number(polled[index].key) << 31 ^ _number(polled[index].value)
    key = 0 if polled.keys is None else _number(_slot(polled.keys, index))
    return key << 31 ^ _number(_slot(polled.values, index))


def _slot(column: Sequence[Any], index: int) -> Any:
    """One of a column; of a column of structs a slot makes those of all others, a slice of one does not."""
    return column[index : index + 1][0] if isinstance(column, StructColumn) else column[index]


def _lasting(value: Any) -> Any:
    """A value without the time at which it was read."""
    if not isinstance(value, dict) or "op" not in value or "ts_ms" not in value:
        return value
    lasting = {name: part for name, part in value.items() if name not in _CLOCKS}
    if isinstance(source := lasting.get("source"), dict):
        lasting["source"] = {name: part for name, part in source.items() if name not in _CLOCKS}
    return lasting


def _number(value: Any) -> int:
    """The same in each process for what is the same; 0: nothing."""
    if value is None:
        return 0
    if isinstance(value, bytes):
        return zlib.crc32(value)
    try:
        plain = msgspec.to_builtins(value, enc_hook=lambda one: type(one).__name__, order="deterministic")
        return zlib.crc32(msgspec.json.encode(_lasting(plain)))
    except Exception:  # noqa: BLE001  a connector's own objects, of which nothing more can be said
        return zlib.crc32(type(value).__name__.encode())


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
