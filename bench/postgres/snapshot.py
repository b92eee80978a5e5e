"""The rows of a table into a topic, beside `COPY TO STDOUT` alone, on a real server and broker.

    python -m bench.postgres.snapshot                               5,000,000 rows of 7 columns, three rounds
    python -m bench.postgres.snapshot --batches 10 100 500 2048 10000       a table by batch size, of shorter runs
    python -m bench.postgres.snapshot --records 500000 --rounds 1 --keys snapshot.max.threads=4

The peer is psql, which throws away what it gets: what the server can give to one connection, without more work; it
knows no batches, and has one turn a round. So has a bare loop, one process that reads as the connector does and sends
each row as the server wrote it, by arrays as a pump does, without keys, columns or JSON: what reading, sending and the
broker take on these processors before there is a record. Millrace makes records of JSON with keys in a topic of 4
partitions. The rows are the orders of bench.line; a run is reported when the topic has each of them once, as it is in
the table.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct

from bench.line.fill import produce_arrays
from bench.line.throughput import PARTITIONS
from bench.postgres.orders import TABLE, check, fill
from bench.postgres.sourced import captured
from connectors.postgres.session import PsycopgSession
from engine.shm.frame import Payloads
from tests.harness import topics
from tests.harness.kafka import KafkaServer
from tests.harness.postgres import PostgresServer, programs

BATCH = 2048
#: The bare loop's topic, and how much it reads at once.
BARE = "bare"
READ_BYTES_MAX = 4 * 1024 * 1024
READ_S = 10.0
#: Of one batch size, and of each of several: a table takes some minutes then.
RECORDS = 5_000_000
RECORDS_OF_TABLE = 300_000


class Place(Struct, frozen=True):
    """Where it runs."""

    bootstrap: str
    postgres: PostgresServer
    folder: Path
    records: int
    keys: dict[str, str]


class Result(Struct, frozen=True):
    """Of one run, and the peer's of its round."""

    batch: int
    copy_per_s: float
    bare_per_s: float
    rate_per_s: float
    cpu_us: float  # of a record: Millrace's processes, without broker and server
    pss_mb: float


def copied(place: Place) -> float:
    """Rows a second of COPY alone."""
    server = ["-h", "127.0.0.1", "-p", str(place.postgres.port), "-U", "postgres", "-d", "postgres"]
    command = [str(programs() / "psql"), *server, "-q", "-c", f"COPY {TABLE} TO STDOUT"]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return place.records / (time.monotonic() - begun)


def carried(place: Place) -> float:
    """Rows a second of the bare loop."""
    topics.create_topic(place.bootstrap, BARE, partitions=PARTITIONS)
    begun = time.monotonic()
    with psycopg.connect(place.postgres.url(), autocommit=True) as connection:
        done = produce_arrays(place.bootstrap, BARE, _rows(connection), PARTITIONS)
    seconds = time.monotonic() - begun
    assert done == sum(topics.end_offsets(place.bootstrap, BARE).values()) == place.records
    topics.delete_topic(place.bootstrap, BARE)
    return done / seconds


def _rows(connection: Any) -> Iterator[Payloads]:
    stream = PsycopgSession(connection, psycopg).stream(f"COPY {TABLE} TO STDOUT")
    while not stream.is_over:
        block, count = stream.take_block(BATCH, READ_BYTES_MAX, READ_S)
        if count:
            yield [*block.removesuffix(b"\n").split(b"\n")]


def peers(place: Place) -> tuple[float, float]:
    """Rows a second of COPY and of the bare loop."""
    return copied(place), carried(place)


def measure(place: Place, batches: Sequence[int], rounds: int) -> Iterator[Result]:
    """Every run, the order changing from round to round. Raises AssertionError for a row that is not in the topic."""
    fill(place.postgres.url(), place.records)
    for number in range(1, rounds + 1):
        first = peers(place) if number % 2 else None
        found = [run(place, batch, number) for batch in (batches if number % 2 else reversed(batches))]
        beside = first or peers(place)
        for batch, (rate_per_s, cpu_us, pss_mb) in found:
            yield Result(batch, *beside, rate_per_s, cpu_us, pss_mb)


def run(place: Place, batch: int, number: int) -> tuple[int, tuple[float, float, float]]:
    """Millrace's: the batch; records a second, CPU of each, memory."""
    name = f"batch{batch}_{number}"
    records, keys = place.records, {"max.batch.size": str(batch), **place.keys}
    url = place.postgres.url()
    topic, curve = captured(place.bootstrap, place.folder, url, name=name, table=TABLE, records=records, keys=keys)
    check(place.bootstrap, topic, records, lambda message: message.key())
    topics.delete_topic(place.bootstrap, topic)
    place.postgres.query(f"SELECT pg_drop_replication_slot('{name}')")
    found = curve.rate(records), curve.cpu_us(records), curve.pss_bytes_max / 1e6
    print(f"batches of {batch}: {found[0]:,.0f} rows/s, CPU us a row {found[1]:.2f}", file=sys.stderr, flush=True)
    return batch, found


def table(results: Sequence[Result], batches: Sequence[int]) -> str:
    """The medians, and the least and the largest ratio of a round."""
    heads = ["line", "rows a batch", "COPY TO STDOUT, rows/s", "bare loop", "Millrace", "of COPY", "aim"]
    heads += ["of the bare loop", "Millrace, us CPU a row", "MB PSS"]
    rows = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for batch in batches:
        own = [one for one in results if one.batch == batch]
        copy, bare, ours = (
            statistics.median(rates)
            for rates in zip(*((r.copy_per_s, r.bare_per_s, r.rate_per_s) for r in own), strict=True)
        )
        cells = ["table -> topic, snapshot", f"{batch:,}", f"{copy:,.0f}", f"{bare:,.0f}", f"{ours:,.0f}"]
        cells += [f"**{ours / copy:.2f}** ({_span([r.rate_per_s / r.copy_per_s for r in own])})", "0.5"]
        cells += [f"{ours / bare:.2f} ({_span([r.rate_per_s / r.bare_per_s for r in own])})"]
        cells += [f"{statistics.median(one.cpu_us for one in own):.2f}"]
        cells += [f"{statistics.median(one.pss_mb for one in own):.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _span(ratios: Sequence[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres.snapshot")
    parser.add_argument("--batches", type=int, nargs="+", default=[BATCH], help="rows of a batch, at most")
    parser.add_argument("--records", type=int, help=f"{RECORDS}; of several batch sizes, {RECORDS_OF_TABLE}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", nargs="*", default=[], help="of the connector: KEY=VALUE")
    options = parser.parse_args()
    records = options.records or (RECORDS if len(options.batches) == 1 else RECORDS_OF_TABLE)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder_name:
        folder = Path(folder_name)
        with KafkaServer(folder / "kafka", is_measured=True) as broker, PostgresServer(folder / "postgres") as postgres:
            keys = dict(key.split("=", 1) for key in options.keys)
            place = Place(broker.bootstrap, postgres, folder, records, keys)
            results = [*measure(place, options.batches, options.rounds)]
    print(table(results, options.batches))


if __name__ == "__main__":
    main()
