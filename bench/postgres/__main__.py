"""A topic into a table of PostgreSQL, beside a loop that a person would write (loop.py), on a real broker and server.

    python -m bench.postgres                                   both lines, three rounds
    python -m bench.postgres --lines append --records 1000000 --rounds 5
    python -m bench.postgres --batches 100 500 2000 10000      a table by batch size, of shorter runs

    append    insert.mode=insert, a table without a key
    upsert    insert.mode=upsert by the id; of every second record the row is there already, with other content

The sides run in turn, the order changing from round to round, after a run that is not counted: the broker is a JVM that
has given nobody anything yet. How far one is, it says itself once a batch, when the
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
#: Of one batch size, and of each of several: a table takes some minutes then.
RECORDS = 1_000_000
RECORDS_OF_TABLE = 150_000


class Case(Struct, frozen=True):
    """What both sides do."""

    line: str
    batch: int  # the most records of one transaction


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


def run(case: Case, side: str, place: Place, number: int) -> Result:
    """One run, measured and then checked. Raises AssertionError when a row is not what it should be."""
    database = f"{case.line}_{case.batch}_{side}_{number}"
    place.postgres.query(f"CREATE DATABASE {database}")
    place.postgres.query(TABLE, database)
    if case.line == "upsert":
        place.postgres.query(OLD_ROWS.format(last=place.records - 1), database)
        place.postgres.query("ALTER TABLE orders ADD PRIMARY KEY (id)", database)
    place.postgres.query("CHECKPOINT")
    watched = _millrace if side == MILLRACE else _loop
    curve = watched(case, place, database)
    check(place, database)
    place.postgres.query(f"DROP DATABASE {database} WITH (FORCE)")
    return Result(curve.rate(place.records), curve.cpu_us(place.records), curve.pss_bytes_max / 1e6)


def _millrace(case: Case, place: Place, database: str) -> Curve:
    side = MillraceSide(place.bootstrap, place.folder / database)
    config = {
        "connector.class": "connectors.postgres.sink:PostgresSinkConnector",
        "topics": TOPIC,
        "connection.url": place.postgres.url(database),
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
        "consumer.override.max.poll.records": str(case.batch),
        **(KEYED if case.line == "upsert" else {}),
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


def _loop(case: Case, place: Place, database: str) -> Curve:
    file = place.folder / f"{database}.tally"
    arguments = [place.bootstrap, TOPIC, place.postgres.url(database), str(file), case.line, str(case.batch)]
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


def measure(place: Place, cases: Sequence[Case], rounds: int) -> Iterator[tuple[Case, str, Result]]:
    """Every run."""
    topics.create_topic(place.bootstrap, TOPIC, partitions=PARTITIONS)
    fill_topic(place.bootstrap, TOPIC, JSON, place.records, PARTITIONS)
    run(cases[-1], LOOP, place, 0)
    for case in cases:
        for number in range(1, rounds + 1):
            for side in SIDES if number % 2 else reversed(SIDES):
                yield case, side, run(case, side, place, number)


def table(results: Sequence[tuple[Case, str, Result]], cases: Sequence[Case]) -> str:
    """The medians, and the least and the largest ratio of a round."""

    def found(case: Case, side: str, value: Callable[[Result], float]) -> list[float]:
        return [value(result) for *named, result in results if named == [case, side]]

    heads = ["line", "rows a batch", "loop, rows/s", "Millrace", "ratio", "aim"]
    heads += ["loop, us CPU a row", "Millrace", "loop, MB PSS", "Millrace"]
    rows = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for case in cases:
        loop, ours = (found(case, side, lambda one: one.rate_per_s) for side in (LOOP, MILLRACE))
        ratios = [one / other for one, other in zip(ours, loop, strict=True)]
        middles = [statistics.median(rates) for rates in (loop, ours)]
        cells = [f"topic -> PostgreSQL, {case.line}", f"{case.batch:,}", *(f"{rate:,.0f}" for rate in middles)]
        cells += [f"**{middles[1] / middles[0]:.2f}** ({min(ratios):.2f} to {max(ratios):.2f})", "0.9"]
        cells += [f"{statistics.median(found(case, side, lambda one: one.cpu_us)):.2f}" for side in (LOOP, MILLRACE)]
        cells += [f"{statistics.median(found(case, side, lambda one: one.pss_mb)):.0f}" for side in (LOOP, MILLRACE)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=LINES)
    parser.add_argument(
        "--records", type=int, help=f"{RECORDS}; where several batch sizes are asked for, {RECORDS_OF_TABLE}"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[10_000], help="records of a batch, at most")
    options = parser.parse_args()
    cases = [Case(line, batch) for line in options.lines for batch in options.batches]
    records = options.records or (RECORDS if len(options.batches) == 1 else RECORDS_OF_TABLE)
    results = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        with KafkaServer(folder / "kafka", is_measured=True) as broker, PostgresServer(folder / "postgres") as postgres:
            place = Place(broker.bootstrap, postgres, folder, records)
            for case, side, result in measure(place, cases, options.rounds):
                results.append((case, side, result))
                print(f"{case} {side}: {result}", file=sys.stderr, flush=True)
    print(table(results, cases))


if __name__ == "__main__":
    main()
