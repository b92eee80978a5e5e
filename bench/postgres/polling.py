"""The rows of a table into a topic by polling, beside a loop that a person would write (poll_loop.py).

    python -m bench.postgres.polling                                       500,000 rows, three rounds
    python -m bench.postgres.polling --batches 10 100 500 2000 10000       a table by batch size, of shorter runs

Rows are found by their number (mode=incrementing): the loop asks for as many at once as Millrace has in a batch
(batch.max.rows). Both write JSON without keys into a topic of 4 partitions. The sides run in turn, the order changing
from round to round, after a run that is not counted. The rows are the orders of bench.line; a run is reported when the
topic has each of them once, as it is in the table.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from bench.line.throughput import PARTITIONS, end_of
from bench.line.watch import Curve, watch
from bench.postgres.orders import TABLE, check, fill
from bench.postgres.sourced import into_topic
from tests.harness import topics
from tests.harness.kafka import KafkaServer
from tests.harness.postgres import PostgresServer

MILLRACE, LOOP = "millrace", "loop"
SIDES = (MILLRACE, LOOP)
END_S = 60.0
#: Of one batch size, and of each of several: a table takes some minutes then.
RECORDS = 500_000
RECORDS_OF_TABLE = 200_000


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


Found = tuple[int, str, Result]  # rows of a batch, side


def run(batch: int, side: str, place: Place, number: int) -> Result:
    """One run, measured and then checked. Raises AssertionError for a row that is not in the topic as it is."""
    name = f"{side}-{batch}-{number}"
    topic = f"{name}-{TABLE}"
    curve = (_millrace if side == MILLRACE else _loop)(batch, place, name, topic)
    check(place.bootstrap, topic, place.records, lambda message: message.value())
    topics.delete_topic(place.bootstrap, topic)
    return Result(curve.rate(place.records), curve.cpu_us(place.records), curve.pss_bytes_max / 1e6)


def _millrace(batch: int, place: Place, name: str, topic: str) -> Curve:
    config = {
        "connector.class": "PostgresPollingSource",
        "connection.url": place.postgres.url(),
        "mode": "incrementing",
        "incrementing.column.name": "id",
        "table.whitelist": TABLE,
        "topic.prefix": topic.removesuffix(TABLE),
        "batch.max.rows": str(batch),
    }
    records = place.records
    return into_topic(place.bootstrap, place.folder, name=name, topic=topic, records=records, config=config)


def _loop(batch: int, place: Place, name: str, topic: str) -> Curve:
    topics.create_topic(place.bootstrap, topic, partitions=PARTITIONS)
    arguments = [place.bootstrap, topic, place.postgres.url(), str(batch)]
    done = end_of(place.bootstrap, topic)
    with subprocess.Popen([sys.executable, "-m", "bench.postgres.poll_loop", *arguments]) as process:
        try:
            curve = watch(done, place.records, process.pid, lambda: "")
            code = process.wait(END_S)
        finally:
            process.kill()
    assert code == 0, f"{name} has ended with {code}"
    return curve


def measure(place: Place, batches: Sequence[int], rounds: int) -> Iterator[Found]:
    """Every run."""
    fill(place.postgres.url(), place.records)
    run(batches[-1], LOOP, place, 0)
    for batch in batches:
        for number in range(1, rounds + 1):
            for side in SIDES if number % 2 else reversed(SIDES):
                yield batch, side, run(batch, side, place, number)


def table(results: Sequence[Found], batches: Sequence[int]) -> str:
    """The medians, and the least and the largest ratio of a round."""

    def found(batch: int, side: str, value: Callable[[Result], float]) -> list[float]:
        return [value(result) for *named, result in results if named == [batch, side]]

    heads = ["rows a batch", "loop, rows/s", "Millrace", "ratio", "loop, us CPU a row", "Millrace"]
    heads += ["loop, MB PSS", "Millrace"]
    rows = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for batch in batches:
        loop, ours = (found(batch, side, lambda one: one.rate_per_s) for side in (LOOP, MILLRACE))
        ratios = [one / other for one, other in zip(ours, loop, strict=True)]
        cells = [f"{batch:,}", *(f"{statistics.median(rates):,.0f}" for rates in (loop, ours))]
        cells += [f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"]
        cells += [f"{statistics.median(found(batch, side, lambda one: one.cpu_us)):.2f}" for side in (LOOP, MILLRACE)]
        cells += [f"{statistics.median(found(batch, side, lambda one: one.pss_mb)):.0f}" for side in (LOOP, MILLRACE)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres.polling")
    parser.add_argument("--batches", type=int, nargs="+", default=[2000], help="rows of a batch, at most")
    parser.add_argument("--records", type=int, help=f"{RECORDS}; of several batch sizes, {RECORDS_OF_TABLE}")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    records = options.records or (RECORDS if len(options.batches) == 1 else RECORDS_OF_TABLE)
    results = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder_name:
        folder = Path(folder_name)
        with KafkaServer(folder / "kafka", is_measured=True) as broker, PostgresServer(folder / "postgres") as postgres:
            place = Place(broker.bootstrap, postgres, folder, records)
            for batch, side, result in measure(place, options.batches, options.rounds):
                results.append((batch, side, result))
                print(f"{batch} {side}: {result}", file=sys.stderr, flush=True)
    print(table(results, options.batches))


if __name__ == "__main__":
    main()
