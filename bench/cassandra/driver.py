"""What is compared with: the driver's own concurrent batches in one process, of rows that lie in memory.

    python -m bench.cassandra.driver HOST PORT USER PASSWORD TABLE RECORDS ROWS

Unlogged batches of ROWS rows, 16 on their way at a time, as a program would do it that has nothing else to do: nothing
is read from Kafka, and making the rows is not measured. Prints seconds, and those of CPU, as JSON.
"""

from __future__ import annotations

import json
import sys
import time

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster
from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType

from bench.cassandra.rows import COLUMNS, row_of

__all__ = ["main"]

IN_FLIGHT = 16


def main(host: str, port: int, login: tuple[str, str], table: str, records: int, rows_each: int) -> None:
    """Write, and say how long it took."""
    cluster = Cluster([host], port=port, auth_provider=PlainTextAuthProvider(*login))
    session = cluster.connect()
    marks = ", ".join("?" * len(COLUMNS))
    insert = session.prepare(f"INSERT INTO bench.{table} ({', '.join(COLUMNS)}) VALUES ({marks})")
    rows = [row_of(number) for number in range(records)]
    started, cpu_before = time.monotonic(), time.process_time()
    if rows_each == 1:
        execute_concurrent(session, ((insert, row) for row in rows), concurrency=IN_FLIGHT * 4)
    else:
        batches = (_batch(insert, rows[first : first + rows_each]) for first in range(0, records, rows_each))
        execute_concurrent(session, ((batch, None) for batch in batches), concurrency=IN_FLIGHT)
    print(json.dumps({"seconds": time.monotonic() - started, "cpu_s": time.process_time() - cpu_before}))
    cluster.shutdown()


def _batch(insert: object, rows: list[tuple[object, ...]]) -> BatchStatement:
    batch = BatchStatement(BatchType.UNLOGGED)
    for row in rows:
        batch.add(insert, row)
    return batch


if __name__ == "__main__":
    host, port, user, password, table, records, rows_each = sys.argv[1:]
    main(host, int(port), (user, password), table, int(records), int(rows_each))
