"""Whole numbers in as few bytes as they need, seven bits each, lowest first; the sign in the lowest bit.

    0 ──► 00        -1 ──► 01        1 ──► 02        64 ──► 80 01

Avro's int and long, and the message indexes of Confluent's wire format, are such numbers.

Source: the encoding of Apache Avro's specification.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["read", "rest_of", "written"]


def written(number: int) -> bytes:
    """The bytes of a number."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def rest_of(bits: int) -> Callable[[bytes, int, int], tuple[int, int]]:
    """A function of payload, position and first byte, for numbers of so many bits that have more than that byte.

    It gives the number as it stands there, with its sign in the lowest bit, and where it ends; it raises ValueError
    for more bits, IndexError where the payload ends within.
    """
    shift_end = bits // 7 * 7 + 7

    def more(b: bytes, p: int, n: int) -> tuple[int, int]:
        n &= 127
        shift = 7
        while True:
            if shift >= shift_end:
                wrong = f"a number of more than {bits} bits"
                raise ValueError(wrong)
            byte = b[p]
            p += 1
            n |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if n >> bits:
            wrong = f"a number of more than {bits} bits"
            raise ValueError(wrong)
        return n, p

    return more


_more = {bits: rest_of(bits) for bits in (32, 64)}


def read(b: bytes, p: int, bits: int) -> tuple[int, int]:
    """The number of 32 or 64 bits at a position, and where it ends. Raises ValueError and IndexError as `rest_of`."""
    n = b[p]
    p += 1
    if n > 127:
        n, p = _more[bits](b, p, n)
    return (n >> 1) ^ -(n & 1), p
