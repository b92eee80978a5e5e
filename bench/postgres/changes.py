"""The changes of a table into a topic, beside `pg_recvlogical` into nothing, on a real server and broker.

    python -m bench.postgres.changes                                  all lines, 500,000 changes, three rounds
    python -m bench.postgres.changes --lines single --records 100000 --rounds 1
    python -m bench.postgres.changes --batches 10 100 500 2048 10000  a table by batch size, of shorter runs

    bulk      inserts, 1,000 rows a transaction
    single    inserts, one row a transaction
    mixed     inserts, updates, deletes, 1,000 changes a transaction: 5 to 3 to 2

The peer reads the same publication by the same plugin, and throws away what it gets: what the server can give to one
reader, and no more work than that; it knows no batches, and has one turn a round. All read copies of one slot, in turn,
the order changing from round to round. A run
is reported when the topic has as many records as there were changes, and makes of them the table as it is.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
from msgspec import Struct
from msgspec.json import decode

from bench.line.watch import Curve, watch
from bench.postgres.sourced import captured, messages
from connectors.postgres.source.pgoutput import lsn_of
from tests.harness import topics
from tests.harness.kafka import KafkaServer
from tests.harness.postgres import PostgresServer, programs

LINES = ("bulk", "single", "mixed")
PEER = "pg_recvlogical"
PEERS = 0  # batches of the peer
BATCH = 2048
#: Of one batch size, and of each of several: a table takes some minutes then.
RECORDS = 500_000
RECORDS_OF_TABLE = 100_000
ORIGIN = "origin"  # the slot that the others are copies of
BLOCK = 1_000
READ_AT_ONCE = 20_000
TABLE = """
CREATE TABLE {name} (id bigint PRIMARY KEY, customer text, item text, quantity integer, price double precision,
    express boolean, note text);
CREATE PUBLICATION {name} FOR TABLE {name}
"""
ROWS = """
SELECT n, 'customer ' || n % 1000, 'item ' || n % 77, (n % 100)::int, n * 0.25, n % 2 = 0,
    'a note of order ' || n || ' that is a little longer'
"""
FILL = """
CREATE PROCEDURE fill_{name} (total int) LANGUAGE plpgsql AS $$
BEGIN
    FOR at IN 0 .. total - 1 BY {size} LOOP
        {statements}
        COMMIT;
    END LOOP;
