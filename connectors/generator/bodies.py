"""What generated records say: a cycle of bodies made once from the seed, and each record's own number put in.

    orders      {"sequence": 7, "customer": "c-04711", ...}    about 146 bytes as JSON
    text        "000000000007 qzjr..."                         `size` bytes; the number has 12 digits
    sequence    "7"
    bytes       random bytes                                   `size` of them, or mixed; the same every cycle

A value depends on the seed, the size and its number, on nothing else: not on tasks, batches or restarts.
The cost is that of putting the number in: one concatenation, or one copy of a small dict.

Used by: source.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from connectors.generator.orders import Orders
from engine.api.column import Utf8Column
from engine.api.schema import Schema

__all__ = ["NUMBER_DIGITS", "STAMP_DIGITS", "Bodies", "Numbers", "Opaque", "Orders", "Text"]

#: All bodies together; large ones are few.
POOL_BYTES_MAX = 4 * 1024 * 1024
CYCLE_MAX = 4096
#: A text begins with its number in so many digits, a space, and if stamped the time in so many and a space.
NUMBER_DIGITS = 12
STAMP_DIGITS = 16
_LOW_DIGITS_MAX = 4

_LETTERS = bytes(ord("a") + index % 26 for index in range(256))


class Bodies(Protocol):
    """Makes values for any numbers."""

    @property
    def schema(self) -> Schema | None:
        """Of each of the values."""

    def values(self, numbers: range, stamp_us: int | None) -> Sequence[Any]:
        """One value for each number; stamp_us: microseconds since the epoch, for all of them."""


class Numbers:
    """The number as text."""

    schema = Schema("STRING")

    def values(self, numbers: range, stamp_us: int | None) -> Sequence[Any]:
        return list(map(str, numbers))


class Opaque:
    """Random bytes."""

    schema = Schema("BYTES")

    def __init__(self, seed: int, size: int, size_min: int | None = None) -> None:
        """size_min: sizes are mixed, from this to `size`, and both are there. None: all have `size`."""
        rng = random.Random(seed)
        if size_min is None:
            count = min(CYCLE_MAX, max(1, POOL_BYTES_MAX // max(1, size)))
            self._cycle = [rng.randbytes(size) for _ in range(count)]
            return
        sizes = [size_min, size]
        while len(sizes) < CYCLE_MAX and sum(sizes) < POOL_BYTES_MAX:
            # Evenly on a logarithmic scale: as many below 1 kB as between 1 kB and 1 MB.
            sizes.append(size_min + int((size - size_min + 1) ** rng.random()) - 1)
        self._cycle = [rng.randbytes(size) for size in sizes]

    def values(self, numbers: range, stamp_us: int | None) -> Sequence[Any]:
        return [body for _, part in laps(numbers, len(self._cycle)) for body in self._cycle[part]]


class Text:
    """The number, and letters; the number's low digits stand in the bodies, so that one concatenation is left."""

    schema = Schema("STRING")

    def __init__(self, seed: int, size: int) -> None:
        """size: at least NUMBER_DIGITS + 1 bytes; with stamps STAMP_DIGITS + 1 more."""
        rng = random.Random(seed)
        digits = _LOW_DIGITS_MAX
        while digits and 10**digits * size > POOL_BYTES_MAX:
            digits -= 1
        self._high_digits = NUMBER_DIGITS - digits
        letters = size - NUMBER_DIGITS - 1
        low = (b"%0*d" % (digits, number) if digits else b"" for number in range(10**digits))
        self._cycle = [number + b" " + rng.randbytes(letters).translate(_LETTERS) for number in low]

    def values(self, numbers: range, stamp_us: int | None) -> Sequence[Any]:
        encoded: list[bytes] = []
        for lap, part in laps(numbers, len(self._cycle)):
            high = b"%0*d" % (self._high_digits, lap)
            encoded += map(high.__add__, self._cycle[part])
        if stamp_us is not None:
            begin, end = NUMBER_DIGITS + 1, NUMBER_DIGITS + 1 + STAMP_DIGITS
            stamp = b"%0*d" % (STAMP_DIGITS, stamp_us)
            encoded = [text[:begin] + stamp + b" " + text[end + 1 :] for text in encoded]
        return Utf8Column(encoded)


def laps(numbers: range, length: int) -> Iterator[tuple[int, slice]]:
    """Where the numbers are in a cycle of `length`: for each lap its number and the slice of the cycle."""
    step = numbers.step
    while numbers:
        lap, first = divmod(numbers[0], length)
        count = min(len(numbers), -(-(length - first) // step))
        yield lap, slice(first, first + (count - 1) * step + 1, step)
        numbers = numbers[count:]
