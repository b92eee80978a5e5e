"""A real PostgreSQL on loopback, from the programs that are installed; 2 s from start to ready.

    with PostgresServer(folder) as postgres:
        postgres.url()             "postgresql://postgres@127.0.0.1:45123/postgres"
        postgres.kill9()           as a machine that fails
        postgres.start()           the same data on the same port
        postgres.standby(folder)   another server, which follows this one and may take its place

Everybody is trusted but the user `limited`, who has a password and no rights. PostgreSQL refuses to run as root: then
its own user does, over a folder of its own, since those of tests are closed to it.

Used by: the fixtures `postgres` and `database` (tests/conftest.py), examples.__main__.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from tests.harness import wait
from tests.harness.server import Server, UnavailableError, answers, free_ports, require

__all__ = ["DATABASE", "LIMITED", "PASSWORD", "PostgresServer", "programs"]

DATABASE = "postgres"  # that every server has
LIMITED = "limited"
PASSWORD = "let me in"
INIT_S = 120.0
ASK_S = 2
USER = "postgres"
#: What is written survives the end of a process, not that of the machine.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "50",
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
}


class PostgresServer(Server):
    """A server of ours; data and port stay the same from start to start."""

    name = "postgres"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1)
        self._programs = programs()
        self._is_root = os.geteuid() == 0
        self._own: Path | None = None
        if self._is_root:
            user = _user()
            self._own = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
            os.chown(self._own, user.pw_uid, user.pw_gid)
        self.data = (self._own or folder) / "data"

    def url(self, database: str = DATABASE, user: str = USER) -> str:
        """As `connection.url` takes it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def url_with(self, other: PostgresServer) -> str:
        """As `url`, of whichever of the two answers."""
        return f"postgresql://{USER}@127.0.0.1:{self.port},127.0.0.1:{other.port}/{DATABASE}"

    def command(self) -> Sequence[str]:
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.data.parent)}
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [*self._as_user(), str(self._programs / "postgres"), "-D", str(self.data), *options]

    def is_ready(self) -> bool:
        psycopg = _psycopg()
        return answers(lambda: psycopg.connect(self.url(), connect_timeout=ASK_S).close(), psycopg.OperationalError)

    def launch(self) -> None:
        _psycopg()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._make_data()
        super().launch()

    def stop(self) -> None:
        self._end(signal.SIGINT)  # TERM would wait for those who are connected

    def ask_to_stop(self) -> None:
        """As `stop`, without waiting for the end."""
        os.kill(self.pid, signal.SIGINT)

    def standby(self, folder: Path) -> Self:
        """A second server, which has all that this one has and streams what comes; to be started, and stopped first.

        It answers queries, and refuses to write until it is promoted.
        """
        made = type(self)(folder)
        made.folder.mkdir(parents=True, exist_ok=True)
        server = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        options = ["-R", "-c", "fast", "--no-sync", "-D", str(made.data)]
        made.run_program("pg_basebackup", *server, *options)
        return made

    def wait_streaming(self) -> None:
        """Return when a standby has all that was written here before the call."""
        end = self.query("SELECT pg_current_wal_lsn()")[0][0]
        has_all = f"SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= '{end}'"
        wait.until(lambda: self.query(has_all), "a standby that has all")

    def cut_off(self) -> None:
        """Have a standby hear no more of its primary."""
        self.query("ALTER SYSTEM SET primary_conninfo = ''")
        self.query("SELECT pg_reload_conf()")
        wait.until(lambda: not self.query("SELECT 1 FROM pg_stat_wal_receiver"), "the end of streaming")

    def promote(self) -> None:
        """Have a standby take writes, whether its primary is there or not. Returns when it does."""
        self.query("SELECT pg_promote()")
        wait.until(lambda: not self.query("SELECT pg_is_in_recovery()")[0][0], "the promotion")

    def own(self, folder: Path) -> None:
        """Give a copy of the data to whom the server runs as."""
        if self._is_root:
            user = _user()
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def kill9(self) -> None:
        children = self._children()
        super().kill9()
        wait.until(lambda: not any(child.is_running() for child in children), "end of the server's processes")

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    def query(self, statement: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """The rows of a statement, of which there may be none; committed."""
        with _psycopg().connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            found: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
            return found

    def empty(self) -> None:
        """End who is connected, and drop all tables: a hundred times as fast as a new database."""
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        self.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC")

    def _children(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return list(psutil.Process(self.pid).children(recursive=True))
        return []

    def _make_data(self) -> None:
        options = ["-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        self.run_program("initdb", "-D", str(self.data), *options)
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"host all {LIMITED} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")

    def run_program(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as whom the server runs as. Raises RuntimeError with what it said."""
        command = [*self._as_user(), str(self._programs / name), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INIT_S, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(f"{name} has failed:\n{done.stdout}{done.stderr}")

    def _as_user(self) -> list[str]:
        if not self._is_root:
            return []
        user = _user()
        setpriv = require("setpriv", "a PostgreSQL started by root")
        # Once more: what kills it with us is forgotten when the user changes.
        return [
            setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--pdeathsig", "KILL",
            "env", "LC_ALL=C.UTF-8",
        ]  # fmt: skip


def programs() -> Path:
    """The folder of the newest server that is installed. Raises UnavailableError."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("postgres")
    if found:
        return found[-1].parent
    if on_path is None:
        raise UnavailableError("a real PostgreSQL needs the program `postgres`, which is not on the PATH")
    return Path(on_path).resolve().parent


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(USER)
    except KeyError as error:
        raise UnavailableError(f"a PostgreSQL does not run as root, and there is no user {USER}") from error


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise UnavailableError(f"the tests on PostgreSQL need psycopg ({error}): install millrace[postgres]") from error
    return psycopg