END $$
"""
#: Of a transaction; `at` is how many changes there were before.
STATEMENTS = {
    "bulk": f"INSERT INTO bulk {ROWS} FROM generate_series(at + 1, at + {BLOCK}) n;",
    "single": f"INSERT INTO single {ROWS} FROM generate_series(at + 1, at + 1) n;",
    "mixed": f"""
        INSERT INTO mixed {ROWS} FROM generate_series(at + 1, at + {BLOCK // 2}) n;
        UPDATE mixed SET quantity = quantity + 1, note = note || '!' WHERE id BETWEEN at + 1 AND at + {3 * BLOCK // 10};
        DELETE FROM mixed WHERE id BETWEEN at + 1 AND at + {BLOCK // 5};
    """,
}


class Place(Struct, frozen=True):
    """Where it runs."""

    bootstrap: str
    postgres: PostgresServer
    folder: Path
    records: int

    @property
    def goal(self) -> int:
        """The end of what was written."""
        return lsn_of(self.postgres.query("SELECT goal FROM goals")[0][0])


class Result(Struct, frozen=True):
    """Of one run."""

    rate_per_s: float
    cpu_us: float  # of a change: the side's processes, without broker and server
    pss_mb: float


def fill(place: Place, line: str) -> None:
    """Make a table and its changes, kept by a slot that nobody reads."""
    query = place.postgres.query
    query(TABLE.format(name=line))
    query("DROP TABLE IF EXISTS goals")
    query(f"SELECT pg_create_logical_replication_slot('{ORIGIN}', 'pgoutput')")
    size = 1 if line == "single" else BLOCK
    query(FILL.format(name=line, size=size, statements=STATEMENTS[line]))
    query(f"CALL fill_{line}({place.records})")
    query("CREATE TABLE goals AS SELECT pg_current_wal_lsn()::text AS goal")
    query("CHECKPOINT")


Found = tuple[str, int, Result]  # line, changes of a batch


def run(line: str, batch: int, place: Place, number: int) -> Result:
    """One run, measured and then checked. Raises AssertionError for a topic that is not as the table says.

    batch: PEERS: of the peer.
    """
    slot = f"{line}_{batch}_{number}"
    place.postgres.query(f"SELECT pg_copy_logical_replication_slot('{ORIGIN}', '{slot}')")
    curve = _peer(line, place, slot) if batch == PEERS else _millrace(line, batch, place, slot)
    place.postgres.query(f"SELECT pg_drop_replication_slot('{slot}')")
    scale = place.records
    return Result(curve.rate(scale), curve.cpu_us(scale), curve.pss_bytes_max / 1e6)


def _peer(line: str, place: Place, slot: str) -> Curve:
    start, goal = lsn_of(place.postgres.query(_slot("confirmed_flush_lsn", slot))[0][0]), place.goal
    server = ["-h", "127.0.0.1", "-p", str(place.postgres.port), "-U", "postgres", "-d", "postgres"]
    options = ["-o", "proto_version=1", "-o", f"publication_names={line}", "-f", "/dev/null", "-S", slot, "--start"]
    command = [str(programs() / "pg_recvlogical"), *server, *options, "--no-loop"]
    process = subprocess.Popen(command)
    with psycopg.connect(place.postgres.url(), autocommit=True) as connection:

        def done() -> int:
            rows = connection.execute("SELECT sent_lsn::text FROM pg_stat_replication").fetchall()
            return min(max(0, lsn_of(rows[0][0]) - start), goal - start) if rows and rows[0][0] else 0

        try:
            return watch(done, goal - start, process.pid, lambda: "")
        finally:
            process.terminate()
            process.wait()


def _millrace(line: str, batch: int, place: Place, slot: str) -> Curve:
    keys = {"publication.name": line, "publication.autocreate.mode": "disabled", "snapshot.mode": "no_data"}
    keys["max.batch.size"] = str(batch)
    url = place.postgres.url()
    topic, curve = captured(place.bootstrap, place.folder, url, name=slot, table=line, records=place.records, keys=keys)
    check(place, line, topic)
    topics.delete_topic(place.bootstrap, topic)
    return curve


def check(place: Place, line: str, topic: str) -> None:
    """Raises AssertionError unless the topic has a record for each change, and makes the table as it is."""
    made: dict[int, int] = {}  # what each row is, as a hash
    count = 0
    for message in messages(place.bootstrap, topic):
        count += 1
        key, value = decode(message.key())["id"], message.value()
        if value is None:
            del made[key]
        else:
            made[key] = hash(tuple(decode(value).values()))
    assert count == place.records, f"{topic}: {count} records of {place.records} changes"
    with psycopg.connect(place.postgres.url()) as connection, connection.cursor(f"rows_of_{line}") as cursor:
        cursor.itersize = READ_AT_ONCE
        for row in cursor.execute(f"SELECT * FROM {line}"):
            assert made.pop(row[0], None) == hash(row), f"{topic}: row {row[0]} is not as it was told last"
    assert not made, f"{topic}: {len(made)} rows that are not in the table"


def _slot(column: str, name: str) -> str:
    return f"SELECT {column}::text FROM pg_replication_slots WHERE slot_name = '{name}'"


def measure(place: Place, lines: Sequence[str], batches: Sequence[int], rounds: int) -> Iterator[Found]:
    """Every run."""
    turn = [PEERS, *batches]
    for line in lines:
        fill(place, line)
        for number in range(1, rounds + 1):
            for batch in turn if number % 2 else reversed(turn):
                yield line, batch, run(line, batch, place, number)
        place.postgres.query(f"SELECT pg_drop_replication_slot('{ORIGIN}')")


def table(results: Sequence[Found], lines: Sequence[str], batches: Sequence[int]) -> str:
    """The medians, and the least and the largest ratio of a round."""

    def found(line: str, batch: int, value: Callable[[Result], float]) -> list[float]:
        return [value(result) for *named, result in results if named == [line, batch]]

    heads = ["line", "changes a batch", "pg_recvlogical, changes/s", "Millrace", "ratio", "aim"]
    heads += ["Millrace, us CPU a change", "MB PSS"]
    rows = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for line in lines:
        theirs = found(line, PEERS, lambda one: one.rate_per_s)
        peer = statistics.median(theirs)
        for batch in batches:
            rates = found(line, batch, lambda one: one.rate_per_s)
            ratios = [one / other for one, other in zip(rates, theirs, strict=True)]
            ours = statistics.median(rates)
            cells = [f"changes -> topic, {line}", f"{batch:,}", f"{peer:,.0f}", f"{ours:,.0f}"]
            cells += [f"**{ours / peer:.2f}** ({min(ratios):.2f} to {max(ratios):.2f})", "0.6"]
            cells += [f"{statistics.median(found(line, batch, lambda one: one.cpu_us)):.2f}"]
            cells += [f"{statistics.median(found(line, batch, lambda one: one.pss_mb)):.0f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres.changes")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=LINES)
    parser.add_argument("--batches", type=int, nargs="+", default=[BATCH], help="changes of a batch, at most")
    parser.add_argument(
        "--records",
        type=int,
        help=f"changes, a multiple of 1,000: {RECORDS}; of several batch sizes, {RECORDS_OF_TABLE}",
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    records = options.records or (RECORDS if len(options.batches) == 1 else RECORDS_OF_TABLE)
    results = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        with KafkaServer(folder / "kafka", is_measured=True) as broker, PostgresServer(folder / "postgres") as postgres:
            place = Place(broker.bootstrap, postgres, folder, records)
            for line, batch, result in measure(place, options.lines, options.batches, options.rounds):
                results.append((line, batch, result))
                side = PEER if batch == PEERS else f"batches of {batch}"
                print(f"{line}, {side}: {result}", file=sys.stderr, flush=True)
    print(table(results, options.lines, options.batches))


if __name__ == "__main__":
    main()
