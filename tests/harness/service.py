"""Stands in for systemd: starts the worker, hears of it, and starts it again when it has died or does not answer.

    with Service("standalone", "worker.properties", folder=folder, watchdog_s=1.0) as service:
        service.wait_for("READY=1")
        service.life.kill9_supervisor()      # a new life follows, as with Restart=always

As with `KillMode=mixed` only the supervisor is signalled; unlike systemd it does not wait for what is left of the
cgroup, so that a new life may meet processes of the one before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Self

from tests.harness import wait
from tests.harness.engine import Millrace, millrace_command

__all__ = ["Service"]

#: systemd's default of RestartSec.
RESTART_S = 0.1
LOOK_EVERY_S = 0.01


class Service:
    """A unit with Type=notify, Restart=always and, if asked, WatchdogSec."""

    def __init__(
        self, *arguments: str, folder: Path, watchdog_s: float = 0.0, listener: socket.socket | None = None
    ) -> None:
        """listener: that it holds over all lives, as a `.socket` unit does."""
        self._arguments = arguments
        self._listener = listener
        self._folder = folder
        self._watchdog_s = watchdog_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._address = str(folder / "notify")
        self._socket.bind(self._address)
        self.lives: list[Millrace] = []
        self.heard: list[str] = []  # in this life
        self.start_s = 0.0  # how long the first start took, for who measures it
        self.hung = 0  # lives that the watchdog has ended
        self._is_over = False
        self._start()
        self._thread = threading.Thread(target=self._manage, name="service manager")
        self._thread.start()

    @property
    def url(self) -> str:
        """Of REST, at the socket that it holds."""
        assert self._listener is not None
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def life(self) -> Millrace:
        """The present one."""
        return self.lives[-1]

    def wait_for(self, line: str, *, life: int = 1) -> None:
        """Until this life, counted from 1, has said so."""

        def has_said() -> bool:
            assert self.life.is_running or not self._is_over, self.life.stderr
            return len(self.lives) >= life and any(line in message.splitlines() for message in self.heard)

        wait.until(has_said, f"{line} of life {life}", timeout_s=60.0)

    def stop(self) -> int:
        """As `systemctl stop`; returns the exit code."""
        self._end_managing()
        self.life.signal(signal.SIGTERM)
        code = self.life.wait()
        self._hear()
        return code

    def close(self) -> None:
        """End all that is left of all lives."""
        self._end_managing()
        for life in self.lives:
            life.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self.heard = []
        self._heard_at = time.monotonic()
        environment = {"NOTIFY_SOCKET": self._address}
        if self._watchdog_s:
            environment["WATCHDOG_USEC"] = str(int(self._watchdog_s * 1_000_000))
        command: list[str] = []
        if self._listener is not None:
            # Whoever is told of the socket is the process that will be Millrace, by its number.
            hand_on = (
                f"import os, sys; os.dup2({self._listener.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid())"
            )
            command = [sys.executable, "-c", f"{hand_on}; os.execv(sys.argv[1], sys.argv[1:])", *millrace_command()]
            environment["LISTEN_FDS"] = "1"
        self.lives.append(
            Millrace(
                *self._arguments,
                folder=self._folder,
                environment=environment,
                command=command,
                inherited=[] if self._listener is None else [self._listener.fileno()],
            )
        )

    def _manage(self) -> None:
        while not self._is_over:
            self._hear()
            is_watched = self._watchdog_s and any("READY=1" in message for message in self.heard)
            if is_watched and time.monotonic() > self._heard_at + self._watchdog_s:
                self.hung += 1
                for number in (signal.SIGABRT, signal.SIGKILL):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.life.pid, number)
                self.life.wait()
            if not self.life.is_running:
                time.sleep(RESTART_S)
                self._hear()  # what the dead one had said
                self._start()
            time.sleep(LOOK_EVERY_S)

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self._socket.recv(4096).decode())
                self._heard_at = time.monotonic()

    def _end_managing(self) -> None:
        self._is_over = True
        self._thread.join()
