"""The rows of a table into a topic, beside `COPY TO STDOUT` alone, on a real server and broker.

    python -m bench.postgres.snapshot                               5,000,000 rows of 7 columns, three rounds
    python -m bench.postgres.snapshot --records 500000 --rounds 1 --keys snapshot.max.threads=4

The peer is psql, which throws away what it gets: what the server can give to one connection, without more work.
Millrace makes records of JSON with keys in a topic of 4 partitions. The rows are the orders of bench.line; a run is
reported when the topic has each of them once, as it is in the table.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import psycopg
from msgspec import Struct
from msgspec.json import decode

from bench.line.records import FIRST_ID, JSON
from bench.postgres.sourced import into_topic, messages
from tests.harness import topics
from tests.harness.kafka import KafkaServer
from tests.harness.postgres import PostgresServer, programs

TABLE = "orders"
SUM_BITS = (1 << 64) - 1
DDL = (
    f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, customer text, item text, quantity integer, "
    "price double precision, express boolean, note text)"
)


class Place(Struct, frozen=True):
    """Where it runs."""

    bootstrap: str
    postgres: PostgresServer
    folder: Path
    records: int
    keys: dict[str, str]


class Result(Struct, frozen=True):
    """Of one round."""

    copy_per_s: float
    rate_per_s: float
    cpu_us: float  # of a record: Millrace's processes, without broker and server
    pss_mb: float


def fill(place: Place) -> None:
    """Make the table."""
    with psycopg.connect(place.postgres.url(), autocommit=True) as connection:
        connection.execute(DDL)
        with connection.cursor() as cursor, cursor.copy(f"COPY {TABLE} FROM STDIN") as copy:
            for number in range(place.records):
                copy.write_row([*decode(JSON.write(number)).values()])
        connection.execute(f"VACUUM ANALYZE {TABLE}")
        connection.execute("CHECKPOINT")


def copied(place: Place) -> float:
    """Rows a second of COPY alone."""
    server = ["-h", "127.0.0.1", "-p", str(place.postgres.port), "-U", "postgres", "-d", "postgres"]
    command = [str(programs() / "psql"), *server, "-q", "-c", f"COPY {TABLE} TO STDOUT"]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return place.records / (time.monotonic() - begun)


def run(place: Place, number: int) -> Result:
    """Both sides, the order changing from round to round. Raises AssertionError for a row that is not in the topic."""
    copy_first = copied(place) if number % 2 else None
    name = f"round{number}"
    url = place.postgres.url()
    topic, curve = into_topic(
        place.bootstrap, place.folder, url, name=name, table=TABLE, records=place.records, keys=place.keys
    )
    check(place, topic)
    topics.delete_topic(place.bootstrap, topic)
    place.postgres.query(f"SELECT pg_drop_replication_slot('{name}')")
    records = place.records
    copy_rate = copy_first if copy_first is not None else copied(place)
    return Result(copy_rate, curve.rate(records), curve.cpu_us(records), curve.pss_bytes_max / 1e6)


def check(place: Place, topic: str) -> None:
    """Raises AssertionError unless the topic has each order once, as it is in the table."""
    keys: list[int] = []
    total = 0
    for message in messages(place.bootstrap, topic):
        total += hash(message.value())
        keys.append(decode(message.key())["id"])
    assert sorted(keys) == [*range(FIRST_ID, FIRST_ID + place.records)], (
        f"{topic}: {len(keys)} records of {place.records} rows, {len(set(keys))} different"
    )
    assert total & SUM_BITS == _sum_of(place.records), f"{topic}: a record's content is not what its row is"


@cache
def _sum_of(records: int) -> int:
    return sum(map(hash, map(JSON.write, range(records)))) & SUM_BITS


def table(results: list[Result]) -> str:
    """The medians, and the least and the largest ratio of a round."""
    ratios = [one.rate_per_s / one.copy_per_s for one in results]
    copy, ours = (
        statistics.median(rates) for rates in zip(*((r.copy_per_s, r.rate_per_s) for r in results), strict=True)
    )
    cells = ["table -> topic, snapshot", f"{copy:,.0f}", f"{ours:,.0f}"]
    cells += [f"**{ours / copy:.2f}** ({min(ratios):.2f} to {max(ratios):.2f})", "0.5"]
    cells += [f"{statistics.median(one.cpu_us for one in results):.2f}"]
    cells += [f"{statistics.median(one.pss_mb for one in results):.0f}"]
    return "\n".join(
        [
            "| line | COPY TO STDOUT, rows/s | Millrace | ratio | aim | Millrace, us CPU a row | MB PSS |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            f"| {' | '.join(cells)} |",
        ]
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres.snapshot")
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", nargs="*", default=[], help="of the connector: KEY=VALUE")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder_name:
        folder = Path(folder_name)
        with KafkaServer(folder / "kafka", is_measured=True) as broker, PostgresServer(folder / "postgres") as postgres:
            keys = dict(key.split("=", 1) for key in options.keys)
            place = Place(broker.bootstrap, postgres, folder, options.records, keys)
            fill(place)
            for number in range(1, options.rounds + 1):
                results.append(run(place, number))
                print(results[-1], file=sys.stderr, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
