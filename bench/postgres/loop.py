"""What a few lines do that write a topic into a table: librdkafka's consumer and psycopg's COPY.

    python -m bench.postgres.loop BOOTSTRAP TOPIC URL FILE append|upsert RECORDS

A batch, of at most RECORDS, is a transaction; Kafka's offsets are committed after it, so that a crash repeats rows and
loses none. FILE is told how many rows are committed (bench/line/tally.py).
"""

from __future__ import annotations

import sys
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer
from msgspec.json import Decoder

from bench.line.bare import SETTINGS
from bench.line.tally import Tally

__all__ = ["COLUMNS", "main"]

WAIT_S = 0.1
COLUMNS = ("id", "customer", "item", "quantity", "price", "express", "note")
NAMES = ", ".join(COLUMNS)
STAGE = "CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS SELECT * FROM orders WITH NO DATA"
MERGE = f"INSERT INTO orders ({NAMES}) SELECT {NAMES} FROM staging ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f"{name} = EXCLUDED.{name}" for name in COLUMNS[1:]
)


def main(bootstrap: str, topic: str, url: str, file: Path, mode: str, records_max: int) -> None:
    """Write until killed."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"loop-{file.name}", **SETTINGS})
    consumer.subscribe([topic])
    tally = Tally(file)
    decode = Decoder().decode
    fields = itemgetter(*COLUMNS)
    with psycopg.connect(url) as connection:
        if mode == "upsert":
            connection.execute(STAGE)
            connection.commit()
        while True:
            messages = consumer.consume(records_max, WAIT_S)
            if not messages:
                continue
            rows = [fields(decode(message.value() or b"")) for message in messages]
            if mode == "upsert":
                rows = [*{row[0]: row for row in rows}.values()]
                _copy(connection, "staging", rows)
                connection.execute(MERGE)
            else:
                _copy(connection, "orders", rows)
            connection.commit()
            consumer.commit(asynchronous=True)
            tally.add(len(rows), sum(row[0] for row in rows))


def _copy(connection: psycopg.Connection[Any], table: str, rows: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({NAMES}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
