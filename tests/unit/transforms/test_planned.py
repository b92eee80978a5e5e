"""Fused transforms do what the same do one after the other, whatever the schema, the fields and the nulls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.batch import Columns
from engine.api.column import MapColumn, Repeat, StructColumn, fields_of
from engine.api.errors import DataError
from engine.api.record import SourceRecord
from engine.api.schema import BYTES, INT64, OPTIONAL_INT64, OPTIONAL_STRING, Schema
from engine.api.transform import AnyRecord, Transform
from engine.stages.outgoing import columns_of
from engine.stages.transform import Step, fused, transform
from engine.transforms.insert_field import InsertFieldValue
from engine.transforms.mask_field import MaskFieldValue
from engine.transforms.planned import PLANS_MAX, Plan, Plans
from engine.transforms.replace_field import ReplaceFieldValue
from tests.vectors.cases import same

WITH_DEFAULT = Schema("INT64", optional=True, default=7)
FIELDS = {"a": OPTIONAL_INT64, "b": OPTIONAL_STRING, "c": WITH_DEFAULT, "a-b": OPTIONAL_STRING, "class": INT64}
ORDER = Schema.struct(FIELDS, name="Order", optional=True, doc="one")
NAMES = st.sampled_from(["a", "b", "c", "d", "a-b", "class"])


def configured(kind: type[Any], **keys: str) -> Transform:
    made: Transform = kind()
    made.configure(made.config.parse(keys))
    return made


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    kind = draw(st.sampled_from(["insert", "replace", "mask"]))
    name, other = draw(NAMES), draw(NAMES)
    if kind == "insert":
        column = draw(st.sampled_from(["topic.field", "partition.field", "timestamp.field", "offset.field"]))
        keys = (
            {column: name} if draw(st.booleans()) else {"static.field": name, "static.value": "x", column: f"{name}2"}
        )
        return configured(InsertFieldValue, **keys)
    if kind == "replace":
        keys = {draw(st.sampled_from(["include", "exclude"])): f"{name},{other}"}
        return configured(ReplaceFieldValue, **keys, renames=f"{other}:{draw(NAMES)}")
    masks = {"replacement": "12"} if draw(st.booleans()) else {}
    return configured(MaskFieldValue, fields=f"{name},{other}", **masks)


def structs() -> st.SearchStrategy[Any]:
    numbers, texts = st.none() | st.integers(-9, 9), st.none() | st.text("xy", max_size=2)
    return st.builds(ORDER.struct_type, a=numbers, b=texts, c=numbers, a_b=texts, class_=st.integers(0, 9))


def maps() -> st.SearchStrategy[Any]:
    return st.dictionaries(NAMES, st.none() | st.integers(-9, 9) | st.text("xy", max_size=2), max_size=5)


def outcome(chain: list[Step], columns: Columns) -> tuple[Columns, Any]:
    done = transform(chain, columns)
    return done.columns, done.failed and (done.failed.index, type(done.failed.error), str(done.failed.error))


@given(
    chain=st.lists(transforms(), min_size=2, max_size=4),
    values=st.lists(st.none() | structs() | maps(), min_size=1, max_size=4),
    source=st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 9)),
)
def test_fused_steps_do_the_same(chain: list[Transform], values: list[Any], source: tuple[Any, Any]) -> None:
    given_records = [
        SourceRecord(
            topic="t",
            partition=source[0],
            timestamp=source[1],
            value=value,
            value_schema=ORDER if value is None or not isinstance(value, dict) else None,
        )
        for value in values
    ]
    plain = [Step(step) for step in chain]
    apart, failed_apart = outcome(plain, columns_of(given_records))
    together, failed_together = outcome(fused(plain), columns_of(given_records))
    assert failed_together == failed_apart
    assert [*together.value_schemas] == [*apart.value_schemas]
    assert same([*together.values], [*apart.values])


@given(
    chain=st.lists(transforms(), min_size=1, max_size=4),
    names=st.lists(NAMES, unique=True, max_size=4),
    data=st.data(),
    source=st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 9)),
)
def test_maps_stored_by_key_become_what_they_become_one_by_one(
    chain: list[Transform], names: list[str], data: st.DataObject, source: tuple[Any, Any]
) -> None:
    slots = st.none() | st.integers(-9, 9) | st.text("xy", max_size=2) | st.just(["x"])
    rows = data.draw(st.lists(st.tuples(*[slots for _ in names]), min_size=1, max_size=4))
    maps = [dict(zip(names, row, strict=True)) for row in rows]
    given_records = [SourceRecord(topic="t", partition=source[0], timestamp=source[1], value=value) for value in maps]
    by_map, by_key = columns_of(given_records), columns_of(given_records)
    by_key.values = MapColumn({name: [whole[name] for whole in maps] for name in names}, len(maps))
    plain = [Step(step) for step in chain]
    apart, failed_apart = outcome(plain, by_map)
    together, failed_together = outcome(fused(plain), by_key)
    assert failed_together == failed_apart
    assert same([*together.values], [*apart.values])
    assert [[*value] for value in together.values] == [[*value] for value in apart.values]


class ByRecord(Transform):
    """A step that is done a record at a time."""

    def __init__(self, step: Transform) -> None:
        self._step = step

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return self._step.apply(record)


def of_sink(values: list[Any], schemas: list[Schema | None], timestamp: int | None) -> Columns:
    count = len(values)
    return Columns(
        topics=Repeat("t", count),
        partitions=Repeat(1, count),
        timestamps=Repeat(timestamp, count),
        keys=Repeat(None, count),
        key_schemas=Repeat(None, count),
        values=values,
        value_schemas=schemas,
        headers=Repeat((), count),
        origins=range(count),
        offsets=range(count),
        original_topics=Repeat("t", count),
        original_partitions=Repeat(1, count),
        is_sink=True,
    )


@given(
    chain=st.lists(transforms(), min_size=1, max_size=4),
    values=st.lists(structs(), min_size=1, max_size=4)
    | st.lists(st.none() | structs() | maps(), min_size=1, max_size=4),
    timestamp=st.none() | st.integers(0, 9),
)
def test_structs_of_a_sink_become_by_field_what_they_become_one_by_one(
    chain: list[Transform], values: list[Any], timestamp: int | None
) -> None:
    schemas = [ORDER if value is None or not isinstance(value, dict) else None for value in values]
    apart, failed_apart = outcome([Step(ByRecord(step)) for step in chain], of_sink(values, schemas, timestamp))
    together, failed_together = outcome(fused([Step(step) for step in chain]), of_sink(values, schemas, timestamp))
    assert failed_together == failed_apart
    assert [*together.value_schemas] == [*apart.value_schemas]
    assert same([*together.values], [*apart.values])


def test_a_sinks_structs_are_changed_without_a_struct() -> None:
    chain = [
        configured(InsertFieldValue, **{"static.field": "shop", "static.value": "north", "offset.field": "at"}),
        configured(ReplaceFieldValue, exclude="b", renames="a:d"),
        configured(MaskFieldValue, fields="d"),
    ]
    rows = [ORDER.struct_type(a=1, b="x", class_=1), ORDER.struct_type(a=2, class_=2)]
    done = transform(fused([Step(step) for step in chain]), of_sink(rows, [ORDER, ORDER], 7))
    values = done.columns.values
    assert isinstance(values, StructColumn)
    assert [msgspec.structs.asdict(value) for value in values] == [
        {"d": 0, "c": 7, "a_b": None, "class_": 1, "shop": "north", "at": 0},
        {"d": 0, "c": 7, "a_b": None, "class_": 2, "shop": "north", "at": 1},
    ]


@pytest.mark.parametrize("is_by_field", [False, True])
def test_a_sources_structs_are_changed_by_field_where_they_come_so(is_by_field: bool) -> None:
    chain = [
        configured(InsertFieldValue, **{"static.field": "shop", "static.value": "north"}),
        configured(ReplaceFieldValue, exclude="b", renames="a:d"),
    ]
    rows = [ORDER.struct_type(a=1, b="x", class_=1), ORDER.struct_type(a=2, class_=2)]
    columns = columns_of([SourceRecord(topic="t", value=row, value_schema=ORDER) for row in rows])
    if is_by_field:
        columns.values = StructColumn(ORDER, fields_of(ORDER.struct_type)(rows), 2)
    values = transform(fused([Step(step) for step in chain]), columns).columns.values
    assert isinstance(values, StructColumn if is_by_field else list)
    assert [msgspec.structs.asdict(value) for value in values] == [
        {"d": number, "c": 7, "a_b": None, "class_": number, "shop": "north"} for number in (1, 2)
    ]


def test_fields_of_maps_stored_by_key_are_changed_without_a_map() -> None:
    chain = [
        configured(InsertFieldValue, **{"static.field": "shop", "static.value": "north", "timestamp.field": "at"}),
        configured(ReplaceFieldValue, exclude="b", renames="a:c"),
        configured(MaskFieldValue, fields="c"),
    ]
    columns = columns_of([SourceRecord(topic="t", timestamp=7)] * 2)
    columns.values = MapColumn({"a": (1, 2), "b": (3, 4)}, 2)
    done = transform(fused([Step(step) for step in chain]), columns)
    values = done.columns.values
    assert isinstance(values, MapColumn)
    assert [*values] == [{"shop": "north", "at": 7, "c": 0}] * 2


def test_a_field_that_only_some_maps_get_costs_the_column_and_no_record() -> None:
    insert = configured(InsertFieldValue, **{"timestamp.field": "at"})
    columns = columns_of([SourceRecord(topic="t", timestamp=at) for at in (7, None)])
    columns.values = MapColumn({"a": (1, 2)}, 2)
    assert not insert.apply_batch(columns)
    assert [*columns.values] == [{"a": 1, "at": 7}, {"a": 2}]


def test_a_chain_of_planned_steps_is_one() -> None:
    insert = configured(InsertFieldValue, **{"topic.field": "t"})
    replace = configured(ReplaceFieldValue, exclude="a")
    mask = configured(MaskFieldValue, fields="b")
    assert len(fused([Step(insert), Step(replace), Step(mask)])) == 1


def test_plans_are_kept_and_not_without_end() -> None:
    asked: list[Any] = []

    def make(schema: Schema | None) -> Plan:
        asked.append(schema)
        return Plan(schema, lambda value: value)

    plans = Plans(make)
    schemas = [Schema("INT64", name=f"n{number}") for number in range(PLANS_MAX + 1)]
    for schema in [*schemas, *schemas[1:]]:
        assert plans.one(schema, 1) == (1, schema)
    assert asked == schemas
    plans.one(schemas[0], 1)
    assert len(asked) == len(schemas) + 1


def test_a_column_of_several_schemas_has_a_plan_for_each() -> None:
    mask = configured(MaskFieldValue, fields="b")
    order = ORDER.struct_type(a=1, b="x", class_=1)
    columns = columns_of(
        [
            SourceRecord(topic="t", value={"b": "x"}),
            SourceRecord(topic="t", value=order, value_schema=ORDER),
            SourceRecord(topic="t", value=b"x", value_schema=BYTES),
        ]
    )
    (failure,) = mask.apply_batch(columns)
    assert (failure.index, str(failure.error)) == (2, "Only Struct objects supported for [mask fields], found: [B")
    assert columns.values[0] == {"b": ""}
    assert columns.values[1] == ORDER.struct_type(a=1, b="", c=7, class_=1)


def test_the_same_value_all_along_is_changed_once() -> None:
    mask = configured(MaskFieldValue, fields="b")
    columns = columns_of([SourceRecord(topic="t", value={"b": "x"})] * 3)
    columns.values = Repeat(columns.values[0], 3)
    assert not mask.apply_batch(columns)
    assert isinstance(columns.values, Repeat)
    assert columns.values.value == {"b": ""}


def test_what_a_field_of_a_struct_may_not_be_given_is_told() -> None:
    schema = Schema.struct({"a": Schema("INT64", default=5)})
    keeps = configured(ReplaceFieldValue, **{"replace.null.with.default": "false"})
    record = SourceRecord(topic="t", value=schema.struct_type(a=None), value_schema=schema)
    with pytest.raises(DataError, match='null used for required field: "a"'):
        keeps.apply(record)
