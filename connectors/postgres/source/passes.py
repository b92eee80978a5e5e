"""One pass over a table or query: the rows after a position, to the end of what is there when it begins.

    (timestamp, number) > position ──► COPY (SELECT ... ORDER BY timestamp, number) TO STDOUT ──► batches

A position is what of a row decides its turn. It stands behind the row's columns, so that the offset of every row is
known. Where timestamps may be equal, the primary key decides, or the row's place (ctid), or, for what has neither, the
text of the whole row. Rows may have one position all the same (a number that is not unique, a row that a join gives
twice): nobody goes on amid them, since all of them are behind it or none. So the offset of a row is the position of the
last row before it that is followed by another position, or its own.

    rows       1   2   2   2   5        a row is held back until it is known what follows it
    offsets    1   1   1   2   5

    {"timestamp": "2024-01-31 10:00:00.123456+00", "incrementing": 7}     after this row
    {"timestamp": "...", "key": ["7"]}                                    the same by the primary key
    {"key": null}                                                         bulk: all is read; begin anew

Used by: polling.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, overload

from connectors.postgres.config import literal, quoted
from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.polling_config import PollingConfig
from connectors.postgres.source.relations import Column, Relation
from connectors.postgres.source.values import Cells, columns_of_copy
from engine.api.batch import SourceBatch
from engine.api.column import StructColumn
from engine.api.errors import ConnectError, DataError

__all__ = ["INCREMENTING", "KEY", "TIMESTAMP", "Order", "Pass", "beginning_sql", "check_offset", "order_of", "pass_sql"]

TIMESTAMP, INCREMENTING, KEY = "timestamp", "incrementing", "key"
Position = Mapping[str, Any]

BATCH_BYTES_MAX = 4 * 1024 * 1024
INTEGERS = ("smallint", "integer", "bigint")
NUMBERS = (*INTEGERS, "numeric")
TIMESTAMPS = ("timestamp", "date")


class Order(NamedTuple):
    """What decides a row's turn, as SQL; each a part of a position."""

    timestamp: str | None
    is_zoned: bool  # the timestamp
    number: str | None
    ties: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """All, in the order in which they count."""
        return (*filter(None, (self.timestamp, self.number)), *self.ties)


def order_of(relation: Relation, settings: PollingConfig) -> Order:
    """Raises ConnectError for a column that is not there, or of no use for the mode."""
    place = str(relation.target or "the query")
    timestamp, is_zoned = None, False
    if settings.dates:
        columns = [_column(relation, name, "timestamp.column.name") for name in settings.timestamp_columns]
        for column in columns:
            if not column.type.startswith(TIMESTAMPS):
                raise ConnectError(
                    f"{place}: column {column.name} (timestamp.column.name) is {column.type}; expected a timestamp"
                )
        is_zoned = any("with time zone" in column.type for column in columns)
        names = [quoted(column.name) for column in columns]
        timestamp = names[0] if len(names) == 1 else f"COALESCE({', '.join(names)})"
    if settings.counts:
        return Order(timestamp, is_zoned, quoted(_number(relation, settings, place).name), ())
    if relation.key:
        return Order(timestamp, is_zoned, None, tuple(quoted(column.name) for column in relation.key))
    if relation.has_places:
        return Order(timestamp, is_zoned, None, ("given.ctid",))
    # Whoever reads all of it needs no order, and does not pay for one.
    return Order(timestamp, is_zoned, None, () if timestamp is None else ("md5((given.*)::text)",))


def pass_sql(relation: Relation, settings: PollingConfig, order: Order, position: Position | None) -> str:
    """The statement of a pass from a position on; None: from the beginning."""
    columns = [quoted(column.name) for column in relation.columns]
    conditions = [f"{part} IS NOT NULL" for part in (order.timestamp, order.number) if part]
    if settings.dates:
        now = f"(now() - interval '{settings.delay_ms} milliseconds')"
        conditions.append(f"{order.timestamp} < {now if order.is_zoned else _local(now, settings)}")
    conditions += _after(settings, order, position)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sorted_by = f" ORDER BY {', '.join(order.parts)}" if order.parts else ""
    return (
        f"COPY (SELECT {', '.join([*columns, *order.parts])} FROM {_from(relation, settings)} AS "
        f"given{where}{sorted_by}) TO STDOUT"
    )


