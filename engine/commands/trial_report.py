"""What became of records in `millrace try`: a table a record for people, a list for machines.

    record 1
    step             topic            partition  timestamp      value
    as in the topic  orders           0          1566570894346  {"id":7}
    converters       =                =          =              =
    day              orders-20190823  =          =              =

A cell that a step has left as it was is `=`; a column in which nothing stands is left out.

Used by: engine.commands.trial.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from engine.api.errors import DataError
from engine.api.java_dates import iso_text
from engine.api.java_scalars import epoch_ms
from engine.api.record import SinkRecord, SourceRecord
from engine.api.schema import Schema, schema_of
from engine.commands.tables import table
from engine.kafka.sample import RawRecord

if TYPE_CHECKING:
    from engine.commands.trial import Tried, TriedStep

__all__ = ["as_json", "as_text", "plain", "schema_text"]

Mask = Callable[[str], str]

_COLUMNS = ("topic", "partition", "timestamp", "key", "key schema", "value", "value schema", "headers")
_SAME = "="
_SHOWN_MAX = 200  # characters of a cell


def as_text(tried: Sequence[Tried], mask: Mask) -> str:
    """For people. mask: hides secrets in errors."""
    return "\n\n".join(_record_text(one, mask) for one in tried) or "there were no records"


def as_json(tried: Sequence[Tried], mask: Mask) -> str:
    """For machines: a list of records, each a list of steps. mask: hides secrets in errors."""
    found = [{"record": one.number, "steps": [_step_json(step, mask) for step in one.steps]} for one in tried]
    return msgspec.json.format(msgspec.json.encode(found)).decode()


def _record_text(one: Tried, mask: Mask) -> str:
    rows: list[list[str]] = []
    before: list[str] = []
    notes = []
    for step in one.steps:
        if step.error is not None:
            notes.append(f"{step.name} failed: {type(step.error).__name__}: {mask(_message(step.error))}")
            continue
        if step.record is None:
            notes.append(f"{step.name} dropped it")
            continue
        cells = _cells(step.record)
        same = [bool(before) and cell == old for cell, old in zip(cells, before or cells, strict=True)]
        rows.append([step.name, *(_SAME if is_same else cell for cell, is_same in zip(cells, same, strict=True))])
        before = cells
    # A column with nothing in it is left out.
    shown = [column for column in range(len(_COLUMNS)) if any(row[column + 1] not in ("", _SAME) for row in rows)]
    head = ["step", *(_COLUMNS[column] for column in shown)]
    body = [[row[0], *(row[column + 1] for column in shown)] for row in rows]
    return "\n".join([f"record {one.number}", table(head, body), *notes])


def _cells(record: SourceRecord | SinkRecord | RawRecord) -> list[str]:
    found = _record_json(record)
    for name in ("key", "value"):
        if found[name] is None:  # what a null is under is of no interest to people
            found[f"{name}_schema"] = None
    cells = []
    for name in _COLUMNS:
        cell = found.get(name.replace(" ", "_"))
        text = "" if cell is None or cell in ([], -1) else cell if isinstance(cell, str) else _compact(cell)
        cells.append(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}...")
    return cells


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _step_json(step: TriedStep, mask: Mask) -> dict[str, Any]:
    found: dict[str, Any] = {"step": step.name}
    if step.error is not None:
        return {**found, "error": {"type": type(step.error).__name__, "message": mask(_message(step.error))}}
    return {**found, "record": None if step.record is None else _record_json(step.record)}


def _record_json(record: SourceRecord | SinkRecord | RawRecord) -> dict[str, Any]:
    shared = {"topic": record.topic, "partition": record.partition, "timestamp": record.timestamp}
    if isinstance(record, RawRecord):
        headers = [[key, _bytes_text(payload)] for key, payload in record.headers]
        return {**shared, "key": _bytes_text(record.key), "value": _bytes_text(record.value), "headers": headers}
    return {
        **shared,
        "key": plain(record.key),
        "key_schema": schema_text(record.key_schema),
        "value": plain(record.value),
        "value_schema": schema_text(record.value_schema),
        "headers": [[header.key, plain(header.value)] for header in record.headers],
    }


def _message(error: Exception) -> str:
    return error.whole() if isinstance(error, DataError) else str(error)


def _bytes_text(payload: bytes | None) -> str | None:
    if payload is None:
        return None
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(payload).decode()}"


def schema_text(schema: Schema | None) -> str | None:
    """A schema in one line: `Order(id:INT64, note:STRING?)`; a question mark: it may be null."""
    if schema is None:
        return None
    short = schema.logical or schema.type
    if schema.type == "STRUCT":
        fields = ", ".join(f"{field.name}:{schema_text(field.schema)}" for field in schema.fields)
        short = f"{schema.name or 'STRUCT'}({fields})"
    elif schema.type == "ARRAY":
        short = f"[{schema_text(schema.value_schema)}]"
    elif schema.type == "MAP":
        short = f"{{{schema_text(schema.key_schema)}:{schema_text(schema.value_schema)}}}"
    return f"{short}?" if schema.optional else short


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(plain(key)): plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return iso_text(epoch_ms(value))
    if isinstance(value, Decimal):
        return str(value)
    schema = schema_of(value)
    if schema is not None:
        return {field.name: plain(schema.get(value, field.name)) for field in schema.fields}
    return value
