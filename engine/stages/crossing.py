"""The messages between a task process and its stage processes: what crosses, in which form.

    source    Columns ──► columns_message ──► stage process ──► outbound_message ──► Outbound
    sink      the frame as it is ───────────► stage process ──► inbound_message ───► Inbound

Values of Python cross between task and stage process, packed by columns (carrying.py); what Kafka stores crosses as the
bytes that it is. A record whose value cannot be carried fails as one that cannot be converted.

Used by: engine.task.dealing, engine.task.incoming, engine.stage.main.
Not here: which process, and when (engine.task.crew).
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

from engine.api import errors
from engine.api.batch import COLUMN_NAMES, Columns, Repeat, Run, SinkBatch
from engine.api.converter import HeaderConverter
from engine.api.errors import ConnectError
from engine.api.record import Header
from engine.shm.frame import Headers, Payloads
from engine.shm.waits import Cause, OutsideError
from engine.stages import convert
from engine.stages.carrying import Packer, Tree, Unpacker
from engine.stages.convert import EncodedColumns, LazyHeaders, TransformedBatch
from engine.stages.transform import RecordError
from engine.stages.work import Converted, Inbound, Outbound

__all__ = [
    "columns_message",
    "first_bad",
    "inbound_message",
    "outbound_message",
    "read_columns",
    "read_inbound",
    "read_outbound",
]

SCHEMA_COLUMNS = frozenset({"key_schemas", "value_schemas"})
NOTHING, RAW, LISTS = range(3)  # forms of a column of headers

Told = tuple[Any, ...] | None


def columns_message(columns: Columns, packer: Packer, *, has_chain: bool) -> bytes:
    """A source's batch for its stage process. Raises NotCarriedError.

    has_chain: it has transforms, which may look at where a record comes from; nobody else does.
    """
    if not has_chain:
        columns = _without_places(columns)
    return packer.seal(_pack_columns(columns, packer))


def first_bad(columns: Columns, packer: Packer, *, has_chain: bool) -> RecordError:
    """The first record that `columns_message` cannot carry."""
    for index in range(len(columns)):
        try:
            columns_message(columns.picked([index]), packer, has_chain=has_chain)
        except ConnectError as error:
            return RecordError(index, error)
    raise AssertionError("all can be carried one by one, and not together")


def read_columns(message: memoryview, unpacker: Unpacker) -> Columns:
    """What `columns_message` has packed."""
    return _unpack_columns(unpacker.open(message), unpacker, None)


def outbound_message(done: Outbound, packer: Packer) -> bytes:
    """What a stage process has made of a source's batch."""
    batches = [(*batch[:3], _encoded(batch.columns), *batch[4:]) for batch in done.batches]
    bad = _told(done.not_transformed)
    return packer.seal((done.came, done.left, _plain(done.origins), bad, done.gathered, batches))


def read_outbound(message: memoryview, unpacker: Unpacker) -> Outbound:
    """What `outbound_message` has packed."""
    came, left, origins, bad, gathered, batches = unpacker.open(message)
    made = [
        Converted(topic, first, expected, _read_encoded(*encoded), partitions, timestamps)
        for topic, first, expected, encoded, partitions, timestamps in batches
    ]
    return Outbound(came, left, _indexes(origins), _error(bad), gathered, made)


def inbound_message(done: Inbound, packer: Packer) -> bytes:
    """What a stage process has made of a sink's frame; it ends before a record whose value cannot be carried."""
    columns = convert.columns_of(done.batch)
    if isinstance(done.batch, TransformedBatch):
        columns = done.batch.columns
    try:
        tree = _pack_columns(columns, packer)
    except ConnectError:
        done, columns = _up_to_bad(done, columns, packer)
        tree = _pack_columns(columns, packer)
    bad = _told(done.not_converted), _told(done.not_transformed)
    return packer.seal((done.came, done.converted, *bad, done.origins is not None, done.transformed, tree))


def read_inbound(message: memoryview, unpacker: Unpacker, runs: Sequence[Run], converter: HeaderConverter) -> Inbound:
    """What `inbound_message` has packed. runs: of the frame. converter: for headers that are looked at."""
    came, converted, not_converted, not_transformed, has_chain, transformed, tree = unpacker.open(message)
    columns = _unpack_columns(tree, unpacker, (runs, converter))
    failed = _error(not_converted)
    if has_chain:
        batch: SinkBatch = TransformedBatch(columns)
        return Inbound(batch, came, converted, failed, columns.origins, _error(not_transformed), transformed)
    batch = SinkBatch(
        runs if failed is None else convert.cut_runs(runs, failed.index),
        columns.values,
        value_schemas=columns.value_schemas,
        keys=columns.keys,
        key_schemas=columns.key_schemas,
        timestamps=columns.timestamps,
        timestamp_type=columns.timestamp_type,
        headers=columns.headers,
    )
    return Inbound(batch, came, converted, failed)


