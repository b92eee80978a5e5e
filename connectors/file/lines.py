r"""Lines out of bytes that come in pieces, and the position in the file after each of them.

    feed(b"one\r\ntw") ──► take(2000) ──► [b"one"]   positions [5]
    feed(b"o\n")       ──► take(2000) ──► [b"two"]   positions [9]

A line ends at \n, \r\n or \r; a \r at the end of a piece waits for the byte that follows, which may be the
rest of \r\n. Invariant: the lines do not depend on how the bytes were cut into pieces.

Splitting, decoding and measuring are one call for a whole piece, none for a line.

Used by: source.py.
Not here: reading, waiting.
Source: line rules of Kafka Connect's FileStreamSource (positions: docs/connectors/file.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, overload

from engine.api.column import decode_utf8
from engine.api.errors import ConnectError

__all__ = ["LINE_BYTES_MAX", "LineSplitter", "Lines", "Positions", "valid_utf8"]

#: A line longer than this is an error, not a buffer that grows until memory is gone.
LINE_BYTES_MAX = 64 * 1024 * 1024

NEWLINE, RETURN = b"\n", b"\r"


class Positions(Sequence[Mapping[str, Any]]):
    """The stored offset after each of n lines; worked out when looked at, because only the last one usually is."""

    __slots__ = ("_end", "_start", "_widths")

    def __init__(self, start: int, widths: Sequence[bytes] | Sequence[int], end: int) -> None:
        """widths: bytes of each line with its ending; or the lines themselves, if each ends in one newline."""
        self._start = start
        self._widths = widths
        self._end = end

    def picked(self, indexes: Sequence[int]) -> list[Mapping[str, Any]]:
        """The offsets after these lines; they are worked out from the first line on, once for all of them."""
        positions = [*self]
        return [positions[index] for index in indexes]

    def __len__(self) -> int:
        return len(self._widths)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        count = len(self._widths)
        if not -count <= index < count:
            raise IndexError(index)
        if index in (-1, count - 1):
            return {"position": self._end}
        return {"position": self._start + _width_of(self._widths[: index % count + 1])}

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        widths = (width if isinstance(width, int) else len(width) + 1 for width in self._widths)
        ends = accumulate(widths, initial=self._start)
        next(ends)
        return ({"position": end} for end in ends)


class Lines(NamedTuple):
    """n lines: their text, valid UTF-8 without the ending, and the positions after them."""

    texts: Sequence[bytes]
    positions: Positions


class LineSplitter:
    """Takes bytes in any pieces, gives lines."""

    def __init__(self, name: str, position: int = 0, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        """name: of the file, for errors. position: of the first byte that will be fed."""
        self._name = name
        self._position = position  # of the first line not taken yet
        self._line_bytes_max = line_bytes_max
        self._texts: list[bytes] = []  # complete lines
        self._widths: list[bytes] | list[int] = self._texts  # as in Positions
        self._taken = 0  # of them
        self._tail: list[bytes] = []  # pieces of the line that is not complete
        self._tail_bytes = 0

    @property
    def is_drained(self) -> bool:
        """Whether all complete lines have been taken."""
        return self._taken == len(self._texts)

    def feed(self, data: bytes) -> None:
        """Take the bytes that follow (at least 1); only when drained.

        Raises ConnectError when the line they continue is already too long; the lines before it have been given.
        """
        assert self.is_drained
        assert data
        if self._tail_bytes > self._line_bytes_max:
            raise ConnectError(
                f"{self._name}: the line that begins at byte {self._position} has no end "
                f"within {self._line_bytes_max} bytes, which is the longest line that is read"
            )
        newline = data.rfind(NEWLINE)
        end = max(newline, data.rfind(RETURN, newline + 1, len(data) - 1)) + 1
        if end or (self._tail and self._tail[-1].endswith(RETURN)):
            self._complete(b"".join((*self._tail, memoryview(data)[:end])))
            self._tail = []
            self._tail_bytes = 0
        if end < len(data):
            self._tail.append(data[end:])
            self._tail_bytes += len(data) - end

    def finish(self) -> None:
        """There are no more bytes: what is left is a line, though nothing ends it. Only when drained."""
        assert self.is_drained
        self._complete(b"".join(self._tail))
        self._tail = []
        self._tail_bytes = 0

    def take(self, count: int) -> Lines | None:
        """The next lines, at most `count` of them; None when drained."""
        if self.is_drained:
            return None
        begin, self._taken = self._taken, min(self._taken + count, len(self._texts))
        texts = self._texts[begin : self._taken]
        widths = texts if self._widths is self._texts else self._widths[begin : self._taken]
        start = self._position
        self._position += _width_of(widths)
        return Lines(texts, Positions(start, widths, self._position))

    def _complete(self, data: bytes) -> None:
        """Split what consists of whole lines."""
        texts = self._widths = self._texts = data.splitlines()
        self._taken = 0
        if RETURN in data or not data.endswith(NEWLINE):
            self._widths = list(map(len, data.splitlines(keepends=True)))
        try:
            data.decode()
        except UnicodeDecodeError:
            if self._widths is texts:
                self._widths = [len(text) + 1 for text in texts]
            self._texts = [valid_utf8(text) for text in texts]


def valid_utf8(text: bytes) -> bytes:
    """The same text as Java writes it: what is no UTF-8 has become U+FFFD."""
    return (decode_utf8(text) or "").encode()


def _width_of(widths: Sequence[bytes] | Sequence[int]) -> int:
    if widths and isinstance(widths[0], int):
        return sum(widths)  # type: ignore[arg-type]  # all of them are what the first is
    return sum(map(len, widths)) + len(widths)  # type: ignore[arg-type]
