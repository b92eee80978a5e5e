"""Nothing is reported that is not whole: every record once, its content right, in order per partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from bench.line.records import FIRST_ID, Form

__all__ = ["check_file", "check_topic"]

READ_AT_ONCE_BYTES = 32_000_000
SUM_BITS = (1 << 64) - 1


def check_file(file: Path, form: Form, records: int, partitions: int) -> None:
    """Raises AssertionError, saying what is wrong, unless the file holds each record once, partitions in order."""
    numbers: list[int] = []
    total = 0
    for lines in _chunks(file):
        found = lines if form.canonical is None else list(map(form.canonical, lines))
        numbers += _numbers(found, form)
        total += sum(map(hash, found))
    for partition in range(partitions):
        of_partition = [number for number in numbers if number % partitions == partition]
        wanted = range(partition, records, partitions)
        assert of_partition == list(wanted), (
            f"{file}: records of partition {partition} are missing, repeated or out of order: "
            f"{len(of_partition)} of {len(wanted)}, {len(set(of_partition))} different"
        )
    assert total & SUM_BITS == _sum_of(form, records), f"{file}: a record's content is not what was sent"


def check_topic(values: Mapping[int, Sequence[bytes]], form: Form, records: int) -> None:
    """values: those of each partition in order. Raises AssertionError unless they are the records, each once."""
    total = 0
    seen: list[int] = []
    for partition, of_partition in values.items():
        numbers = _numbers(of_partition, form)
        assert all(map(int.__lt__, numbers, numbers[1:])), f"partition {partition} is not in order"
        total += sum(map(hash, of_partition))
        seen += numbers
    seen.sort()
    assert seen == list(range(records)), f"{len(seen)} of {records} records, {len(set(seen))} different"
    assert total & SUM_BITS == _sum_of(form, records), "a record's content is not what was sent"


def _numbers(lines: Sequence[bytes], form: Form) -> list[int]:
    digits = form.id_slice
    return [int(line[digits]) - FIRST_ID for line in lines]


def _chunks(file: Path) -> Iterator[list[bytes]]:
    with file.open("rb") as lines:
        while chunk := lines.readlines(READ_AT_ONCE_BYTES):
            yield [line[:-1] for line in chunk]


@cache
def _sum_of(form: Form, records: int) -> int:
    # Python's hash of bytes: 64 bits, the same for the same bytes within this process, at the speed of C.
    return sum(map(hash, map(form.write, range(records)))) & SUM_BITS
