"""What a few lines do that poll a table into a topic: psycopg, rows after the last id, and confluent-kafka's producer.

    python -m bench.postgres.poll_loop BOOTSTRAP TOPIC URL ROWS

Each query asks for ROWS rows at most; the values are JSON. It ends when there are no more rows and Kafka has all. Where
it was, it keeps nowhere, which is less than a program has to do that goes on after a crash.
"""

from __future__ import annotations

import sys

import psycopg
from confluent_kafka import Producer
from msgspec.json import encode

from bench.postgres.orders import COLUMNS, TABLE

__all__ = ["main"]

SELECT = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE id > %s ORDER BY id LIMIT %s"
#: As the producer of the other side has it: all replicas, nothing twice. A fresh coordinator is no news (log_level).
SETTINGS = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "batch.size": 1_000_000, "log_level": 2}
QUEUE_RECORDS_MAX = 50_000
ROOM_S = 0.05
FLUSH_S = 60.0


def main(bootstrap: str, topic: str, url: str, rows_max: int) -> None:
    """Read the table once."""
    producer = Producer({"bootstrap.servers": bootstrap, **SETTINGS})
    last = -1
    with psycopg.connect(url, autocommit=True) as connection:
        while rows := connection.execute(SELECT, (last, rows_max)).fetchall():
            for row in rows:
                producer.produce(topic, encode(dict(zip(COLUMNS, row, strict=True))))
            last = rows[-1][0]
            producer.poll(0)
            while len(producer) > QUEUE_RECORDS_MAX:
                producer.poll(ROOM_S)
    left = producer.flush(FLUSH_S)
    assert left == 0, f"{left} records were not acknowledged within {FLUSH_S:g} s"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
