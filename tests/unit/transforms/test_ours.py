"""`Python` and `Expression`, which Kafka Connect lacks, do what they are told, and say what is wrong at the start."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.errors import ConfigError, DataError
from engine.api.record import Header, SourceRecord
from engine.api.schema import FLOAT64, INT32, INT64, OPTIONAL_STRING, Schema
from engine.stages.outgoing import columns_of
from engine.stages.transform import Step, transform
from engine.transforms.expression import Expression, ExpressionPredicate
from engine.transforms.python import Python, PythonPredicate

FUNCTIONS = "millrace_folders.functions"
ORDER = Schema.struct({"price": FLOAT64, "count": INT32, "odd name": OPTIONAL_STRING}, name="Order")


def configured(kind: type[Any], **keys: str) -> Any:
    made = kind()
    made.configure(made.config.parse({name.replace("_", "."): value for name, value in keys.items()}))
    return made


def of(value: Any, schema: Schema | None = None, **more: Any) -> SourceRecord:
    return SourceRecord(topic="orders", value=value, value_schema=schema, **more)


def values_after(steps: list[Step], *values: Any) -> list[Any]:
    done = transform(steps, columns_of([of(value) for value in values]))
    assert done.failed is None
    return [*done.columns.values]


def test_a_function_makes_several_records_of_one() -> None:
    assert values_after([Step(configured(Python, function=f"{FUNCTIONS}:lines"))], "a\nb", "", "c") == ["a", "b", "c"]


def test_a_function_of_a_batch_changes_its_columns() -> None:
    step = Step(configured(Python, function=f"{FUNCTIONS}.upper_batch", batch="true"))
    assert values_after([step], "a", 1, None) == ["A", 1, None]


@pytest.mark.parametrize(("name", "batch"), [("is_long", "false"), ("are_long", "true")])
def test_a_function_is_a_predicate(name: str, batch: str) -> None:
    predicate = configured(PythonPredicate, function=f"{FUNCTIONS}:{name}", batch=batch)
    upper = configured(Python, function=f"{FUNCTIONS}:upper_batch", batch="true")
    assert values_after([Step(upper, predicate)], "short", "x" * 21) == ["short", "X" * 21]


def test_what_a_function_raises_costs_its_record() -> None:
    done = transform([Step(configured(Python, function=f"{FUNCTIONS}:lines"))], columns_of([of("a"), of(1)]))
    assert done.failed is not None
    assert done.failed.index == 1
    assert isinstance(done.failed.error, AttributeError)


@pytest.mark.parametrize("kind", [Python, PythonPredicate])
@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("lines", "expected package.module:function"),
        ("no.such.module:f", "No module named 'no'"),
        (f"{FUNCTIONS}:nope", "has no attribute 'nope'"),
        (f"{FUNCTIONS}:LONG", "expected a function, found int"),
    ],
)
def test_a_function_that_is_none_is_told_at_the_start(kind: type[Any], function: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configured(kind, function=function)


COMPUTED = [
    ("value.price * value.count", 7.5),
    ('value["odd name"]', "odd"),
    ("value.nope", None),
    ("value.nope.deeper", None),
    ("coalesce(value.nope, 1)", 1),
    ('"large" if value.price > 2 else "small"', "large"),
    ('upper(topic) + "-" + str(partition)', "ORDERS-3"),
    ("key in [1, 2]", True),
    ('headers["h"] == "last" and not false', True),
    ("offset == null", True),
    ("timestamp // 1000", 1),
]


@pytest.mark.parametrize(("expression", "expected"), COMPUTED)
def test_an_expression_computes_a_field(expression: str, expected: Any) -> None:
    value = {"price": 2.5, "count": 3, "odd name": "odd"}
    headers = [Header("h", "first"), Header("h", "last")]
    record = of(value, partition=3, key=2, timestamp=1999, headers=headers)
    changed = configured(Expression, expression=expression, field="made").apply(record)
    assert changed.value == {**value, "made": expected}
    assert "made" not in value


def test_an_expression_may_become_the_value_or_a_field_of_a_struct() -> None:
    order = of(ORDER.struct_type(price=2.5, count=3), ORDER)
    assert configured(Expression, expression="value.price").apply(of({"price": 1})).value == 1
    total = configured(Expression, expression="value.price * value.count", field="total", result_type="float64")
    changed = total.apply(order)
    assert changed.value_schema.field("total").schema == FLOAT64.replaced(optional=True)
    assert (changed.value.price, changed.value.total) == (2.5, 7.5)
    whole = configured(Expression, expression="value.count", result_type="int64").apply(order)
    assert (whole.value, whole.value_schema) == (3, INT64.replaced(optional=True))
    doubled = configured(Expression, expression="value.count * 2", field="count").apply(order)
    assert (doubled.value.count, doubled.value_schema) == (6, ORDER)


@pytest.mark.parametrize(
    ("expression", "keys", "told"),
    [
        ("value.price / 0", {"field": "x", "result_type": "float64"}, "ZeroDivisionError"),
        ("value.price", {"field": "count"}, 'the field "count" would be 2.5'),
        ("value.price", {"field": "x"}, "give its type"),
        ("value.nope", {"field": "x", "result_type": "string"}, "nope"),
        ("9 ** 9 ** 9", {"field": "count"}, "Sorry"),
    ],
)
def test_what_cannot_be_computed_costs_its_record(expression: str, keys: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        configured(Expression, expression=expression, **keys).apply(of(ORDER.struct_type(price=2.5, count=3), ORDER))


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("value.price +", "invalid syntax"),
        ("valeu.price", "valeu is not known; expected one of value, key"),
        ("value.clear()", "value.clear is no function; there are abs"),
        ("open('x')", "open is no function"),
        ("[x for x in value]", "is of no kind that expressions have"),
        ("lambda: 1", "is of no kind that expressions have"),
        ("(y := 1)", "is of no kind that expressions have"),
        ("value.__class__.__mro__", "starts with an underscore"),
    ],
)
@pytest.mark.parametrize("kind", [Expression, ExpressionPredicate])
def test_what_is_no_expression_is_told_at_the_start(kind: type[Any], expression: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        configured(kind, expression=expression)


def test_an_expression_is_a_predicate() -> None:
    predicate = configured(ExpressionPredicate, expression='value.n >= 2 and topic == "orders"')
    assert [predicate.test(of({"n": n})) for n in (1, 2, 3)] == [False, True, True]
