"""The table of the benchmark and what must be in it: the orders of bench.line.records, a row each.

Used by: __main__.py, driver.py.
"""

from __future__ import annotations

import json
from typing import Any

from bench.line.records import order_json

__all__ = ["COLUMNS", "check_table", "create_table", "row_of"]

COLUMNS = ("id", "customer", "item", "quantity", "price", "express", "note")
_TYPES = ("bigint PRIMARY KEY", "text", "text", "int", "double", "boolean", "text")


def create_table(session: Any, name: str) -> None:
    """Make it in the keyspace `bench`, which is made as well."""
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    session.execute(f"CREATE KEYSPACE IF NOT EXISTS bench WITH replication = {replication}")
    columns = ", ".join(f"{column} {kind}" for column, kind in zip(COLUMNS, _TYPES, strict=True))
    session.execute(f"CREATE TABLE bench.{name} ({columns})")


def row_of(number: int) -> tuple[Any, ...]:
    """An order as a row."""
    order = json.loads(order_json(number))
    return tuple(order[column] for column in COLUMNS)


def check_table(session: Any, name: str, records: int) -> None:
    """Raises AssertionError where the table is not the rows of the first so many orders, each once and whole."""
    first = row_of(0)[0]
    count = 0
    for row in session.execute(f"SELECT {', '.join(COLUMNS)} FROM bench.{name}", timeout=None):
        assert tuple(row) == row_of(row[0] - first), f"{tuple(row)} is no row of order {row[0] - first}"
        count += 1
    # The id is the primary key: so many rows are so many orders.
    assert count == records, f"{count} rows of {records}"
