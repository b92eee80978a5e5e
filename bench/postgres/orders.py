"""A table of the orders of bench.line, and what a topic of its rows has to hold.

Used by: snapshot.py, polling.py, poll_loop.py.
Not here: how they come into the topic (sourced.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
from msgspec.json import decode

from bench.line.records import FIRST_ID, JSON
from bench.postgres.sourced import messages

__all__ = ["COLUMNS", "TABLE", "check", "fill"]

TABLE = "orders"
COLUMNS = ("id", "customer", "item", "quantity", "price", "express", "note")
DDL = (
    f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, customer text, item text, quantity integer, "
    "price double precision, express boolean, note text)"
)
SUM_BITS = (1 << 64) - 1


def fill(url: str, records: int) -> None:
    """Make the table, a row for each order, in the order of their ids."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(DDL)
        with connection.cursor() as cursor, cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
            for number in range(records):
                copy.write_row([*decode(JSON.write(number)).values()])
        connection.execute(f"VACUUM ANALYZE {TABLE}")
        connection.execute("CHECKPOINT")


def check(bootstrap: str, topic: str, records: int, told: Callable[[Any], bytes]) -> None:
    """Raises AssertionError unless the topic has each order once, as it is in the table.

    told: the part of a message that has the id in it, as a field of JSON.
    """
    ids: list[int] = []
    total = 0
    for message in messages(bootstrap, topic):
        total += hash(message.value())
        ids.append(decode(told(message))["id"])
    assert sorted(ids) == [*range(FIRST_ID, FIRST_ID + records)], (
        f"{topic}: {len(ids)} records of {records} rows, {len(set(ids))} different"
    )
    assert total & SUM_BITS == _sum_of(records), f"{topic}: a record's content is not what its row is"


@cache
def _sum_of(records: int) -> int:
    return sum(map(hash, map(JSON.write, range(records)))) & SUM_BITS