def _up_to_bad(done: Inbound, columns: Columns, packer: Packer) -> tuple[Inbound, Columns]:
    """What is before the first record that cannot be carried, which has failed then."""
    for index in range(len(columns)):
        try:
            _pack_columns(columns.picked([index]), packer)
        except ConnectError as error:
            left = columns.picked(range(index))
            bad = RecordError(columns.origins[index], error)
            if done.origins is None:
                return done._replace(converted=index, not_converted=bad), left
            # No record is left in part of which several were made.
            while len(left) and left.origins[-1] == bad.index:
                left.pick(range(len(left) - 1))
            return done._replace(origins=left.origins, not_transformed=bad, transformed=len(left)), left
    raise AssertionError("all can be carried one by one, and not together")


def _without_places(columns: Columns) -> Columns:
    nothing = Repeat(None, len(columns))
    columns = columns.picked(range(len(columns)))
    columns.source_partitions = columns.source_offsets = nothing
    return columns


def _pack_columns(columns: Columns, packer: Packer) -> tuple[Any, ...]:
    packed = []
    for name in COLUMN_NAMES:
        column = getattr(columns, name)
        if name in SCHEMA_COLUMNS:
            packed.append(packer.schemas(column))
        elif name == "headers":
            packed.append(_pack_headers(column, packer))
        else:
            packed.append(packer.column(column))
    return columns.timestamp_type, columns.is_sink, packed


def _unpack_columns(
    tree: tuple[Any, ...], unpacker: Unpacker, raw: tuple[Sequence[Run], HeaderConverter] | None
) -> Columns:
    """raw: what headers need that are not converted yet."""
    timestamp_type, is_sink, packed = tree
    columns: dict[str, Any] = {}
    for name, column in zip(COLUMN_NAMES, packed, strict=True):
        if name in SCHEMA_COLUMNS:
            columns[name] = unpacker.schemas(column)
        elif name == "headers":
            columns[name] = _unpack_headers(column, unpacker, raw)
        else:
            columns[name] = unpacker.column(column)
    return Columns(**columns, timestamp_type=timestamp_type, is_sink=is_sink)


def _pack_headers(column: Sequence[Sequence[Header]], packer: Packer) -> Tree:
    if isinstance(column, Repeat) and not column.value:
        return NOTHING, len(column)
    if isinstance(column, LazyHeaders):
        return RAW, bytes(column.raw), len(column)
    flat = [*chain.from_iterable(column)]
    keys, values = [header.key for header in flat], [header.value for header in flat]
    schemas = packer.schemas([header.schema for header in flat])
    return LISTS, [*map(len, column)], packer.column(keys), packer.column(values), schemas


def _unpack_headers(
    tree: Tree, unpacker: Unpacker, raw: tuple[Sequence[Run], HeaderConverter] | None
) -> Sequence[Sequence[Header]]:
    form, *parts = tree
    if form == NOTHING:
        return Repeat((), parts[0])
    if form == RAW:
        assert raw is not None, "headers that are not converted, from a task"
        return LazyHeaders.of(raw[0], parts[0], raw[1], parts[1])
    lengths, keys, values, schemas = parts
    flat = map(Header, unpacker.column(keys), unpacker.column(values), unpacker.schemas(schemas))
    return [[*islice(flat, length)] for length in lengths]


def _encoded(columns: EncodedColumns) -> tuple[Any, ...]:
    return columns.values, columns.keys, columns.headers, _told(columns.failed)


def _read_encoded(values: Payloads, keys: Payloads | None, headers: list[Headers] | None, told: Told) -> EncodedColumns:
    return EncodedColumns(values, keys, headers, _error(told))


def _plain(origins: Sequence[int]) -> Any:
    return (origins.start, origins.stop) if isinstance(origins, range) else [*origins]


def _indexes(plain: Any) -> Sequence[int]:
    return range(*plain) if isinstance(plain, tuple) else plain


def _told(failed: RecordError | None) -> Told:
    """What is to be known of a failure in another process: the error's class and text, and where it was raised."""
    if failed is None:
        return None
    error = failed.error
    cause = error.cause.value if isinstance(error, OutsideError) else None
    # Of a class that the other end does not know by itself, its nearest that is in the contract.
    known = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in errors.__all__), "")
    trace = "".join(traceback.format_exception(error))
    return failed.index, failed.step, known, type(error).__name__, str(error), cause, trace


def _error(told: Told) -> RecordError | None:
    if told is None:
        return None
    index, step, known, name, text, cause, trace = told
    error: Exception
    if cause is not None:
        error = OutsideError(text, Cause(cause))
    elif known:
        error = getattr(errors, known)(text)
    else:
        error = type(name, (Exception,), {})(text)
    error.__cause__ = StageTracebackError(trace)
    return RecordError(index, error, step)


class StageTracebackError(Exception):
    """Where an error was raised in a stage process."""

    def __str__(self) -> str:
        return f"in a stage process:\n{self.args[0].rstrip()}"
