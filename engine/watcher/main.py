"""A connector that watches something, alive: started, asked for its tasks whenever it wants to be, stopped.

    load ──► initialize, start ──► task_configs ──► Watched ──► supervisor ──► herder
                                        ▲
    request_task_reconfiguration ── bell┘        raise_error, or an exception of any call ──► why, the end

A call that takes too long ends the process, also when it is stuck outside of Python: the kernel's alarm does it, after
it was told where the call is. What is asked for many times at once is answered once, and what has not changed is not
said again.

Used by: engine.boot (forks it).
Not here: what becomes of the answers (engine.herder), when the process comes back (engine.supervisor.watchers).
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec

from engine import logs
from engine.api.connector import Connector
from engine.api.errors import ConfigError, ConnectError
from engine.bank import Say
from engine.exits import ExitCode
from engine.herder.watching import Watched, WatchSpec
from engine.inquiry import Inquiry
from engine.mending import Kind, code_of, kind_of
from engine.plugins import environment
from engine.plugins.asking import config_texts, place_of
from engine.plugins.loading import load
from engine.shm.link import Link, LinkClosedError

__all__ = ["ANSWER_BYTES_MAX", "Watcher", "run"]

#: Thousands of tasks need less.
ANSWER_BYTES_MAX = 16 * 1024 * 1024
#: A connector that asks all the time is answered so often.
ANSWER_PAUSE_SECONDS = 0.25
SEND_PAUSE_SECONDS = 0.01

logger = logging.getLogger("millrace.watcher")

Answer = TypeVar("Answer")

_encode = msgspec.msgpack.Encoder().encode


class _Context:
    """What a connector may ask of the worker; from any thread of its."""

    def __init__(self, spec: WatchSpec, bell: int) -> None:
        self._spec = spec
        self._bell = bell
        self.error: Exception | None = None

    def request_task_reconfiguration(self) -> None:
        os.eventfd_write(self._bell, 1)

    def raise_error(self, error: Exception) -> None:
        self.error = self.error or error
        os.eventfd_write(self._bell, 1)

    def partition_counts(self, topics: Collection[str]) -> Mapping[str, int]:
        return self._inquiry().partition_counts(topics)

    @property
    def worker_properties(self) -> Mapping[str, str]:
        return self._spec.port.worker_properties

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return self._inquiry().offset(partition)

    def _inquiry(self) -> Inquiry:
        # A fresh one for each question: what it has found out, it keeps.
        return Inquiry(self._spec.connector, self._spec.port, lambda *_: None)


def run(spec: WatchSpec, end: socket.socket, settings: logs.LogSettings, say: Say) -> ExitCode:
    """The body of the process; says why it failed, and leaves by the kind of that. end: of a link to the supervisor."""
    logs.set_up(settings, process="watcher", connector=spec.connector, secrets=spec.secrets)
    watcher = Watcher(spec, Link(end))
    signal.signal(signal.SIGTERM, lambda *_: watcher.ask_to_stop())
    error = watcher.run()
    if error is None:
        return ExitCode.OK
    say(watcher.told(error))
    return code_of(kind_of(error) if isinstance(error, Exception) else Kind.ERROR)


class Watcher:
    """The connector, from its start to its stop."""

    def __init__(self, spec: WatchSpec, link: Link) -> None:
        self._spec = spec
        self._link = link
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._context = _Context(spec, self._bell)
        self._is_stopping = False
        self._said: list[dict[str, str]] | None = None
        self._step = ""  # what the connector was asked last

    def ask_to_stop(self) -> None:
        """End after the call that is made now."""
        self._is_stopping = True
        os.eventfd_write(self._bell, 1)

    def run(self) -> BaseException | None:
        """Live until asked to stop, or failed; returns why it failed."""
        connector: Connector | None = None
        failure: BaseException | None = None
        try:
            environment.enter(self._spec.environments)
            connector = self._call("making it", self._make)
            self._watch(connector)
        except (Exception, SystemExit) as error:  # noqa: BLE001  connectors may raise whatever they like
            failure = error
            failed_step = self._step
        if connector is not None:
            try:
                self._call("stop", connector.stop)
            except (Exception, SystemExit) as error:  # noqa: BLE001
                logger.warning("%s", self.told(error))
        if failure is not None:
            self._step = failed_step
        return None if self._is_stopping else failure

    def told(self, error: BaseException) -> str:
        """What failed, and why."""
        if error is self._context.error:
            return f"{type(error).__name__}: {error}"
        kind = "" if isinstance(error, ConnectError) else f"{type(error).__name__}: "
        return f"{self._step}: {kind}{error}{'' if not kind else place_of(error)}"

    def _make(self) -> Connector:
        made: Connector = load(self._spec.path)()
        return made

    def _watch(self, connector: Connector) -> None:
        """Raises what the connector raises."""
        self._call("initialize", lambda: connector.initialize(self._context))
        self._call("start", lambda: connector.start(dict(self._spec.properties)))
        while not self._is_stopping:
            if self._context.error is not None:
                raise self._context.error
            self._answer(connector)
            self._wait()

    def _answer(self, connector: Connector) -> None:
        """Say which tasks it wants, if it wants others than before."""
        answer = self._call("task_configs", lambda: list(connector.task_configs(self._spec.tasks_max)))
        configs, problems = config_texts(answer)
        if problems:
            raise ConfigError(problems)
        if configs == self._said:
            return
        message = _encode(Watched(self._spec.connector, task_configs=tuple(configs)))
        if len(message) > ANSWER_BYTES_MAX:
            raise ConnectError(f"{len(message)} bytes of configurations; expected at most {ANSWER_BYTES_MAX}")
        self._said = configs
        self._send(message)

    def _wait(self) -> None:
        """Until something is asked for; not at once again: one that asks all the time would keep the worker busy."""
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        poll.poll()
        if not self._is_stopping and self._context.error is None:
            time.sleep(ANSWER_PAUSE_SECONDS)
        os.eventfd_read(self._bell)

    def _call(self, step: str, call: Callable[[], Answer]) -> Answer:
        """Have the connector do something, in its time."""
        self._step = step
        # Without a handler: Python's would not run while a call is stuck outside of it.
        signal.setitimer(signal.ITIMER_REAL, self._spec.call_seconds)
        try:
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _send(self, message: bytes) -> None:
        try:
            while not self._link.send(message):
                time.sleep(SEND_PAUSE_SECONDS)
        except LinkClosedError:
            self._is_stopping = True  # nobody is left who would want to know
