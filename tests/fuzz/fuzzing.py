"""Mutated bytes through a converter, among good ones, and what must hold of what comes out."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from engine.api.errors import DataError
from engine.api.schema import Schema
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target
from tests.vectors.cases import same

__all__ = ["Count", "fuzz"]

BATCH = 8
#: A number that is nothing but zero, whose exponent Java's decimals cannot hold: refused there, and by the sure way.
TINY = re.compile(rb"[eE]-[0-9]{9}")


class Count(Struct):
    """How many mutated payloads were tried, and what became of them."""

    tried: int = 0
    read: int = 0
    refused: int = 0


def fuzz(target: Target, seed: int, *, seconds: float = 0, batches: int = 0) -> Count:
    """Try for so long, or so many batches. Raises AssertionError with the seed and the bytes that show it."""
    random = Random(seed)
    count = Count()
    end = time.monotonic() + seconds
    done = 0
    while done < batches or time.monotonic() < end:
        done += 1
        good = [random.choice(target.seeds) for _ in range(BATCH)]
        bad = [_bad(random, target) for _ in range(random.randint(1, 3))]
        batch: list[bytes | None] = [*good, *bad]
        random.shuffle(batch)
        if random.random() < 0.1:
            batch.append(None)
        try:
            refused = check(target, batch)
        except Exception as error:
            raise AssertionError(f"seed {seed}, batch {done}: {batch!r}: {error!r}") from error
        count.tried += len(bad)
        count.refused += len(refused & {*bad})
    count.read = count.tried - count.refused
    return count


def _bad(random: Random, target: Target) -> bytes:
    """A mutated payload; of an envelope, half of the time only what is in it: few schemas outlive a mutation."""
    seed = random.choice(target.seeds)
    head, mark, tail = seed.partition(b'"payload":')
    if mark and random.random() < 0.5:
        return head + mark + mutated(random, tail[:-1], target.seeds) + tail[-1:]
    return mutated(random, seed, target.seeds)


def check(target: Target, batch: Sequence[bytes | None]) -> set[bytes]:
    """Whether a batch is read as each of its payloads alone is; returns what is refused."""
    decoded = target.converter.to_connect("topic", batch)
    errors = {failure.index: failure.error for failure in decoded.failures}
    refused = set()
    assert len(decoded.values) == len(decoded.schemas) == len(batch)
    for index, payload in enumerate(batch):
        value, schema, error = decoded.values[index], decoded.schemas[index], errors.get(index)
        alone = target.converter.to_connect("topic", [payload])
        if error is not None:
            assert isinstance(error, DataError), f"{payload!r} raised {error!r}"
            assert error.whole(), payload
            assert (value, schema) == (None, None), payload
            assert len(alone.failures) == 1, f"{payload!r} is refused among others only"
            assert payload is not None
            refused.add(payload)
        else:
            assert not alone.failures, f"{payload!r} is refused alone only"
            assert alone.schemas[0] == schema, payload
            assert alike(alone.values[0], value), f"{payload!r}: {alone.values[0]!r} alone, {value!r} among others"
        if payload is not None:
            agree(target, payload, value, schema, error)
    return refused


def agree(target: Target, payload: bytes, value: Any, schema: Any, error: Exception | None) -> None:
    """Whether the sure way reads a payload the same, and the value comes back when it is written."""
    if target.reference is not None and not TINY.search(payload):
        try:
            sure = target.reference(payload)
        except DataError:
            assert error is not None, f"{payload!r} is read as {value!r}, and should be refused"
        else:
            assert error is None, f"{payload!r} is refused: {error}"
            assert sure[1] == schema, payload
            assert alike(sure[0], value), f"{payload!r} is {sure[0]!r}, and was read as {value!r}"
    if (
        error is None
        and target.comes_back
        and not is_deep(value)
        and is_exact(value)
        and not is_replaced(value, schema)
    ):
        encoded = target.converter.from_connect("topic", [value], [schema])
        if encoded.failures:
            # Read leniently, it may be no value of its schema.
            assert isinstance(encoded.failures[0].error, DataError), encoded.failures[0].error
            return
        again = target.converter.to_connect("topic", encoded.payloads)
        assert not again.failures, f"{payload!r}: written as {encoded.payloads[0]!r}, it is refused"
        assert alike(again.values[0], value), f"{payload!r}: {value!r} came back as {again.values[0]!r}"


def alike(one: Any, other: Any) -> bool:
    """Whether two values are the same, as deep as a comparison goes."""
    try:
        return same(one, other)
    except RecursionError:
        return True


def is_deep(value: Any, levels: int = 100) -> bool:
    """Whether a value is nested deeper than this: less is written than is read, and compared."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return levels == 0 or any(is_deep(one, levels - 1) for one in inner)


def is_replaced(value: Any, schema: Schema | None) -> bool:
    """Whether a null is in it in whose place a default is written: Java reads a list as bytes, and has a null of it."""
    if schema is None:
        return False
    if value is None:
        return schema.default is not None
    if isinstance(value, Struct):
        slots = zip(astuple(value), schema.fields, strict=True)
        return any(is_replaced(slot, field.schema) for slot, field in slots)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(is_replaced(one, schema.value_schema) for one in inner)


def is_exact(value: Any) -> bool:
    """Whether there is no NaN, infinity or negative zero in it, which JSON has no numbers for as it is read."""
    if isinstance(value, float):
        return math.isfinite(value) and (value != 0 or math.copysign(1, value) > 0)
    if isinstance(value, Struct):
        return all(map(is_exact, msgspec.structs.astuple(value)))
    if isinstance(value, dict):
        return all(map(is_exact, value)) and all(map(is_exact, value.values()))
    return not isinstance(value, list | tuple) or all(map(is_exact, value))
