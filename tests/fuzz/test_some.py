"""Whatever bytes come, a converter reads them or says why not: it never fails otherwise, nor mistakes one for another."""

from __future__ import annotations

import tomllib
from pathlib import Path
from random import Random

import pytest

from converters.json.reading import DEPTH_MAX, NUMBER_CHARS_MAX, STRING_CHARS_MAX
from tests.fuzz.fuzzing import check, fuzz
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_bytes_are_read_or_refused_and_others_do_not_suffer(name: str) -> None:
    count = fuzz(TARGETS[name], 7, batches=40)
    assert count.tried >= 40


def test_every_converter_is_fuzzed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    names = {*project["project"]["entry-points"]["millrace.converters"]}
    assert names <= {name.partition(",")[0] for name in TARGETS}


def test_mutations_follow_from_the_seed() -> None:
    seeds = [b'{"a":1}', b"[]"]
    first = [mutated(Random(3), seed, seeds) for seed in seeds]
    assert first == [mutated(Random(3), seed, seeds) for seed in seeds]


@pytest.mark.parametrize(
    ("payload", "limit"),
    [
        (b"[" * (DEPTH_MAX + 1), "nested deeper"),
        (b'{"a":' * (DEPTH_MAX + 1), "nested deeper"),
        (b"[" * 100_000, "nested deeper"),
        (b"1" * (NUMBER_CHARS_MAX + 1), f"a number of more than {NUMBER_CHARS_MAX} characters"),
        (b'"' + b"x" * (STRING_CHARS_MAX + 1) + b'"', f"more than {STRING_CHARS_MAX}"),
        (b'["' + b"x" * 100_000_000 + b'"]', f"more than {STRING_CHARS_MAX}"),
    ],
    ids=["lists", "maps", "unclosed", "digits", "text", "100 MB"],
)
def test_what_is_beyond_a_limit_costs_itself_and_names_the_limit(payload: bytes, limit: str) -> None:
    target = TARGETS["Json, schemaless"]
    decoded = target.converter.to_connect("topic", [b"1", payload, b"2"])
    (failure,) = decoded.failures
    assert (failure.index, [*decoded.values]) == (1, [1, None, 2])
    assert limit in failure.error.whole()  # type: ignore[attr-defined]  # a DataError


def test_a_batch_of_good_bytes_is_read() -> None:
    for name, target in TARGETS.items():
        assert check(target, target.seeds[:20]) == set(), name
