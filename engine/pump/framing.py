"""What was fetched, as frames for the ring: of one topic and one timestamp type, and never larger than it takes.

    Fetched ──► without what is not wanted ──► one frame for each topic and timestamp type ──► bytes, halved until
                                                                                               they fit

Used by: engine.pump.sink.
Not here: where they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from msgspec import Struct

from engine.api.batch import Run
from engine.api.errors import RecordTooLargeError
from engine.kafka.fetched import Fetched, Slice
from engine.ledger.entries import MASK
from engine.ledger.sink import PumpAccount
from engine.pump.partitions import Partitions
from engine.shm import frame
from engine.shm.frame import Payloads, SinkFrame

__all__ = ["encoded", "frames_of"]


class Piece(Struct):
    """Neighbours in what was fetched that make one frame."""

    begin: int
    end: int
    timestamp_type: int
    runs: list[Run]


def frames_of(fetched: Fetched, parts: Partitions, account: PumpAccount | None = None) -> Iterator[SinkFrame]:
    """Frames of what is wanted, in order; the positions of their partitions move past them. account: the ledger's."""
    if account is not None:
        _count(fetched, parts, account)
    pieces: list[Piece] = []
    at = 0
    for slice_ in fetched.slices:
        end = at + slice_.length
        part = parts.get((slice_.topic, slice_.partition))
        if part is not None and part.seek_to < 0:
            begin = at + _known_already(slice_, part.position)
            for first, last in pairwise(_type_cuts(fetched.timestamp_types, begin, end)):
                _add(pieces, first, last, _type_at(fetched, first), _run(slice_, part.epoch, first - at, last - at))
            part.position = max(part.position, slice_.last_offset + 1)
        at = end
    for piece in pieces:
        whole = _frame(fetched, piece)
        if account is not None:
            whole.before = account.before(whole.runs)
        yield whole


def _count(fetched: Fetched, parts: Partitions, account: PumpAccount) -> None:
    """Tell the ledger what was fetched, before anything is done with it."""
    reached: dict[tuple[str, int], int] = {}
    for slice_ in fetched.slices:
        place = slice_.topic, slice_.partition
        part = parts.get(place)
        if part is not None and part.seek_to < 0:
            known = _known_already(slice_, reached.get(place, part.position))
            if known < slice_.length:
                account.fetched(place, _run(slice_, part.epoch, known, slice_.length))
            reached[place] = max(part.position, slice_.last_offset + 1)


def encoded(whole: SinkFrame, limit_bytes: int) -> Iterator[tuple[bytes, SinkFrame]]:
    """A frame as bytes, halved until every part fits; each with the frame it is of.

    Raises RecordTooLargeError for a record that never fits, after all that stand before it.
    """
    raw = frame.encode(whole)
    count = len(whole.values)
    if len(raw) <= limit_bytes:
        yield raw, whole
    elif count == 1:
        run = whole.runs[0]
        raise RecordTooLargeError(
            f"the record at topic {run.topic}, partition {run.partition}, offset {run.first_offset} takes {len(raw)} "
            f"bytes with its headers; this task can carry {limit_bytes}: raise ring.bytes to more than four times that"
        )
    else:
        yield from encoded(_cut(whole, 0, count // 2), limit_bytes)
        yield from encoded(_cut(whole, count // 2, count), limit_bytes)


def _known_already(slice_: Slice, position: int) -> int:
    """How many records at the beginning of a slice are in frames already."""
    if slice_.first_offset >= position:
        return 0
    return sum(offset < position for offset in _offsets(slice_))


def _type_cuts(types: int | Sequence[int], begin: int, end: int) -> list[int]:
    """`begin`, where the timestamp type changes, and `end`; nothing for no records."""
    if begin == end:
        return []
    if isinstance(types, int):
        return [begin, end]
    changes = [at for at in range(begin + 1, end) if types[at] != types[at - 1]]
    return [begin, *changes, end]


def _type_at(fetched: Fetched, at: int) -> int:
    types = fetched.timestamp_types
    return types if isinstance(types, int) else types[at]


def _add(pieces: list[Piece], begin: int, end: int, timestamp_type: int, run: Run) -> None:
    last = pieces[-1] if pieces else None
    if (
        last is not None
        and last.end == begin
        and last.timestamp_type == timestamp_type
        and last.runs[0].topic == run.topic
    ):
        last.end = end
        last.runs.append(run)
    else:
        pieces.append(Piece(begin, end, timestamp_type, [run]))


def _run(slice_: Slice, epoch: int, begin: int, end: int) -> Run:
    """The records `begin` to `end` of a slice."""
    if end - begin == slice_.length:
        return Run(
            slice_.topic,
            slice_.partition,
            epoch,
            slice_.length,
            slice_.first_offset,
            slice_.last_offset,
            slice_.offsets,
        )
    offsets = _offsets(slice_)[begin:end]
    column = None if slice_.offsets is None else list(offsets)
    return Run(slice_.topic, slice_.partition, epoch, end - begin, offsets[0], offsets[-1], column)


def _offsets(slice_: Slice) -> Sequence[int]:
    return range(slice_.first_offset, slice_.last_offset + 1) if slice_.offsets is None else slice_.offsets


def _frame(fetched: Fetched, piece: Piece) -> SinkFrame:
    values, keys, timestamps, headers = fetched.values, fetched.keys, fetched.timestamps, fetched.headers
    if piece.end - piece.begin != len(values):
        part = slice(piece.begin, piece.end)
        values, keys, timestamps, headers = (
            values[part],
            keys and keys[part],
            timestamps and timestamps[part],
            headers and headers[part],
        )
    plain = None if headers is None else [pairs or [] for pairs in headers]
    return SinkFrame(piece.runs, _size(values, keys), values, keys, timestamps, piece.timestamp_type, plain)


def _cut(whole: SinkFrame, begin: int, end: int) -> SinkFrame:
    """The records `begin` to `end` of a frame."""
    runs = []
    before: list[tuple[int, int]] | None = None if whole.before is None else []
    at = 0
    for index, run in enumerate(whole.runs):
        first, last = max(begin - at, 0), min(end - at, run.count)
        if first < last:
            if before is not None and whole.before is not None:
                before.append(_further(whole.before[index], run.offset_column()[:first]))
            offsets = run.offset_column()[first:last]
            column = run.offsets and run.offsets[first:last]
            runs.append(Run(run.topic, run.partition, run.epoch, last - first, offsets[0], offsets[-1], column))
        at += run.count
    columns: list[Any] = [
        column and column[begin:end] for column in (whole.values, whole.keys, whole.timestamps, whole.headers)
    ]
    values, keys, timestamps, headers = columns
    return SinkFrame(runs, _size(values, keys), values, keys, timestamps, whole.timestamp_type, headers, before)


def _further(before: tuple[int, int], offsets: Sequence[int]) -> tuple[int, int]:
    """What went before the rest of a run, of which these offsets come first."""
    return before[0] + len(offsets), before[1] + sum(offsets) & MASK


def _size(values: Payloads, keys: Payloads | None) -> int:
    return _bytes_in(values) + (0 if keys is None else _bytes_in(keys))


def _bytes_in(column: Payloads) -> int:
    try:
        return sum(map(len, column))  # type: ignore[arg-type]  # most columns have no None
    except TypeError:
        return sum(map(len, filter(None, column)))
