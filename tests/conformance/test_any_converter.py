"""Any converter goes with any connector, for keys, values and headers.

From a source: what its records hold is read back as it was, or refused record by record where the converter carries
nothing of the kind (a line of text as 64 bits). Into a sink: what the converter reads is taken.

Connectors and converters are those that pyproject.toml names; a new one needs a row here. Connectors of a server have
theirs beside it (tests/postgres, tests/cassandra): what they take and give depends on its tables.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from converters.registry.converter import RegistryConverter
from engine.api import java_text
from engine.api.batch import Run, SinkBatch
from engine.api.converter import HeaderConverter
from engine.api.errors import DataError
from engine.api.record import Header, SourceRecord, TopicPartition
from engine.api.schema import BOOLEAN, BYTES, FLOAT32, FLOAT64, INT16, INT32, INT64, STRING, Schema
from engine.api.testing import FakeSinkContext, FakeSourceContext, poll_all
from engine.api.value_text import to_text
from engine.api.values import parse
from tests.fuzz.targets import KnownRegistry
from tests.vectors.cases import same

ENTRIES = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
PLACE = TopicPartition("topic", 0)
ORDER = Schema.struct({"id": INT64, "tags": Schema.array(STRING, optional=True)}, name="Order")
ORDERS = [ORDER.struct_type(id=1, tags=["x"]), ORDER.struct_type(id=2, tags=["y", "z"])]

#: Sources, with a configuration that gives a handful of records.
SOURCES: dict[str, Callable[[Path], dict[str, str]]] = {
    "FileStreamSource": lambda folder: {"topic": "t", "file": str(folder / "in.txt")},
    "Generator": lambda folder: {"topic": "t", "records": "5", "key": "sequence"},
}
#: Sinks, with their configuration and what they have written; None: they keep nothing.
SINKS: dict[str, tuple[Callable[[Path], dict[str, str]], Callable[[Path], str] | None]] = {
    "FileStreamSink": (
        lambda folder: {"file": str(folder / "out.txt")},
        lambda folder: (folder / "out.txt").read_text(),
    ),
    "NullSink": (lambda folder: {}, None),
}
#: With tests of their own, beside their server.
OF_A_SERVER = {"CassandraSink", "PostgresPollingSource", "PostgresSink", "PostgresSource"}
HERE = [name for name in ENTRIES["millrace.connectors"] if name not in OF_A_SERVER]
#: For each converter values that it carries, and their schema.
SAMPLES: dict[str, tuple[Schema | None, Sequence[Any]]] = {
    "String": (STRING, ["a", "naïve 水", ""]),
    "Json": (ORDER, [ORDER.struct_type(id=1, tags=["x"]), ORDER.struct_type(id=2)]),
    "ByteArray": (BYTES, [b"a", b"\0\xff"]),
    "Boolean": (BOOLEAN, [True, False]),
    "Short": (INT16, [0, -7, 300]),
    "Integer": (INT32, [0, -7, 2**31 - 1]),
    "Long": (INT64, [0, -7, 2**63 - 1]),
    "Float": (FLOAT32, [0.5, -1.5]),
    "Double": (FLOAT64, [0.1, -1e300]),
    "Simple": (STRING, ["a", "b c"]),
    "Avro": (ORDER, ORDERS),
    "JsonSchema": (ORDER, ORDERS),
    "Protobuf": (ORDER, ORDERS),
    "MessagePack": (None, [{"id": 1, "tags": ["x"]}, {"id": 2}]),
}
#: Converters whose format keeps names and values, and not all that a schema says: what is read is of another class.
OTHER_SCHEMA = {"Protobuf"}
#: What is read of a value that is written as text; of any other converter it is the value.
READ: dict[str, Callable[[Any, Schema | None], Any]] = {
    "String": lambda value, schema: None if value is None else java_text.text(value, schema),
    "Simple": lambda value, schema: parse(to_text(value, schema))[0],
}
SIDES = [
    *((side, name) for side in ("key", "value") for name in ENTRIES["millrace.converters"]),
    *(("header", name) for name in ENTRIES["millrace.header_converters"]),
]


def made(group: str, name: str) -> Any:
    module, _, kind = ENTRIES[f"millrace.{group}"][name].partition(":")
    return getattr(importlib.import_module(module), kind)()


def converter_of(side: str, name: str) -> Any:
    converter = made("header_converters" if side == "header" else "converters", name)
    asks_registry = isinstance(converter, RegistryConverter)
    config = converter.config.parse({"schema.registry.url": "http://localhost:1"} if asks_registry else {})
    if side == "header":
        converter.configure(config)
    else:
        converter.configure(config, is_key=side == "key")
    if asks_registry:
        converter._registry = KnownRegistry()
    return converter


def kind_of(name: str) -> str:
    path = ENTRIES["millrace.connectors"][name].partition(":")
    found = getattr(importlib.import_module(path[0]), path[2])
    return "source" if hasattr(found.task, "poll") else "sink"


def through(
    converter: Any, values: Sequence[Any], schemas: Sequence[Schema | None]
) -> tuple[list[Any], list[Schema | None], list[int]]:
    """What comes back of values that are written and read, their schemas, and which were refused."""
    if isinstance(converter, HeaderConverter) and not hasattr(converter, "to_connect"):
        headers = [Header("h", value, schema) for value, schema in zip(values, schemas, strict=True)]
        payloads = [converter.from_connect_header("t", header) for header in headers]
        found = [converter.to_connect_header("t", "h", payload) for payload in payloads]
        return [one.value for one in found], [one.schema for one in found], []
    encoded = converter.from_connect("t", values, schemas)
    assert all(isinstance(failure.error, DataError) and failure.error.whole() for failure in encoded.failures)
    decoded = converter.to_connect("t", encoded.payloads)
    assert not decoded.failures
    return [*decoded.values], [*decoded.schemas], [failure.index for failure in encoded.failures]


def side_of(record: SourceRecord, side: str) -> tuple[Any, Schema | None]:
    if side == "key":
        return record.key, record.key_schema
    # No connector of ours gives headers: what a value is may as well stand in one.
    return record.value, record.value_schema


@pytest.mark.parametrize("source", [name for name in HERE if kind_of(name) == "source"])
@pytest.mark.parametrize(("side", "name"), SIDES)
def test_what_a_source_gives_is_carried_or_refused(source: str, side: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\nb 水\n\n12\n")
    connector = made("connectors", source)
    connector.start(SOURCES[source](tmp_path))
    task = connector.task()
    task.initialize(FakeSourceContext(is_bulk=True))
    task.start(connector.task_configs(1)[0])
    records = poll_all(task)
    assert len(records) >= 4
    pairs = [side_of(record, side) for record in records]
    values, _, refused = through(
        converter_of(side, name), [value for value, _ in pairs], [schema for _, schema in pairs]
    )
    for index, ((value, schema), found) in enumerate(zip(pairs, values, strict=True)):
        if index not in refused:
            assert same(found, READ[name](value, schema) if name in READ else value)
        else:
            assert type(value) is not type(SAMPLES[name][1][0]), f"{name} refuses {value!r}"


@pytest.mark.parametrize("sink", [name for name in HERE if kind_of(name) == "sink"])
@pytest.mark.parametrize(("side", "name"), SIDES)
def test_what_a_converter_reads_is_taken_by_a_sink(sink: str, side: str, name: str, tmp_path: Path) -> None:
    schema, sample = SAMPLES[name]
    values, schemas, refused = through(converter_of(side, name), sample, [schema] * len(sample))
    assert refused == []
    count = len(values)
    nulls: list[Any] = [None] * count
    batch = SinkBatch(
        [Run("topic", 0, 1, count, 0, count - 1)],
        values if side == "value" else ["text"] * count,
        value_schemas=schemas if side == "value" else nulls,
        keys=values if side == "key" else nulls,
        key_schemas=schemas if side == "key" else nulls,
        timestamps=nulls,
        headers=[[Header("h", *pair)] for pair in zip(values, schemas, strict=True)] if side == "header" else (),
    )
    prepare, written = SINKS[sink]
    task = made("connectors", sink).task()
    task.initialize(FakeSinkContext(partitions=[PLACE]))
    task.start(prepare(tmp_path))
    task.open([PLACE])
    task.put(batch)
    assert task.pre_commit({PLACE: count}) == {PLACE: count}
    task.close([PLACE])
    task.stop()
    if name in OTHER_SCHEMA:
        assert msgspec.to_builtins(values) == msgspec.to_builtins(sample)
    else:
        assert same(values, [*sample])
    if written is not None:
        lines = [java_text.text(value, own) for value, own in zip(batch.values, batch.value_schemas, strict=True)]
        assert written(tmp_path) == "".join(f"{line}\n" for line in lines)


def test_every_connector_and_converter_has_its_row() -> None:
    assert {*ENTRIES["millrace.connectors"]} == SOURCES.keys() | SINKS.keys() | OF_A_SERVER
    assert {name for _, name in SIDES} <= SAMPLES.keys()
