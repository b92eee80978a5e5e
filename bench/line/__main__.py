"""The benchmark of whole lines beside the real Kafka Connect, on a real broker.

    python -m bench.line                            all lines, both sides, three rounds or more
    python -m bench.line --lines sink-json age-1k   these alone
    python -m bench.line --peer none                Millrace alone; `only`: Kafka Connect alone

For each line Kafka Connect gets a fresh JVM and one run that does not count; then the sides run in turn, until what the
line is to reach is shown to be reached or missed (goals.py), but no longer than `--rounds-max`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.line import busy, latency, registry, start, throughput
from bench.line.goals import ROUNDS_A_MISS, rounds_of
from bench.line.results import WARM_ROUND, Result, write_csv
from bench.line.sides import BARE, LOOP, ConnectSide, MillraceSide, ProgramSide, Side
from bench.line.table import markdown, write_readme
from bench.line.throughput import Place
from tests.harness.kafka import KafkaServer

README = Path(__file__).parent.parent / "README.md"
Line = throughput.ThroughputLine | latency.LatencyLine | start.StartLine | busy.BusyLine | registry.RegistryLine
#: Those with a registry come last: it stays until the end, and the others are measured without it.
ALL_LINES: tuple[Line, ...] = (*throughput.LINES, *latency.LINES, *start.LINES, *busy.LINES, *registry.LINES)
LINES = {line.name: line for line in ALL_LINES}


def main() -> None:
    """Measure, then print the tables and write what was asked for."""
    options = _options()
    results: list[Result] = []
    with contextlib.ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))
        bootstrap = servers.enter_context(_bootstrap(options, folder))
        place = Place(bootstrap, folder, options.records, servers)
        for line in options.lines:
            for result in _measure(LINES[line], place, options):
                results.append(result)
                print(_told(result), file=sys.stderr, flush=True)
                if options.csv:
                    write_csv(results, options.csv)
    table = markdown(results, options.records)
    print(table)
    if options.readme:
        write_readme(README, table)


def _measure(line: Line, place: Place, options: argparse.Namespace) -> Iterator[Result]:
    line.prepare(place)
    sides = list(_sides(line, place, options.peer))
    results: list[Result] = []
    try:
        for side in sides:
            # Millrace compiles nothing while it runs, and each of its runs is a new process: it has no warm state.
            if isinstance(side, ConnectSide) and not isinstance(line, start.StartLine):
                line.run(side, place, WARM_ROUND)
        for number in rounds_of(line.name, line.goals, results, options.rounds, options.rounds_max):
            for side in sides if number % 2 else reversed(sides):
                results.append(line.run(side, place, number))
                yield results[-1]
    finally:
        for side in sides:
            side.close()


def _sides(line: Line, place: Place, peer: str) -> Iterator[Side]:
    if peer != "none" and not isinstance(line, registry.RegistryLine):
        yield ConnectSide(place.bootstrap, place.folder / f"connect-{line.name}")
    if peer != "only":
        yield MillraceSide(place.bootstrap, place.folder / f"millrace-{line.name}")
    if isinstance(line, latency.LatencyLine):
        yield ProgramSide(BARE, place.bootstrap, "topics", "file")
    if isinstance(line, registry.RegistryLine):
        yield ProgramSide(LOOP, place.bootstrap, "topics", "file", registry.URL_KEY)


@contextlib.contextmanager
def _bootstrap(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    if options.bootstrap:
        yield options.bootstrap
        return
    with KafkaServer(folder / "kafka", is_measured=True) as broker:
        yield broker.bootstrap


def _told(result: Result) -> str:
    measured = {
        "records/s": result.rate_per_s,
        "us CPU a record": result.cpu_us_per_record,
        "MB PSS": result.peak_pss_mb,
        "ms p50": result.age_p50_ms,
        "ms p99": result.age_p99_ms,
        "s to REST": result.ready_s,
        "s to first record": result.first_record_s,
    }
    told = ", ".join(f"{value:,.2f} {unit}" for unit, value in measured.items() if value is not None)
    return f"{result.line} {result.side} {result.round}: {told}"


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.line", description="Lines beside the real Kafka Connect.")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES), metavar="LINE", help=", ".join(LINES))
    parser.add_argument("--records", type=int, default=2_000_000, help="of a run that goes as fast as it can")
    parser.add_argument("--rounds", type=int, default=3, help="of a line, at least")
    parser.add_argument(
        "--rounds-max", type=int, help="while a goal is not shown; twice --rounds if not given, from three on"
    )
    parser.add_argument("--peer", choices=("connect", "none", "only"), default="connect")
    parser.add_argument("--bootstrap", help="use these brokers instead of starting one")
    parser.add_argument("--csv", type=Path, help="write every run here, one line each")
    parser.add_argument("--readme", action="store_true", help=f"put the tables into {README.name}")
    options = parser.parse_args(arguments)
    if options.rounds_max is None:
        # Fewer rounds than show anything are a look, which is to be short.
        options.rounds_max = options.rounds * (2 if options.rounds >= ROUNDS_A_MISS else 1)
    if not 1 <= options.rounds <= options.rounds_max:
        parser.error(f"--rounds {options.rounds} is not between 1 and --rounds-max {options.rounds_max}")
    return options


if __name__ == "__main__":
    main()
