"""The messages between a task process and its stage processes: what crosses, in which form.

    source    Columns ──► columns_message ──► stage process ──► outbound_message ──► Outbound
    sink      the frame as it is ───────────► stage process ──► inbound_message ───► Inbound

Values of Python cross between task and stage process, packed by columns (carrying.py); what Kafka stores crosses as the
bytes that it is. Only whole batches cross back: no error does. Whatever has one is made anew beside the connector,
which can wait, and can say which record is bad (engine.task); so is what cannot be carried.

Used by: engine.task.dealing, engine.task.incoming, engine.stage.main.
Not here: which process, and when (engine.task.crew).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

from engine.api.batch import COLUMN_NAMES, Columns, Run, SinkBatch
from engine.api.column import Repeat
from engine.api.converter import HeaderConverter
from engine.api.record import Header
from engine.stages import convert
from engine.stages.carrying import NotCarriedError, Packer, Tree, Unpacker
from engine.stages.convert import EncodedColumns, LazyHeaders, TransformedBatch
from engine.stages.work import Converted, Inbound, Outbound

__all__ = [
    "Notice",
    "columns_message",
    "inbound_message",
    "outbound_message",
    "read_columns",
    "read_inbound",
    "read_outbound",
]

logger = logging.getLogger("millrace.task")

SCHEMA_COLUMNS = frozenset({"key_schemas", "value_schemas"})
NOTHING, RAW, LISTS = range(3)  # forms of a column of headers


class Notice:
    """Tells once in a process's life that there are batches which do not cross, and why."""

    def __init__(self) -> None:
        self._is_told = False

    def tell(self, error: NotCarriedError) -> None:
        """A batch does not cross."""
        if not self._is_told:
            self._is_told = True
            logger.warning(
                "%s cannot cross between a task process and a stage process, only the types of Kafka Connect's schemas "
                "can: batches with it stay in the task process, and stage.processes brings nothing for them",
                error,
            )


def columns_message(columns: Columns, packer: Packer, *, has_chain: bool) -> bytes:
    """A source's batch for its stage process. Raises NotCarriedError.

    has_chain: it has transforms, which may look at where a record comes from; nobody else does.
    """
    if not has_chain:
        columns = _without_places(columns)
    return packer.seal(_pack_columns(columns, packer))


def read_columns(message: memoryview, unpacker: Unpacker) -> Columns:
    """What `columns_message` has packed."""
    return _unpack_columns(unpacker.open(message), unpacker, None)


def outbound_message(done: Outbound, packer: Packer) -> bytes:
    """What a stage process has made of a source's batch, in which no record has failed."""
    batches = [(*batch[:3], *batch.columns[:3], *batch[4:]) for batch in done.batches]
    return packer.seal((done.left, _plain(done.origins), done.gathered, batches))


def read_outbound(message: memoryview, unpacker: Unpacker) -> Outbound:
    """What `outbound_message` has packed."""
    left, origins, gathered, batches = unpacker.open(message)
    made = [
        Converted(topic, first, expected, EncodedColumns(values, keys, headers, None), partitions, timestamps)
        for topic, first, expected, values, keys, headers, partitions, timestamps in batches
    ]
    return Outbound(left, _indexes(origins), None, gathered, made)


def inbound_message(done: Inbound, packer: Packer) -> bytes:
    """What a stage process has made of a sink's frame, in which no record has failed. Raises NotCarriedError."""
    batch = done.batch
    columns = batch.columns if isinstance(batch, TransformedBatch) else convert.columns_of(batch)
    tree = _pack_columns(columns, packer)
    return packer.seal((done.came, done.converted, done.origins is not None, done.transformed, tree))


def read_inbound(message: memoryview, unpacker: Unpacker, runs: Sequence[Run], converter: HeaderConverter) -> Inbound:
    """What `inbound_message` has packed. runs: of the frame. converter: for headers that are looked at."""
    came, converted, has_chain, transformed, tree = unpacker.open(message)
    columns = _unpack_columns(tree, unpacker, (runs, converter))
    if has_chain:
        batch: SinkBatch = TransformedBatch(columns)
        return Inbound(batch, came, converted, None, columns.origins, None, transformed)
    batch = SinkBatch(
        runs,
        columns.values,
        value_schemas=columns.value_schemas,
        keys=columns.keys,
        key_schemas=columns.key_schemas,
        timestamps=columns.timestamps,
        timestamp_type=columns.timestamp_type,
        headers=columns.headers,
    )
    return Inbound(batch, came, converted)


def _without_places(columns: Columns) -> Columns:
    nothing = Repeat(None, len(columns))
    columns = copy.copy(columns)
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


def _plain(origins: Sequence[int]) -> Any:
    return (origins.start, origins.stop) if isinstance(origins, range) else [*origins]


def _indexes(plain: Any) -> Sequence[int]:
    return range(*plain) if isinstance(plain, tuple) else plain
