"""A server in a process of its own: started, awaited, stopped, killed, started again on the same port and data.

Its output goes to a log file; when it does not become ready, the end of that log is in the error. It dies with the
thread that started it where `setpriv` is there (util-linux), so that a killed test run leaves no server behind.

Used by: kafka, cluster, proxy, connect, prometheus of this folder.
Not here: the engine under test (engine.py), which is started as a user starts it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.harness import wait

__all__ = ["Server", "UnavailableError", "free_ports"]

STOP_S = 20.0
LOG_TAIL_BYTES = 4_000


class UnavailableError(Exception):
    """This machine cannot start such a server: a program is missing. Says which, and what to do."""


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports of the loopback interface that nobody listens on at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [open_socket.getsockname()[1] for open_socket in sockets]
    for open_socket in sockets:
        open_socket.close()
    return ports


class Server:
    """One server process over a folder; a subclass says the command and when it is ready."""

    name = "server"
    ready_s = 180.0  # 3 s on an idle machine

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The program and its arguments; called at each start."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Whether it serves now; asked until it does."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Return when it serves. Raises RuntimeError with the end of the log when it ends or stays silent."""
        self.launch()
        return self.wait_ready()

    def launch(self) -> None:
        """Start the process and return at once: of several that need each other none is ready before the next."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_us(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is for the tests, which then stop their servers
            )

    def wait_ready(self) -> Self:
        """Return when it serves. Raises RuntimeError as `start`."""
        assert self._process is not None, f"{self.name} was not launched"
        try:
            wait.until(self._is_ready_or_over, f"ready {self.name}", timeout_s=self.ready_s)
        except TimeoutError as error:
            self.kill9()
            raise RuntimeError(f"{error}\n{self.log_tail()}") from error
        if not self.is_running:
            raise RuntimeError(f"{self.name} ended with code {self._process.returncode}\n{self.log_tail()}")
        return self

    def stop(self) -> None:
        """Ask it to end; kill it if it has not ended within STOP_S seconds."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """End it at once; what it had not written is lost."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same port and data; stopped first if it runs."""
        self.stop()
        self.start()

    def log_tail(self) -> str:
        """The last LOG_TAIL_BYTES of what it printed."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def __enter__(self) -> Self:
        return self if self.is_running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_ready_or_over(self) -> bool:
        return not self.is_running or self.is_ready()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._process.pid, how)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_S)
        self._process = None


def _dies_with_us() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def require(program: str, what_for: str) -> str:
    """The path of a program. Raises UnavailableError when it is not there."""
    path = shutil.which(program)
    if path is None:
        raise UnavailableError(f"{what_for} needs the program `{program}`, which is not on the PATH")
    return path


def answers(ask: Callable[[], object], *expected: type[Exception]) -> bool:
    """Whether `ask` returns without one of the `expected` errors."""
    try:
        ask()
    except expected:
        return False
    return True
