"""The control process over a board of the test's, forked as the supervisor forks it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from engine import logs
from engine.control import main
from engine.control.listen import open_listener
from engine.supervisor.fork import Child, fork
from tests.harness import wait

__all__ = ["Control"]

SERVING = ("engine.control.", "engine.metrics.", "h11", "prometheus_client", "starlette", "uvicorn")


class Control:
    """One control process; its listener stays open in the test, as it does in the supervisor."""

    def __init__(self, board: int, metrics_file: Path | None = None, *, serves: bool = True) -> None:
        self._board = board
        self._metrics_file = metrics_file
        self._listeners = [open_listener(0, "127.0.0.1")] if serves else []
        self._child: Child | None = self._fork()

    @property
    def port(self) -> int:
        port: int = self._listeners[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def get(self, path: str = "/metrics", method: str = "GET", accept: str = "*/*") -> httpx.Response:
        """One request; waits until the process has started to serve."""
        return httpx.request(method, self.url + path, headers={"accept": accept}, timeout=20)

    def end(self, number: signal.Signals, timeout_s: float = 10.0) -> int:
        """Signal it; returns its exit code once it has ended."""
        os.kill(self.pid, number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 10.0) -> int:
        """Its exit code. Raises TimeoutError."""
        ended = wait.until(lambda: _ended(self.pid), "end of control", timeout_s=timeout_s)
        assert self._child is not None
        assert ended is not None
        self._child.last_words()
        self._child = None
        return os.waitstatus_to_exitcode(ended[1])

    def start_again(self) -> None:
        """As the supervisor does it when control has died."""
        self._child = self._fork()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._child is not None:
            self.end(signal.SIGKILL)
        for listener in self._listeners:
            listener.close()

    def _fork(self) -> Child:
        listeners: list[socket.socket] = self._listeners
        path = None if self._metrics_file is None else str(self._metrics_file)
        keep = [self._board, *(listener.fileno() for listener in listeners)]

        def body(_: object) -> int:
            _forget_the_web_server()
            sys.stderr = os.fdopen(2, "w", closefd=False)  # pytest's own writes to a descriptor that is closed here
            logs.set_up(logs.LogSettings(), process="control")
            return main.run(self._board, listeners, path)

        return fork("control", body, keep)


def _forget_the_web_server() -> None:
    """As in the supervisor's child: what serves is imported there, and only there, however many tests came before."""
    for name in list(sys.modules):
        if name.startswith(SERVING) and name != "engine.control.main":
            del sys.modules[name]


def _ended(pid: int) -> tuple[int, int] | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return (found, status) if found else None
