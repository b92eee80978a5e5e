"""A chain keeps records in order and apart: what is dropped, multiplied, passed by or bad concerns that record only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from engine.api.batch import Columns
from engine.api.column import Repeat
from engine.api.converter import Failure
from engine.api.errors import DataError
from engine.api.record import Header, SinkRecord, SourceRecord
from engine.api.transform import AnyRecord, FlatMap, Predicate, Transform
from engine.stages.outgoing import columns_of, gather
from engine.stages.transform import ShapeError, Slots, Step, Transformed, fused, transform


def records(*values: Any) -> list[SourceRecord]:
    return [
        SourceRecord(topic="t", value=value, key=index, source_partition={"s": 1}, source_offset={"n": index})
        for index, value in enumerate(values)
    ]


class Each(FlatMap):
    """Makes of each value what a function says: an error, or a list of values."""

    def __init__(self, make: Callable[[Any], list[Any]]) -> None:
        self._make = make

    def apply_many(self, record: AnyRecord) -> Iterable[AnyRecord]:
        return [replace(record, value=value) for value in self._make(record.value)]


class Columnwise(Each):
    """The same on a column; when one value is bad, it says nothing of which."""

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        made = [self._make(value) for value in columns.values]
        columns.pick([index for index, values in enumerate(made) for _ in values])
        columns.values = [value for values in made for value in values]
        return ()


class Holds(Predicate):
    """Holds where a function says so."""

    def __init__(self, says: Callable[[Any], bool]) -> None:
        self._says = says

    def test(self, record: SourceRecord | SinkRecord) -> bool:
        return self._says(record.value)


class HoldsColumnwise(Holds):
    """The same, and looks at values only."""

    def test_batch(self, columns: Columns) -> Sequence[bool]:
        return [self._says(value) for value in columns.values]


def halves(value: int) -> list[Any]:
    """Of what four divides two, of what is odd none; 6 is bad."""
    if value == 6:
        raise ValueError("six")
    return [] if value % 2 else [value] if value % 4 else [value, -value]


def run(chain: list[Step], *values: Any) -> tuple[list[Any], list[int], Any]:
    done = transform(chain, columns_of(records(*values)))
    left = [*done.columns.records()]
    assert [one.value for one in left] == [*done.columns.values]
    assert [one.key for one in left] == [*done.columns.origins], "keys are where the values came from"
    assert [one.source_offset for one in left] == [{"n": index} for index in done.columns.origins]
    return [one.value for one in left], [*done.columns.origins], done.failed and (done.failed.index, done.failed.step)


@pytest.mark.parametrize("kind", [Each, Columnwise])
def test_what_is_dropped_and_multiplied_keeps_order_and_origin(kind: type[Each]) -> None:
    assert run([Step(kind(halves))], 0, 1, 2, 3, 4, 5) == ([0, 0, 2, 4, -4], [0, 0, 2, 4, 4], None)


@pytest.mark.parametrize("kind", [Each, Columnwise])
def test_a_bad_record_costs_itself_and_what_comes_after_it(kind: type[Each]) -> None:
    assert run([Step(kind(halves))], 4, 1, 2, 6, 4) == ([4, -4, 2], [0, 0, 2], (3, 0))


@pytest.mark.parametrize("kind", [Each, Columnwise])
def test_one_bad_piece_of_a_record_costs_all_of_it(kind: type[Each]) -> None:
    def refuse_negative(value: int) -> list[int]:
        if value < 0:
            raise DataError("below 0")
        return [value]

    chain = [Step(Each(halves)), Step(kind(refuse_negative))]
    assert run(chain, 2, 10, 4, 2) == ([2, 10], [0, 1], (2, 1))


def test_a_later_step_may_find_an_earlier_record_bad() -> None:
    def refuse_two(value: int) -> list[int]:
        return [1 // (value - 2)]

    assert run([Step(Each(halves)), Step(Each(refuse_two))], 10, 2, 10, 6) == ([0], [0], (1, 1))


@pytest.mark.parametrize("kind", [Each, Columnwise])
@pytest.mark.parametrize("negate", [False, True])
def test_a_predicate_says_to_which_records_a_transform_applies_and_the_rest_stays_in_place(
    kind: type[Each], negate: bool
) -> None:
    step = Step(kind(halves), Holds(lambda value: (value < 10) != negate), negate)
    assert run([step], 11, 4, 1, 13, 2) == ([11, 4, -4, 13, 2], [0, 1, 1, 3, 4], None)


def test_a_predicate_that_holds_for_none_or_all_changes_nothing_or_all() -> None:
    assert run([Step(Each(halves), Holds(lambda _: False))], 1, 6) == ([1, 6], [0, 1], None)
    assert run([Step(Each(halves), Holds(lambda _: True))], 1, 4) == ([4, -4], [1, 1], None)
    assert run([Step(Each(lambda _: []), Holds(lambda value: value > 2))], 1, 3, 2) == ([1, 2], [0, 2], None)


def test_a_predicate_that_fails_costs_its_record() -> None:
    assert run([Step(Each(halves), Holds(lambda value: 1 / (value - 2) < 9))], 4, 1, 2, 8) == ([4, -4], [0, 0], (2, 0))


def test_behind_a_predicate_the_bad_record_is_the_right_one() -> None:
    assert run([Step(Each(halves), Holds(lambda value: value % 2 == 0))], 1, 3, 2, 6) == ([1, 3, 2], [0, 1, 2], (3, 0))


class Ragged(Transform):
    """Forgets that there is a slot for each record."""

    def apply(self, record: AnyRecord) -> AnyRecord:
        return record

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        columns.values = columns.values[:-1]
        return ()


def test_columns_that_do_not_belong_together_are_an_error_of_the_transform() -> None:
    with pytest.raises(ShapeError, match=r"Ragged has left 2 records and a column values of 1"):
        run([Step(Ragged())], 1, 2)


def test_what_came_in_stays_as_it_was() -> None:
    columns = columns_of(records(4, 1, 2))
    transform([Step(Columnwise(halves), Holds(lambda value: value < 3)), Step(Each(halves))], columns)
    assert [*columns.records()] == records(4, 1, 2)


class LateHeaders(Sequence[Sequence[Header]]):
    """Headers of which one cannot be read."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        if index == 1:
            raise DataError("no header")
        if index > 2:
            raise IndexError(index)
        return [Header("n", index)]

    def picked(self, indexes: Sequence[int]) -> Slots:
        return Slots([(self, index) for index in indexes])


