"""A topic into a table of PostgreSQL, beside a loop that a person would write (loop.py), on a real broker and server.

    python -m bench.postgres                                   both lines, three rounds
    python -m bench.postgres --lines append --records 1000000 --rounds 5

    append    insert.mode=insert, a table without a key
    upsert    insert.mode=upsert by the id; of every second record the row is there already, with other content

The sides run in turn, the order changing from round to round. How far one is, it says itself once a batch, when the
rows are committed: Millrace in its table of offsets, the loop in a file. Each run is read back before it is reported:
every row once, with the right content.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import psycopg
from msgspec import Struct
from msgspec.json import decode

from bench.line.fill import fill_topic
from bench.line.records import FIRST_ID, JSON
from bench.line.sides import Job, MillraceSide
from bench.line.tally import read_tally
from bench.line.watch import Curve, watch
from bench.postgres.loop import COLUMNS
from tests.harness import topics
from tests.harness.kafka import KafkaServer
from tests.harness.postgres import PostgresServer

TOPIC = "orders"
PARTITIONS = 4
LINES = ("append", "upsert")
MILLRACE, LOOP = "millrace", "loop"
SIDES = (MILLRACE, LOOP)
TABLE = (
    "CREATE TABLE orders "
    "(id bigint, customer text, item text, quantity integer, price double precision, express boolean, note text)"
)
#: Of every second record, as it was before.
OLD_ROWS = (
    f"INSERT INTO orders SELECT {FIRST_ID} + n, 'nobody', 'nothing', 0, 0, false, 'an older row of this order' "
    "FROM generate_series(0, {last}, 2) AS n"
)
KEYED = {"insert.mode": "upsert", "pk.mode": "record_value", "pk.fields": "id"}
SUM_BITS = (1 << 64) - 1


class Place(Struct, frozen=True):
    """Where it runs."""

    bootstrap: str
    postgres: PostgresServer
    folder: Path
    records: int


class Result(Struct, frozen=True):
    """Of one run."""

    rate_per_s: float
    cpu_us: float  # of a record: the side's processes, without broker and server
    pss_mb: float


def run(line: str, side: str, place: Place, number: int) -> Result:
    """One run, measured and then checked. Raises AssertionError when a row is not what it should be."""
    database = f"{line}_{side}_{number}"
    place.postgres.query(f"CREATE DATABASE {database}")
    place.postgres.query(TABLE, database)
    if line == "upsert":
        place.postgres.query(OLD_ROWS.format(last=place.records - 1), database)
        place.postgres.query("ALTER TABLE orders ADD PRIMARY KEY (id)", database)
    place.postgres.query("CHECKPOINT")
    watched = _millrace if side == MILLRACE else _loop
    curve = watched(line, place, database)
    check(place, database)
    place.postgres.query(f"DROP DATABASE {database} WITH (FORCE)")
    return Result(curve.rate(place.records), curve.cpu_us(place.records), curve.pss_bytes_max / 1e6)


def _millrace(line: str, place: Place, database: str) -> Curve:
    side = MillraceSide(place.bootstrap, place.folder / database)
    config = {
        "connector.class": "connectors.postgres.sink:PostgresSinkConnector",
        "topics": TOPIC,
        "connection.url": place.postgres.url(database),
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        **(KEYED if line == "upsert" else {}),
    }
    with psycopg.connect(place.postgres.url(database), autocommit=True) as connection:

        def done() -> int:
            if connection.execute("SELECT to_regclass('millrace_offsets') IS NULL").fetchall()[0][0]:
                return 0
            return int(
                connection.execute("SELECT COALESCE(sum(next_offset), 0) FROM millrace_offsets").fetchall()[0][0]
            )

        try:
            pid = side.begin(Job(database, config, is_bounded=True))
            curve = watch(done, place.records, pid, side.log_tail)
            side.end()
        finally:
            side.close()
    return curve


def _loop(line: str, place: Place, database: str) -> Curve:
    file = place.folder / f"{database}.tally"
    arguments = [place.bootstrap, TOPIC, place.postgres.url(database), str(file), line]
    process = subprocess.Popen([sys.executable, "-m", "bench.postgres.loop", *arguments])
    try:
        return watch(lambda: read_tally(file)[0], place.records, process.pid, lambda: "")
    finally:
        process.kill()
        process.wait()


def check(place: Place, database: str) -> None:
    """Raises AssertionError unless the table has each order once, as it was sent last."""
    ids = f"SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {TOPIC}"
    last = FIRST_ID + place.records - 1
    assert place.postgres.query(ids, database) == [(place.records, place.records, FIRST_ID, last)]
    total = 0
    out = f"COPY orders ({', '.join(COLUMNS)}) TO STDOUT"
    with (
        psycopg.connect(place.postgres.url(database)) as connection,
        connection.cursor() as cursor,
        cursor.copy(out) as copy,
    ):
        for row in copy:
            total += hash(bytes(row))
    assert total & SUM_BITS == _sum_of(place.records), f"{database}: a row's content is not what was sent"


@cache
def _sum_of(records: int) -> int:
    return sum(hash(_line(decode(JSON.write(number)))) for number in range(records)) & SUM_BITS


def _line(order: dict[str, object]) -> bytes:
    texts = ("t" if order[name] is True else str(order[name]) for name in COLUMNS)
    return ("\t".join(texts) + "\n").encode()


def measure(place: Place, lines: Sequence[str], rounds: int) -> Iterator[tuple[str, str, Result]]:
    """Every run."""
    topics.create_topic(place.bootstrap, TOPIC, partitions=PARTITIONS)
    fill_topic(place.bootstrap, TOPIC, JSON, place.records, PARTITIONS)
    for line in lines:
        for number in range(1, rounds + 1):
            for side in SIDES if number % 2 else reversed(SIDES):
                yield line, side, run(line, side, place, number)


def table(results: Sequence[tuple[str, str, Result]], lines: Sequence[str]) -> str:
    """The medians, and the least and the largest ratio of a round."""

    def middle(line: str, side: str, value: Callable[[Result], float]) -> float:
        return statistics.median(value(result) for *named, result in results if named == [line, side])

    rows = [
        "| line | loop, rows/s | Millrace | ratio | aim | loop, us CPU a row | Millrace | loop, MB PSS | Millrace |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for line in lines:
        rates = {side: [one.rate_per_s for *named, one in results if named == [line, side]] for side in SIDES}
        ratios = [ours / theirs for ours, theirs in zip(rates[MILLRACE], rates[LOOP], strict=True)]
        loop, ours = (statistics.median(rates[side]) for side in (LOOP, MILLRACE))
        cells = [f"topic -> PostgreSQL, {line}", f"{loop:,.0f}", f"{ours:,.0f}"]
        cells += [f"**{ours / loop:.2f}** ({min(ratios):.2f} to {max(ratios):.2f})", "0.9"]
        cells += [f"{middle(line, side, lambda one: one.cpu_us):.2f}" for side in (LOOP, MILLRACE)]
        cells += [f"{middle(line, side, lambda one: one.pss_mb):.0f}" for side in (LOOP, MILLRACE)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=LINES)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        with KafkaServer(folder / "kafka") as broker, PostgresServer(folder / "postgres") as postgres:
            place = Place(broker.bootstrap, postgres, folder, options.records)
            for line, side, result in measure(place, options.lines, options.rounds):
                results.append((line, side, result))
                print(f"{line} {side}: {result}", file=sys.stderr, flush=True)
    print(table(results, options.lines))


if __name__ == "__main__":
    main()
