"""A topic of orders into a table of a real Cassandra, beside the driver's own concurrent batches in one process.

    python -m bench.cassandra                                           1 and 2 tasks, batches of 100 rows, four rounds
    python -m bench.cassandra --rows 1 10 50 100 200 --rounds 2         a table by batch size, of shorter runs
    python -m bench.cassandra --no-driver --by partition

Broker, server and clients share the machine's cores. How far a side is, Cassandra itself is asked: how often it has
written to the table, which has a partition for each row. A rate is that between 5 % and 97 % of the rows, and so is the
CPU of the client (bench/line/watch.py); the server's is that of the whole run. The broker waits for members of a group
at its beginning, as brokers do, though less long: else the first of two tasks would have most rows to itself. Each run
writes a table of its own, which is read whole and compared before anything is reported.

The server is a JVM, which is faster the longer it has run. So each kind of side has a run first that is not counted,
the order turns round from round to round, and an even number of rounds has each side as often early as late.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from msgspec import Struct

from bench.cassandra.rows import check_table, create_table
from bench.line.fill import fill_topic
from bench.line.records import JSON
from bench.line.sides import Job, MillraceSide
from bench.line.throughput import PARTITIONS, SCHEMALESS
from bench.line.watch import Curve, watch
from tests.harness import topics
from tests.harness.cassandra import CassandraServer
from tests.harness.kafka import KafkaServer
from tests.harness.measure import cpu_seconds

TOPIC = "orders"
END_S = 60.0
JAVA_OPTIONS = ("-XX:+UseG1GC",)
BROKER = {"group.initial.rebalance.delay.ms": "1000"}
#: How long between two looks, each of which has Cassandra sum up all of its tables: 12 ms of its CPU (measured).
LOOK_S = 0.25
WRITTEN = "SELECT count FROM system_views.local_write_latency WHERE keyspace_name = 'bench' AND table_name = %s"
DRIVER = "driver"
#: More than so many rows have in bytes, so that `batch.rows` alone is what limits a batch.
ROW_BYTES = 200
#: Of one batch size, and of each of several: a table takes some minutes then.
RECORDS = 200_000
RECORDS_OF_TABLE = 40_000


class Side(Struct, frozen=True):
    """One way to write."""

    name: str
    rows: int  # in a batch
    tasks: int = 0  # 0: the driver alone
    by: str = ""

    @property
    def title(self) -> str:
        """For people."""
        return self.name if self.name == DRIVER else f"millrace, {self.tasks} tasks, by {self.by}"


class Result(Struct, frozen=True):
    """One run, checked."""

    rate_per_s: float
    client_us: float  # CPU of the writing processes for each row
    server_us: float  # CPU of Cassandra


class Bench:
    """The servers, and what is written."""

    def __init__(self, folder: Path, records: int, servers: ExitStack) -> None:
        self._folder = folder
        self._records = records
        self._kafka = servers.enter_context(KafkaServer(folder / "kafka", properties=BROKER, is_measured=True))
        self._cassandra = servers.enter_context(CassandraServer(folder / "cassandra", JAVA_OPTIONS, is_synced=False))
        self._session = servers.enter_context(self._cassandra.session())
        self._runs = 0
        topics.create_topic(self._kafka.bootstrap, TOPIC, partitions=PARTITIONS)
        fill_topic(self._kafka.bootstrap, TOPIC, JSON, records, PARTITIONS)

    def run(self, side: Side) -> Result:
        """Write everything once, then look at each row. Raises AssertionError when one is missing or wrong."""
        self._runs += 1
        table = f"orders{self._runs}"
        create_table(self._session, table)
        server_before = cpu_seconds([self._cassandra.pid])
        curve = self._driver(side, table) if side.name == DRIVER else self._millrace(side, table)
        server_s = cpu_seconds([self._cassandra.pid]) - server_before
        check_table(self._session, table, self._records)
        self._session.execute(f"DROP TABLE bench.{table}", timeout=None)
        return Result(curve.rate(self._records), curve.cpu_us(self._records), server_s * 1e6 / self._records)

    def _written(self, table: str) -> int:
        """How many rows Cassandra has written to it; looks after a while only."""
        time.sleep(LOOK_S)
        row = self._session.execute(WRITTEN, (table,)).one()
        return 0 if row is None else int(row[0])

    def _driver(self, side: Side, table: str) -> Curve:
        place = (self._cassandra.host, str(self._cassandra.port), *self._cassandra.login, table)
        command = [sys.executable, "-m", "bench.cassandra.driver", *place, str(self._records), str(side.rows)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                curve = watch(lambda: self._written(table), self._records, process.pid, lambda: "")
                code = process.wait(END_S)
            finally:
                process.kill()
        assert code == 0, f"the driver's program has ended with {code}"
        return curve

    def _millrace(self, side: Side, table: str) -> Curve:
        name = f"rows{self._runs}"  # a group of its own
        sink = {
            "connector.class": "CassandraSink",
            "tasks.max": str(side.tasks),
            "topics": TOPIC,
            **self._cassandra.keys(),
            **SCHEMALESS,
            "batch.by": side.by,
            "batch.rows": str(side.rows),
            "batch.bytes": str(side.rows * ROW_BYTES),
            f"topic.{TOPIC}.bench.{table}.mapping": "value.*",
        }
        millrace = MillraceSide(self._kafka.bootstrap, self._folder / name)
        try:
            pid = millrace.begin(Job(name, sink, is_bounded=True))
            curve = watch(lambda: self._written(table), self._records, pid, millrace.log_tail)
            millrace.end()
        finally:
            millrace.close()
        return curve


def sides(options: argparse.Namespace) -> Iterator[Side]:
    """Those that are asked for."""
    for rows in options.rows:
        if not options.no_driver:
            yield Side(DRIVER, rows)
        for tasks in options.tasks:
            for by in options.by:
                yield Side("millrace", rows, tasks, by)


def main() -> None:
    """Measure the sides in turn, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.cassandra", description="Topic to Cassandra.")
    parser.add_argument("--records", type=int, help=f"{RECORDS}; of several batch sizes, {RECORDS_OF_TABLE}")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rows", type=int, nargs="+", default=[100], help="in a batch")
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--by", nargs="+", choices=("partition", "replicas"), default=["replicas"])
    parser.add_argument("--no-driver", action="store_true", help="Millrace alone")
    options = parser.parse_args()
    asked = list(sides(options))
    records = options.records or (RECORDS if len(options.rows) == 1 else RECORDS_OF_TABLE)
    found: dict[Side, list[Result]] = {side: [] for side in asked}
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        bench = Bench(folder, records, servers)
        for side in {one.title: one for one in asked}.values():  # with the last batch size
            bench.run(side)
        for number in range(options.rounds):
            for side in asked if number % 2 == 0 else reversed(asked):
                result = bench.run(side)
                found[side].append(result)
                told = f"{result.rate_per_s:,.0f} rows/s, CPU us a row {result.client_us:.1f} + {result.server_us:.1f}"
                print(f"{side.title}, batches of {side.rows}: {told}", file=sys.stderr, flush=True)
    print_table(found)


def print_table(found: dict[Side, list[Result]]) -> None:
    """Medians, and each rate beside the driver's with the same batches."""
    rates = {side: median(one.rate_per_s for one in results) for side, results in found.items()}
    print("| side | rows a batch | rows/s | to the driver's | CPU us a row, client | server |")
    print("| --- | --- | --- | --- | --- | --- |")
    for side, results in found.items():
        driver = rates.get(Side(DRIVER, side.rows))
        ratio = "-" if driver is None else f"{rates[side] / driver:.2f}"
        client, server = (median(getattr(one, name) for one in results) for name in ("client_us", "server_us"))
        print(f"| {side.title} | {side.rows} | {rates[side]:,.0f} | {ratio} | {client:.1f} | {server:.1f} |")


if __name__ == "__main__":
    main()
