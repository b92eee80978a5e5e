"""Valid bytes, made wrong in the ways in which bytes go wrong: cut, repeated, swapped, flipped, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

__all__ = ["mutated"]

#: What formats are sensitive to: brackets, quotes, escapes, signs, numbers at the edges, what is no UTF-8.
TOKENS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"\\u",
        b"\\ud83d",
        b"null",
        b"true",
        b"false",
        b"-",
        b"-0",
        b"-0.0",
    ),
    *(b"0", b"1e400", b"1e-400", b"9223372036854775808", b"-9223372036854775809", b"300", b"0.1", b"NaN", b"Infinity"),
    *(
        b"\0",
        b"\xff",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"\n",
        b"]\n[",
        b" ",
        b"\x1f",
    ),
    *(b'"type"', b'"schema"', b'"payload"', b'"int8"', b'"struct"', b'"fields"', b'"optional":true', b'"default":1'),
)
NESTING_MAX = 3000
GROWTH_MAX = 20_000  # bytes


def mutated(random: Random, seed: bytes, others: Sequence[bytes]) -> bytes:
    """The seed after one to four changes. others: what it may be put together with."""
    made = bytearray(seed)
    for _ in range(random.randint(1, 4)):
        random.choice(_CHANGES)(random, made, others)
        del made[GROWTH_MAX:]
    return bytes(made)


def _span(random: Random, made: bytearray) -> tuple[int, int]:
    first = random.randint(0, len(made))
    return first, min(len(made), first + random.choice((1, 1, 2, 4, 8, 32)))


def _flip(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    if made:
        made[random.randrange(len(made))] ^= 1 << random.randrange(8)


def _replace(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    if made:
        made[random.randrange(len(made))] = random.randrange(256)


def _delete(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    first, end = _span(random, made)
    del made[first:end]


def _truncate(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    del made[random.randint(0, len(made)) :]


def _repeat(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    first, end = _span(random, made)
    made[first:first] = made[first:end] * random.choice((1, 1, 2, 50))


def _insert(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    at = random.randint(0, len(made))
    made[at:at] = random.choice(TOKENS)


def _overwrite(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    first, end = _span(random, made)
    made[first:end] = random.choice(TOKENS)


def _splice(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    other = random.choice(others)
    made[random.randint(0, len(made)) :] = other[random.randint(0, len(other)) :]


def _append(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    made += random.choice((b"", b" ", b"\n", b",")) + random.choice(others)


def _nest(random: Random, made: bytearray, others: Sequence[bytes]) -> None:
    depth = random.choice((1, 8, 100, 400, NESTING_MAX))
    begin, end = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")))
    made[:] = begin * depth + bytes(made) + end * depth


_CHANGES: Sequence[Callable[[Random, bytearray, Sequence[bytes]], None]] = (
    *(_flip, _replace, _delete, _truncate, _repeat, _insert, _insert, _overwrite, _overwrite, _splice, _append),
    _nest,
)
