"""Runs examples with the servers that they need, and stops those at the end: python examples NAME...

    examples/ ──► a copy in a temporary folder ──► the lines of STEPS, each in the folder of its example
                  localhost:9092 and the like in its files become the addresses of the servers

What an example's files name is started as the tests start it, or is there already (--kafka, --postgres, --cassandra).
Several examples share the servers, one after another. Ctrl-C and TERM end all of it.

Not here: how a server is started (tests/harness/kafka.py, tests/harness/postgres.py, tests/harness/cassandra.py).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

# At the end, so that the installed engine, if there is one, is the one that runs.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.kafka import KafkaServer
from tests.harness.postgres import PostgresServer, programs
from tests.harness.server import Server, UnavailableError

HERE = Path(__file__).resolve().parent
#: What is done with each, in lines of a shell that stand in its README, too.
STEPS = {
    "demo": ("millrace run pipeline.toml", "millrace run pipeline.toml"),
    "file-to-topic": (
        "millrace run worker.properties connect-file-source.properties",
        "millrace try worker.properties ../topic-to-file/connect-file-sink.properties --topic connect-test",
    ),
    "kongo": ("python kongo.py", "python kongo.py"),
    "plugin": ("millrace run pipeline.toml", "head outbox/*"),
    "postgres": (
        "psql -f table.sql",
        "millrace run pipeline.toml",
        "psql -c 'SELECT count(*), count(DISTINCT sequence) FROM orders'",
        "psql -c 'SELECT * FROM orders LIMIT 5'",
        "psql -c 'SELECT * FROM millrace_offsets'",
    ),
    "postgres-changes": (
        "psql -f table.sql",
        "millrace run pipeline.toml",
        "psql -f changes.sql",
        "millrace run pipeline.toml",
        "psql -c 'SELECT * FROM goods_copy ORDER BY id DESC LIMIT 5'",
        "psql -c 'SELECT (SELECT count(*) FROM goods) AS goods, (SELECT count(*) FROM goods_copy) AS copied'",
    ),
    "toml-pipeline": (
        "millrace run pipeline.toml",
        "cat copy.txt",
        "echo Istanbul >> cities.txt",
        "millrace run pipeline.toml",
        "cat copy.txt",
    ),
    "topic-to-file": ("millrace run worker.properties connect-file-sink.properties", "cat test.sink.txt"),
}
#: Where the files say that servers are, and Kafka Connect's own that offsets are.
KAFKA = "localhost:9092"
POSTGRES = "postgresql://postgres@localhost:5432/shop"
CASSANDRA = 'contact.points = "localhost"\nport = 9042\n'
OFFSETS = "/tmp/connect.offsets"  # noqa: S108  it is what is replaced
SUFFIXES = (".toml", ".properties")
#: What runs in the folders themselves have left there.
LEFT = ("*.millrace.db*", "__pycache__", "copy.txt", "outbox", "test.sink.txt")

Started = TypeVar("Started", bound=Server)


def main() -> int:
    """The exit code of the first line that fails, 0 if none does."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="millrace-examples-") as place, ExitStack() as servers:
            shutil.copytree(HERE, place, ignore=shutil.ignore_patterns(*LEFT), dirs_exist_ok=True)
            folders = [Path(place, name) for name in given.names]
            replace(folders, given.replace)
            environment = prepare(folders, given, servers)
            codes = (run(line, folder, environment) for folder in folders for line in STEPS[folder.name])
            return next(filter(None, codes), 0)
    except UnavailableError as error:
        print(f"{error} (python examples --help: how to use a server of yours)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python examples", description="Runs examples with the servers they need.")
    parser.add_argument("names", nargs="+", choices=STEPS, metavar="NAME", help=", ".join(STEPS))
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker of yours, instead of one that is started")
    parser.add_argument("--postgres", metavar="URL", help="the same: of a database for the example's tables")
    parser.add_argument("--cassandra", metavar="USER:PASSWORD@HOST:PORT", help="the same")
    parser.add_argument(
        "--replace", nargs=2, action="append", default=[], metavar=("OLD", "NEW"),
        help="a text in the example's files and another: for names on servers of yours",
    )  # fmt: skip
    given = parser.parse_args()
    text = "".join(path.read_text() for path in files(HERE / name for name in given.names))
    for old, _ in given.replace:
        if old not in text:
            parser.error(f"{old!r} stands in no file of {', '.join(given.names)}")
    return given


def prepare(folders: Sequence[Path], given: argparse.Namespace, servers: ExitStack) -> dict[str, str]:
    """Start what the files name, and name it there as it is; the environment for STEPS, in which psql finds its server.

    Raises UnavailableError where a server cannot be started.
    """
    place = folders[0].parent
    text = "".join(path.read_text() for path in files(folders))
    texts = [(OFFSETS, str(place / "offsets"))]
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PAGER": "cat"}
    if KAFKA in text:
        texts += [(KAFKA, given.kafka or started(KafkaServer(place / "kafka"), servers).bootstrap)]
    if POSTGRES in text:
        url = given.postgres
        if url is None:
            path.insert(1, str(programs()))
            url = started(PostgresServer(place / "postgresql"), servers).url()
        texts += [(POSTGRES, url)]
        environment |= of_psql(url)
    if CASSANDRA in text:
        address = given.cassandra
        cassandra = UserCassandra(address) if address else started(CassandraServer(place / "cassandra"), servers)
        username, password = cassandra.login
        login = f'username = "{username}"\npassword = "{password}"\n'
        texts += [(CASSANDRA, f'contact.points = "{cassandra.host}"\nport = {cassandra.port}\n{login}')]
    replace(folders, texts)
    modules = os.pathsep.join(filter(None, [".", environment.get("PYTHONPATH")]))
    return environment | {"PATH": os.pathsep.join(path), "PYTHONPATH": modules}


def started(server: Started, servers: ExitStack) -> Started:
    """The server, once it serves, and until the end."""
    print(f"{server.name} is started ...", flush=True)
    servers.push(server)
    return server.start()


def of_psql(url: str) -> dict[str, str]:
    """The variables by which psql finds a database."""
    parts = urlsplit(url)
    names = {
        "PGHOST": parts.hostname,
        "PGPORT": parts.port,
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
        "PGDATABASE": parts.path.removeprefix("/"),
    }
    return {name: str(value) for name, value in names.items() if value}


def files(folders: Iterable[Path]) -> list[Path]:
    """Those that may name servers."""
    return [path for folder in folders for path in folder.iterdir() if path.suffix in SUFFIXES]


def replace(folders: Iterable[Path], texts: Iterable[tuple[str, str]]) -> None:
    """In all their files, one text after another."""
    for path in files(folders):
        text = path.read_text()
        for old, new in texts:
            text = text.replace(old, new)
        path.write_text(text)


def run(line: str, folder: Path, environment: Mapping[str, str]) -> int:
    """Its exit code. Whoever stops us has stopped it as well by the time this raises."""
    print(f"\n{folder.name}$ {line}", flush=True)
    # exec: the process is the program, not the shell.
    with subprocess.Popen(f"exec {line}", shell=True, cwd=folder, env=environment) as process:  # noqa: S602  lines of ours
        try:
            return process.wait()
        except KeyboardInterrupt:  # which the terminal has sent to both
            process.wait()
            raise
        except SystemExit:
            process.terminate()
            raise


if __name__ == "__main__":
    sys.exit(main())
