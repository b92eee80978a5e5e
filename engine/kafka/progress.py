"""Which records of a partition are done: all below a position, and some beyond it; as the offset that a group commits.

    done         0 1 2 3 4 5 6 . . 9 10 11 . . 14
    committed    offset 7, metadata "millrace:1:<packed>": skip 2, take 3, skip 2, take 1

A position alone would not do: what a filter leaves lies between what is done, and another filter may take it later.
Offsets and metadata are committed together, so that a transaction has both or neither.

Used by: engine.kafka.resender, engine.kafka.topic_reader, engine.commands.redrive.
Not here: what is done with a record.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from engine.api.errors import ConnectError

__all__ = ["METADATA_CHARACTERS_MAX", "Progress"]

#: Kafka's offset.metadata.max.bytes is 4096 by default; librdkafka's Python client adds a byte.
METADATA_CHARACTERS_MAX = 4095
#: The format; whatever else stands there is not ours.
_MARK = "millrace:1:"
_SEVEN_BITS = 0x7F
_MORE = 0x80
#: What the packed numbers may come to: an honest note has a few thousand.
_UNPACKED_BYTES_MAX = 1024 * 1024


class Progress:
    """One partition's. Offsets without a record count as done where their neighbours are."""

    def __init__(self, position: int = 0, starts: Sequence[int] = (), ends: Sequence[int] = ()) -> None:
        self.position = position  # all below it are done
        # Runs beyond it, growing; between two of them is at least one that is not done.
        self._starts = [*starts]
        self._ends = [*ends]

    @property
    def end(self) -> int:
        """The first offset beyond all that are done."""
        return self._ends[-1] if self._ends else self.position

    def __contains__(self, offset: int) -> bool:
        if offset < self.position:
            return True
        at = bisect_right(self._starts, offset) - 1
        return at >= 0 and offset < self._ends[at]

    def mark(self, start: int, end: int) -> None:
        """Let the offsets from `start` to before `end` be done."""
        if end <= max(start, self.position):
            return
        low, high = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if low < high:  # these touch, and become one
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high], self._ends[low:high] = [start], [end]
        if self._starts[0] <= self.position:
            self.position = self._ends.pop(0)
            self._starts.pop(0)

    def copy(self) -> Progress:
        """Another one that says the same."""
        return Progress(self.position, self._starts, self._ends)

    def as_offset(self) -> tuple[int, str]:
        """The offset and the metadata to be committed; the metadata may be longer than a broker takes."""
        if not self._starts:
            return self.position, ""
        numbers = bytearray()
        at = self.position
        for start, end in zip(self._starts, self._ends, strict=True):
            numbers += _packed(start - at) + _packed(end - start)
            at = end
        return self.position, _MARK + base64.b85encode(zlib.compress(numbers, 9)).decode()

    @classmethod
    def of_offset(cls, offset: int, metadata: str) -> Progress:
        """What `as_offset` has said. Raises ConnectError for a note that is not ours."""
        progress = cls(offset)
        note = metadata.rstrip("\0")
        if not note:
            return progress
        try:
            numbers = [*_unpacked(note)]
        except (ValueError, binascii.Error, zlib.error) as error:
            raise ConnectError(f"what is noted beside offset {offset} is no note of Millrace's: {error}") from error
        at = offset
        for skipped, taken in zip(numbers[::2], numbers[1::2], strict=True):
            progress.mark(at + skipped, at + skipped + taken)
            at += skipped + taken
        return progress


def _packed(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth bit."""
    found = bytearray()
    while number > _SEVEN_BITS:
        found.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    found.append(number)
    return bytes(found)


def _unpacked(note: str) -> Iterator[int]:
    """Pairs of numbers. Raises ValueError, zlib.error."""
    if not note.startswith(_MARK):
        raise ValueError(f"it does not begin with {_MARK}")
    unpacker = zlib.decompressobj()
    whole = unpacker.decompress(base64.b85decode(note.removeprefix(_MARK)), _UNPACKED_BYTES_MAX)
    if not unpacker.eof:
        raise ValueError("it is cut short")
    number = shift = count = 0
    for byte in whole:
        number |= (byte & _SEVEN_BITS) << shift
        shift += 7
        if byte < _MORE:
            yield number
            number = shift = 0
            count += 1
    if shift or count % 2:
        raise ValueError("it is cut short")