def beginning_sql(order: Order, settings: PollingConfig) -> str | None:
    """What gives the timestamp to begin behind, once; None: a pass knows by itself."""
    if settings.timestamp_initial is None or settings.timestamp_initial >= 0 or not settings.dates:
        return None
    return f"SELECT ({'now()' if order.is_zoned else _local('now()', settings)})::text"


def check_offset(offset: Position, settings: PollingConfig) -> None:
    """Raises ConnectError for what this connector would not store."""
    # Behind a timestamp, whatever the number, a task begins that is to see what is new only.
    wanted = {TIMESTAMP: settings.dates, INCREMENTING: settings.counts and not settings.dates}
    for name, is_wanted in wanted.items():
        if is_wanted and name not in offset:
            raise ConnectError(f"offset {dict(offset)}: expected the key '{name}' for mode={settings.mode}")
    for name, value in offset.items():
        if name == TIMESTAMP:
            is_good = isinstance(value, str)
        elif name == INCREMENTING:
            is_good = isinstance(value, int | str) and not isinstance(value, bool)
        else:
            is_good = name == KEY and (
                value is None or (isinstance(value, list) and all(isinstance(part, str) for part in value))
            )
        if not is_good:
            raise ConnectError(
                f"offset {dict(offset)}: expected null, or '{TIMESTAMP}' with a text, '{INCREMENTING}' with a number, "
                f"'{KEY}' with a list of texts"
            )


class Pass:
    """Rows as they come."""

    def __init__(
        self,
        session: PsycopgSession,
        relation: Relation,
        settings: PollingConfig,
        topic: str,
        partition: Mapping[str, Any],
        position: Position | None,
    ) -> None:
        """Begin. Raises the errors of refusals.py."""
        self._relation = relation
        self._order = order_of(relation, settings)
        self._is_whole = settings.mode == "bulk"
        self._topic = topic
        # What has no order is read from its beginning again, wherever a task has stopped.
        self._partition = partition if self._order.parts else None
        self._stream = session.stream(pass_sql(relation, settings, self._order, position))
        self._count_up = _is_integer(relation, self._order)
        self._held: list[memoryview] = []  # the last row, until it is known what follows it
        self._before = position  # behind which all is that was not given yet

    @property
    def is_over(self) -> bool:
        """Whether all rows were taken."""
        return self._stream.is_over and not self._held

    def take(self, count: int, seconds: float) -> SourceBatch | None:
        """The next rows; None: none has come within `seconds`, or it is over."""
        rows = self._held + self._stream.take(count, BATCH_BYTES_MAX, seconds)
        # What follows a row tells whether one may go on behind it, and whether it is the last of all.
        keeps = self._partition is not None and not self._stream.is_over
        self._held = rows[-1:] if keeps else []
        rows = rows[:-1] if keeps else rows
        return self._batch(rows) if rows else None

    def _is_followed_by_another(self, row: memoryview) -> bool:
        """Whether the row that is held back has another position, or there is none."""
        width = len(self._relation.columns)
        return not self._held or columns_of_copy([row])[width:] != columns_of_copy(self._held)[width:]

    def _batch(self, rows: Sequence[memoryview]) -> SourceBatch:
        columns = self._relation.columns
        cells = columns_of_copy(rows)
        values = []
        for column, found in zip(columns, cells, strict=False):
            try:
                values.append(column.reading.read(found))
            except ValueError as error:
                raise DataError(
                    f"{self._relation.target or 'query'}: column {column.name} ({column.type}) cannot be read: {error}"
                ) from error
        offsets: _Offsets | None = None
        if self._partition is not None:
            offsets = _Offsets(self._order, cells[len(columns) :], len(rows), self._before, counts_up=self._count_up)
            offsets.is_closed = self._is_followed_by_another(rows[-1])
            offsets.is_end = self._is_whole and self.is_over
            self._before = offsets[-1]
        return SourceBatch(
            topic=self._topic,
            values=StructColumn(self._relation.schema, values, len(rows)),
            value_schema=self._relation.schema,
            source_partition=self._partition,
            source_offsets=offsets,
        )


