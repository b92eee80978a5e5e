"""A topic of orders into a table of a real Cassandra, beside the driver's own concurrent batches in one process.

    python -m bench.cassandra                                   1 and 2 tasks, batches of 100 rows, four rounds
    python -m bench.cassandra --rows 1 10 100 200               a table by batch size, of shorter runs
    python -m bench.cassandra --no-driver --by partition

Broker, server and clients share the machine's cores. A rate is that from the first record to the last answer: of
Millrace as its report tells it, joining the group left out and the last commit included. Each run writes a table of its
own, which is read whole and compared before anything is reported.

The server is a JVM, which is faster the longer it has run. So each kind of side has a run first that is not counted,
the order turns round from round to round, and an even number of rounds has each side as often early as late.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

from bench.cassandra.rows import check_table, create_table
from bench.line.fill import fill_topic
from bench.line.records import JSON
from bench.line.sides import TEXT_CONVERTER
from bench.line.throughput import PARTITIONS, SCHEMALESS
from tests.harness import topics
from tests.harness.cassandra import CassandraServer
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer
from tests.harness.measure import cpu_seconds

TOPIC = "orders"
END_S = 900.0
JAVA_OPTIONS = ("-XX:+UseG1GC",)
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
    client_us: float  # CPU of the writing processes for each row; of Millrace from its start to its end
    server_us: float  # CPU of Cassandra


class Bench:
    """The servers, and what is written."""

    def __init__(self, folder: Path, records: int, servers: ExitStack) -> None:
        self._folder = folder
        self._records = records
        self._kafka = servers.enter_context(KafkaServer(folder / "kafka", is_measured=True))
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
        seconds, client_s = self._driver(side, table) if side.name == DRIVER else self._millrace(side, table)
        server_s = cpu_seconds([self._cassandra.pid]) - server_before
        check_table(self._session, table, self._records)
        self._session.execute(f"DROP TABLE bench.{table}", timeout=None)
        each = 1e6 / self._records
        return Result(self._records / seconds, client_s * each, server_s * each)

    def _driver(self, side: Side, table: str) -> tuple[float, float]:
        place = (self._cassandra.host, str(self._cassandra.port), *self._cassandra.login, table)
        command = [sys.executable, "-m", "bench.cassandra.driver", *place, str(self._records), str(side.rows)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=END_S).stdout)
        return told["seconds"], told["cpu_s"]

    def _millrace(self, side: Side, table: str) -> tuple[float, float]:
        sink = {
            "connector.class": "CassandraSink",
            "tasks.max": side.tasks,
            "topics": TOPIC,
            **self._cassandra.keys(),
            **SCHEMALESS,
            "batch.by": side.by,
            "batch.rows": side.rows,
            "batch.bytes": side.rows * ROW_BYTES,
            f"topic.{TOPIC}.bench.{table}.mapping": "value.*",
        }
        name = f"rows{self._runs}"  # a group of its own
        folder = self._folder / name
        folder.mkdir()
        worker = {
            "bootstrap.servers": self._kafka.bootstrap,
            "key.converter": TEXT_CONVERTER,
            "value.converter": TEXT_CONVERTER,
        }
        (folder / "pipeline.toml").write_text(pipeline_toml(worker, {name: sink}))
        cpu_before = children_cpu_s()
        with Millrace("run", "pipeline.toml", "--json", folder=folder) as run:
            code = run.wait(END_S)
            assert code == 0, run.stderr
            report: dict[str, Any] = run.report()
        seconds = max(task["seconds"] for one in report["connectors"] for task in one["tasks"])
        return seconds, children_cpu_s() - cpu_before


def children_cpu_s() -> float:
    """What all ended children of this process, and theirs, have used."""
    times = os.times()
    return times.children_user + times.children_system


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
