"""Makes topics and tables, runs the pipeline, and asks Cassandra what has become of the goods: python kongo.py.

Where Kafka and Cassandra are, and who may write, is read in pipeline.toml.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

HERE = Path(__file__).parent
PARTITIONS = 4
SHOWN = 5


def main() -> int:
    """The exit code of the run."""
    pipeline = tomllib.loads((HERE / "pipeline.toml").read_text())
    connector = pipeline["connectors"]["cassandra"]
    make_topics(pipeline["worker"]["bootstrap"]["servers"], connector["topics"].split(","))
    login = PlainTextAuthProvider(connector["username"], connector["password"]) if "username" in connector else None
    cluster = Cluster(connector["contact"]["points"].split(","), port=connector["port"], auth_provider=login)
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


def make_topics(bootstrap: str, names: list[str]) -> None:
    """Make those that are not there; of the goods the last place alone is kept."""
    policies = {name: "compact" if name.endswith("-goods") else "delete" for name in names}
    wanted = [NewTopic(name, PARTITIONS, config={"cleanup.policy": policy}) for name, policy in policies.items()]
    admin = AdminClient({"bootstrap.servers": bootstrap})  # what it has promised, it must live to give
    for made in admin.create_topics(wanted).values():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def without_comments(text: str) -> str:
    """The statements alone."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def tell(session: Any) -> None:
    """Print what the tables say."""
    goods = session.execute("SELECT place FROM kongo.goods").all()
    kinds = Counter(row[0].partition("-")[0] for row in goods)
    where = f"{kinds['warehouse']} in warehouses, {kinds['truck']} in trucks"
    print(f"goods that are not delivered yet: {len(goods)} ({where})")
    (readings,) = session.execute("SELECT count(*) FROM kongo.readings").one()
    print(f"readings: {readings}")
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
