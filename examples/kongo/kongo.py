"""Makes the tables, runs the pipeline, and asks Cassandra what has become of the goods.

python kongo.py [--cassandra HOST:PORT]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from cassandra.cluster import Cluster

HERE = Path(__file__).parent
SHOWN = 5


def main() -> int:
    """The exit code of the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cassandra", default="localhost:9042", help="where Cassandra is; Kafka is in pipeline.toml")
    host, _, port = parser.parse_args().cassandra.rpartition(":")
    cluster = Cluster([host], port=int(port))
    try:
        session = cluster.connect()
        for statement in without_comments((HERE / "tables.cql").read_text()).split(";"):
            if statement.strip():
                session.execute(statement)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])}
        # The command `millrace`, whatever the PATH says.
        command = [sys.executable, "-m", "engine.cli", "run", "pipeline.toml"]
        code = subprocess.run(command, cwd=HERE, env=environment, check=False).returncode
        if code == 0:
            tell(session)
        return code
    finally:
        cluster.shutdown()


def without_comments(text: str) -> str:
    """The statements alone."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def tell(session: Any) -> None:
    """Print what the tables say."""
    goods = session.execute("SELECT place FROM kongo.goods").all()
    kinds = Counter(row[0].partition("-")[0] for row in goods)
    where = f"{kinds['warehouse']} in warehouses, {kinds['truck']} in trucks"
    print(f"goods that are not delivered yet: {len(goods)} ({where})")
    print(f"readings: {session.execute('SELECT count(*) FROM kongo.readings').one()[0]}")
    worst = Counter(row[0] for row in session.execute("SELECT goods FROM kongo.violations"))
    places = Counter(row[0] for row in session.execute("SELECT place FROM kongo.violations_of_place"))
    print(f"violations: {sum(worst.values())}, by place: {sum(places.values())}")
    for name, count in worst.most_common(SHOWN):
        last = session.execute(
            "SELECT at, place, metric, value, allowed FROM kongo.violations WHERE goods = %s ORDER BY at DESC LIMIT 1",
            (name,),
        ).one()
        read = f"{last[2]} {last[3]:.1f}, allowed {last[4]}"
        print(f"  {name}: {count}; last at {last[0]:%Y-%m-%d %H:%M} in {last[1]}: {read}")


if __name__ == "__main__":
    sys.exit(main())
