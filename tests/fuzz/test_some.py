"""Whatever bytes come, a converter reads them or says why not: it never fails otherwise, nor takes one for another."""

from __future__ import annotations

import tomllib
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.json.reading import DEPTH_MAX, NUMBER_CHARS_MAX, STRING_CHARS_MAX
from engine.api.errors import DataError
from tests.fuzz.fuzzing import check, fuzz
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS
from tests.unit.converters.strategies import PLAIN, schemas, values_of

pytestmark = pytest.mark.slow

#: What nobody should return, and somebody does.
ODD = st.sampled_from(
    [
        float("nan"),
        float("-inf"),
        2**70,
        -(2**70),
        object(),
        {1, 2},
        1j,
        "\ud800",
        {"a": object()},
        [[{1: b"x"}]],
        Ellipsis,
    ]
)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_bytes_are_read_or_refused_and_others_do_not_suffer(name: str) -> None:
    count = fuzz(TARGETS[name], 7, batches=40)
    assert count.tried >= 40


def test_every_converter_is_fuzzed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    names = {*project["project"]["entry-points"]["millrace.converters"]}
    assert names <= {name.partition(",")[0] for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
@given(payloads=st.lists(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode()), max_size=4))
def test_any_bytes_are_read_or_refused(name: str, payloads: list[bytes]) -> None:
    check(TARGETS[name], payloads)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25)
@given(data=st.data())
def test_any_value_under_any_schema_is_written_or_refused(name: str, data: st.DataObject) -> None:
    columns = []
    for _ in range(data.draw(st.integers(1, 3))):
        schema = data.draw(schemas)
        other = data.draw(st.just(schema) | schemas)
        columns.append((data.draw(values_of(other) | PLAIN | ODD), data.draw(st.sampled_from([schema, None]))))
    values, own = [value for value, _ in columns], [schema for _, schema in columns]
    encoded = TARGETS[name].converter.from_connect("topic", values, own)
    assert len(encoded.payloads) == len(values)
    refused = {failure.index for failure in encoded.failures}
    for failure in encoded.failures:
        assert isinstance(failure.error, DataError), failure.error
        assert failure.error.whole()
        assert encoded.payloads[failure.index] is None
    if not TARGETS[name].comes_back:
        return
    decoded = TARGETS[name].converter.to_connect("topic", encoded.payloads)
    assert {failure.index for failure in decoded.failures} <= refused, "what was written cannot be read"


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
    assert limit in failure.error.whole()


def test_a_batch_of_good_bytes_is_read() -> None:
    for name, target in TARGETS.items():
        assert check(target, target.seeds[:20]) == set(), name
