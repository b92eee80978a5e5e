"""What Kafka Connect's transforms and predicates were seen to do, ours do: record by record, as a batch, and fused.

A case is a chain and a record. In a batch the record stands three times, between others that must not disturb it; maps
as dicts and, where "columns" is said, as a column for each of their keys.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from engine.api.batch import Run, SinkBatch
from engine.api.column import MapColumn
from engine.api.errors import ConfigError, ConnectError
from engine.api.record import Header, SinkRecord, SourceRecord
from engine.plugins.catalog import Catalog, discover
from engine.plugins.java_names import NOT_BUILT
from engine.stages import convert, outgoing
from engine.stages.convert import TransformedBatch
from engine.stages.transform import Step, fused, transform
from tests.vectors.cases import OUR_NAMES, cases, same, same_error, schema_of, value_of

pytestmark = pytest.mark.vector

Record = SourceRecord | SinkRecord

#: Cases that cannot come out as recorded, and why; docs/compatibility.md has the same.
NOT_APPLICABLE: dict[str, str] = {
    **dict.fromkeys(
        ("f9811a239655", "914e5384b168"),
        "RegexRouter is refused at the start for a replacement with a group that its pattern lacks; Java finds it with "
        "the first topic that matches, and here none does",
    )
} | dict.fromkeys(
    ("5b0a7bed4502", "6f964db24fe1", "2e2a0c6a7b2a", "7aa5445a220e"),
    "TimestampConverter refuses an Integer without a schema: an int has no width in Python, and is taken for a long",
)
WAYS = ("record", "batch", "fused", "columns")


class ConfigureError(Exception):
    """A plugin has refused its configuration, which is the cause."""


def record_of(told: dict[str, Any]) -> Record:
    """A record as a case writes it."""
    key_schema, value_schema = schema_of(told["key_schema"]), schema_of(told["value_schema"])
    shared: dict[str, Any] = {
        "topic": told["topic"],
        "partition": told["partition"],
        "key_schema": key_schema,
        "key": value_of(told["key"], key_schema),
        "value_schema": value_schema,
        "value": value_of(told["value"], value_schema),
        "timestamp": told["timestamp"],
        "headers": [header_of(header) for header in told["headers"]],
    }
    if told["record"] == "source":
        partition, offset = value_of(told["source_partition"], None), value_of(told["source_offset"], None)
        return SourceRecord(**shared, source_partition=partition, source_offset=offset)
    return SinkRecord(
        **shared,
        offset=told["offset"],
        original_topic=told.get("original_topic", told["topic"]),
        original_partition=told.get("original_partition", told["partition"]),
        original_offset=told.get("original_offset", told["offset"]),
    )


def header_of(told: dict[str, Any]) -> Header:
    schema = schema_of(told["schema"])
    return Header(told["key"], value_of(told["value"], schema), schema)


def chain_of(catalog: Catalog, stages: list[dict[str, Any]]) -> list[Step]:
    """The chain of a case. Raises ConfigureError."""
    chain = []
    for stage in stages:
        predicate = stage.get("predicate")
        step = Step(
            made(catalog, "transform", stage["type"], stage["config"]),
            predicate and made(catalog, "predicate", predicate["type"], predicate["config"]),
            bool(stage.get("negate")),
        )
        chain.append(step)
    return chain


def made(catalog: Catalog, kind: Any, name: str, config: dict[str, str]) -> Any:
    plugin = catalog.find(kind, name)()
    try:
        plugin.configure(plugin.config.parse(config))
    except ConfigError as error:
        raise ConfigureError from error
    return plugin


def by_record(chain: list[Step], record: Record) -> Record | None:
    """The record after a chain that is applied as it was written first: one at a time."""
    changed: Record | None = record
    for step in chain:
        if changed is None:
            return None
        if step.predicate is None or step.predicate.test(changed) != step.negate:
            changed = step.transform.apply(changed)  # type: ignore[type-var]  # it is one of both
    return changed


def by_batch(chain: list[Step], columns: Any, record: Record) -> Record | None:
    """What a batch of three of them leaves of the last. Raises what the first fails with."""
    done = transform(chain, columns)
    if done.failed is not None:
        assert done.failed.index == 0
        assert len(done.columns) == 0
        raise done.failed.error
    left = [*done.columns.records()]
    assert len(left) in (0, 3)
    assert len(left) == len(done.columns.origins)
    if not left:
        return None
    if isinstance(record, SourceRecord):
        (batch,) = outgoing.gather(done.columns)
        assert same([*batch.values], [one.value for one in left])
    else:
        assert [*TransformedBatch(done.columns)][1:] == left[1:]
    last: Record = left[-1]
    return last


def columns_of(records: list[Any]) -> Any:
    if isinstance(records[0], SourceRecord):
        return outgoing.columns_of(records)
    runs = [Run(one.topic, one.partition, 0, 1, one.offset, one.offset) for one in records]
    batch = SinkBatch(
        runs,
        [one.value for one in records],
        value_schemas=[one.value_schema for one in records],
        keys=[one.key for one in records],
        key_schemas=[one.key_schema for one in records],
        timestamps=[one.timestamp for one in records],
        headers=[one.headers for one in records],
    )
    return convert.columns_of(batch)


def with_map_columns(columns: Any) -> Any:
    """The same columns, with maps whose keys are all texts stored by key."""
    for side in ("keys", "values"):
        maps = [*getattr(columns, side)]
        if isinstance(maps[0], dict) and set(map(type, maps[0])) <= {str}:
            fields = {name: [whole[name] for whole in maps] for name in maps[0]}
            setattr(columns, side, MapColumn(fields, len(maps)))
    return columns


def outcome(catalog: Catalog, case: dict[str, Any], way: str) -> Any:
    """The record, None where it was dropped, or the error."""
    try:
        chain = chain_of(catalog, case["config"]["stages"])
    except ConfigureError as error:
        return error
    record = record_of(case["input"])
    untouched = record_of(case["input"])
    try:
        if way == "record":
            return by_record(chain, record)
        columns = columns_of([record] * 3)
        if way == "columns":
            columns = with_map_columns(columns)
        return by_batch(chain if way == "batch" else fused(chain), columns, record)
    except Exception as error:  # it is what is compared
        return error
    finally:
        assert same_record(record, untouched), "what it was given has changed"


def same_record(ours: Record, theirs: Record) -> bool:
    schemas = (ours.key_schema, ours.value_schema) == (theirs.key_schema, theirs.value_schema)
    contents = same(ours.key, theirs.key) and same(ours.value, theirs.value)
    headers = len(ours.headers) == len(theirs.headers) and all(
        one.key == other.key and one.schema == other.schema and same(one.value, other.value)
        for one, other in zip(ours.headers, theirs.headers, strict=True)
    )
    plain: dict[str, Any] = {
        "key": None, "key_schema": None, "value": None, "value_schema": None, "headers": (),
    }  # fmt: skip
    return schemas and contents and headers and replace(ours, **plain) == replace(theirs, **plain)


def is_as_recorded(case: dict[str, Any], found: Any) -> bool:
    expected = case["expected"]
    if "error" not in expected:
        if isinstance(found, Exception) or found is None or expected["record"] is None:
            return found is None and expected["record"] is None
        return same_record(found, record_of(expected["record"]))
    if isinstance(found, ConfigureError):
        assert isinstance(found.__cause__, ConfigError)
        if expected["error"] not in OUR_NAMES:
            return True  # Java's own error at the first record, over a pattern or path: here it is refused before
        return bool(expected["at"] == "configure") and same_error(found.__cause__, expected)
    return isinstance(found, Exception) and expected["at"] == "apply" and same_error(found, expected)


def built_cases() -> list[dict[str, Any]]:
    """Those whose plugins are all built."""
    lacking = {*NOT_BUILT["transform"], *NOT_BUILT["predicate"]}
    return [
        case for case in cases("transforms") if lacking.isdisjoint(stage["type"] for stage in case["config"]["stages"])
    ]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return discover()


@pytest.mark.parametrize("way", WAYS)
def test_every_recorded_chain_comes_out_as_recorded(catalog: Catalog, way: str) -> None:
    unlike = {}
    for case in built_cases():
        found = outcome(catalog, case, way)
        if not is_as_recorded(case, found):
            unlike[case["id"]] = (case["config"], found)
    assert set(unlike) <= set(NOT_APPLICABLE), {id: told for id, told in unlike.items() if id not in NOT_APPLICABLE}


def test_there_are_cases_of_every_transform_and_predicate(catalog: Catalog) -> None:
    used: Counter[str] = Counter()
    for case in cases("transforms"):
        for stage in case["config"]["stages"]:
            used[stage["type"]] += 1
            if stage.get("predicate"):
                used[stage["predicate"]["type"]] += 1
    kafkas = {name for kind in ("transform", "predicate") for name in catalog.rest_names(kind)}
    kafkas |= {*NOT_BUILT["transform"], *NOT_BUILT["predicate"]}
    assert {name for name in kafkas if name.startswith("org.apache.kafka.")} == set(used)


def test_the_comparison_finds_what_is_different(catalog: Catalog) -> None:
    case = next(case for case in cases("transforms") if case["expected"].get("record"))
    right = outcome(catalog, case, "record")
    assert is_as_recorded(case, right)
    assert not is_as_recorded(case, replace(right, topic="other"))
    assert not is_as_recorded(case, None)
    assert not is_as_recorded(case, ConnectError("failed"))