def with_late_headers() -> Columns:
    columns = columns_of(records(4, 2, 8))
    columns.headers = LateHeaders()
    return columns


def test_headers_that_nobody_reads_are_not_read_whatever_is_dropped_or_passed_by() -> None:
    done = transform([Step(Columnwise(halves), HoldsColumnwise(lambda value: value != 2))], with_late_headers())
    assert done.failed is None
    assert [*done.columns.values] == [4, -4, 2, 8, -8]
    assert [done.columns.headers[index][0].value for index in (0, 1, 3, 4)] == [0, 0, 2, 2]


def test_a_header_that_cannot_be_read_costs_the_record_of_which_it_is() -> None:
    done = transform([Step(Each(halves))], with_late_headers())
    assert done.failed is not None
    assert done.failed.index == 1
    assert [*done.columns.values] == [4, -4]


class Named(Transform):
    """One of a chain that can be fused; notes that it was closed."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name, self.closed = name, closed

    def apply(self, record: AnyRecord) -> AnyRecord:
        return replace(record, value=record.value + self.name)

    def fused(self, following: Transform) -> Transform | None:
        return Named(self.name + following.name, self.closed) if isinstance(following, Named) else None

    def close(self) -> None:
        self.closed.append(self.name)


def test_neighbours_that_apply_to_all_are_fused_and_others_are_not() -> None:
    closed: list[str] = []
    a, b, c, d = (Named(name, closed) for name in "abcd")
    chain = fused([Step(a), Step(b), Step(c, Holds(lambda _: True)), Step(d)])
    assert [step.transform.name for step in chain if isinstance(step.transform, Named)] == ["ab", "c", "d"]
    assert run(chain, "x") == (["xabcd"], [0], None)


def test_topics_part_a_batch_and_keep_its_order() -> None:
    done: Transformed = transform([], columns_of(records(1, 2, 3, 4)))
    done.columns.topics = ["a", "a", "b", "a"]
    batches = gather(done.columns)
    assert [(batch.topic, batch.first, [*batch.values]) for batch in batches] == [
        ("a", 0, [1, 2]),
        ("b", 2, [3]),
        ("a", 3, [4]),
    ]


def test_columns_in_which_there_is_nothing_are_not_sent() -> None:
    (batch,) = gather(columns_of([SourceRecord(topic="t", value=value) for value in (None, "")]))
    assert (batch.keys, batch.key_schemas, batch.partitions, batch.timestamps, batch.headers) == (None,) * 5
    (keyed,) = gather(columns_of([SourceRecord(topic="t", value=None, key=key) for key in (0, 0)]))
    assert isinstance(keyed.keys, Repeat)
    assert keyed.keys.value == 0
