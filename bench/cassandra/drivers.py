"""The same loop with different drivers, each by the Python of an environment that has it.

    python -m bench.cassandra.drivers venv-of-cassandra-driver/bin/python venv-of-scylla-driver/bin/python

Each round runs all of them one after the other, the next round in the other order, against one server that had a run
before; each run writes a table of its own, which is read whole. Prints medians: rows a second, CPU of the client in
microseconds a row. What the loop is says driver.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.cassandra.rows import check_table, create_table
from tests.harness.cassandra import CassandraServer
from tests.shape.tree import ROOT

JAVA_OPTIONS = ("-XX:+UseG1GC",)
END_S = 170.0


def main() -> None:
    """Measure them in turn, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.cassandra.drivers", description="One loop, several drivers.")
    parser.add_argument("pythons", nargs="+", help="of environments that have a driver each")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=100, help="in a batch; 1: no batches")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {python: [] for python in options.pythons}
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
        CassandraServer(Path(folder), JAVA_OPTIONS, is_synced=False) as server,
        server.session() as session,
    ):

        def run(python: str, table: str) -> tuple[float, float]:
            create_table(session, table)
            place = (server.host, str(server.port), *server.login, table, str(options.records), str(options.rows))
            command = [python, "-m", "bench.cassandra.driver", *place]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, timeout=END_S)
            told = json.loads(done.stdout)
            check_table(session, table, options.records)
            session.execute(f"DROP TABLE bench.{table}", timeout=None)
            return options.records / told["seconds"], told["cpu_s"] / options.records * 1e6

        for number, python in enumerate(options.pythons):
            run(python, f"warm{number}")
        for number in range(options.rounds):
            for python in options.pythons if number % 2 == 0 else reversed(options.pythons):
                rate, cpu = run(python, f"orders{number}")
                found[python].append((rate, cpu))
                print(f"{python}: {rate:,.0f} rows/s, CPU us a row {cpu:.1f}", file=sys.stderr, flush=True)
    for python, results in found.items():
        rates, cpus = zip(*results, strict=True)
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}; {min(cpus):.1f} to {max(cpus):.1f}"
        print(f"{python}: {median(rates):,.0f} rows/s, CPU us a row {median(cpus):.1f} ({spread})")


if __name__ == "__main__":
    main()