class _Offsets(Sequence["Position | None"]):
    """Where to go on after each row, made when it is looked at."""

    def __init__(
        self, order: Order, cells: Sequence[Cells], count: int, before: Position | None, *, counts_up: bool
    ) -> None:
        """before: the offset before the first row; None: there is none, and none for rows that have its position."""
        self._order = order
        self._cells = cells
        self._count = count
        self._before = before
        self._counts_up = counts_up
        self.is_closed = True  # another position follows
        self.is_end = False  # of a table that is read anew then

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Position | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Position | None]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._count))]
        is_last = index in (-1, self._count - 1)
        if is_last and self.is_end:
            return {KEY: None}
        closed = self._count if is_last and self.is_closed else self._closed[index]
        return self._position(closed - 1) if closed else self._before

    @cached_property
    def _closed(self) -> Sequence[int]:
        """For each row: of how many rows, from the first on, all of one position are among those until then."""
        rows = [*zip(*self._cells, strict=True)]
        ends = [one != following for one, following in pairwise(rows)]
        return [*accumulate((at * is_end for at, is_end in enumerate([*ends, self.is_closed], 1)), max)]

    def _position(self, index: int) -> Position:
        texts = [(column[index] or b"").decode() for column in self._cells]
        found: dict[str, Any] = {}
        if self._order.timestamp:
            found[TIMESTAMP] = texts.pop(0)
        if self._order.number:
            text = texts.pop(0)
            found[INCREMENTING] = int(text) if self._counts_up else text
        if texts:
            found[KEY] = texts
        return found


def _from(relation: Relation, settings: PollingConfig) -> str:
    if relation.target is not None:
        return relation.target.sql
    return f"({settings.plain_query}\n)"


def _after(settings: PollingConfig, order: Order, position: Position | None) -> list[str]:
    """What holds for all rows after a position."""
    if position is None or (not settings.dates and not settings.counts and position.get(KEY) is None):
        return _initially(settings, order)
    given = [position[name] for name in (TIMESTAMP, INCREMENTING) if name in position]
    given += position.get(KEY) or []
    parts = order.parts[: len(given)]
    literals = [literal(str(value)) for value in given[: len(parts)]]
    if len(parts) == 1:
        return [f"{parts[0]} > {literals[0]}"]
    return [f"({', '.join(parts)}) > ({', '.join(literals)})"]


def _initially(settings: PollingConfig, order: Order) -> list[str]:
    if settings.timestamp_initial is None or settings.timestamp_initial < 0 or not settings.dates:
        return []
    moment = f"to_timestamp({settings.timestamp_initial} / 1000.0)"
    return [f"{order.timestamp} > {moment if order.is_zoned else _local(moment, settings)}"]


def _local(moment: str, settings: PollingConfig) -> str:
    return f"({moment} AT TIME ZONE {literal(settings.zone)})"


def _column(relation: Relation, name: str, key: str) -> Column:
    found = relation.column(name)
    if found is None:
        names = ", ".join(column.name for column in relation.columns)
        raise ConnectError(f"{relation.target or 'the query'}: there is no column {name} ({key}); there are {names}")
    return found


def _number(relation: Relation, settings: PollingConfig, place: str) -> Column:
    if settings.incrementing_column:
        column = _column(relation, settings.incrementing_column, "incrementing.column.name")
    else:
        found = [column for column in relation.columns if column.counts_up]
        if len(found) != 1:
            raise ConnectError(
                f"{place}: {len(found)} columns are identity or serial columns; expected incrementing.column.name to "
                "say which one counts up"
            )
        column = found[0]
    if not column.type.startswith(NUMBERS):
        raise ConnectError(
            f"{place}: column {column.name} (incrementing.column.name) is {column.type}; expected a whole number"
        )
    return column


def _is_integer(relation: Relation, order: Order) -> bool:
    columns = [column for column in relation.columns if quoted(column.name) == order.number]
    return bool(columns) and columns[0].type in INTEGERS
