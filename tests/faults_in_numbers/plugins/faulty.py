"""A generator and a file sink that do, when they are told to, what plugins should not.

    the file CONNECTOR-TASK in the folder `faults` holds a place and a fault: "poll spin"
    the task that comes to the place takes the file away, and does it

Loaded by name, in the process of a task.
Not here: what is expected of the worker then (tests/faults_in_numbers/faults.py).
"""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from connectors.file.sink import FileSinkConfig, FileStreamSinkConnector, FileStreamSinkTask
from connectors.generator.source import GeneratorConfig, GeneratorSourceConnector, GeneratorSourceTask
from engine.api.batch import SinkBatch, SourceBatch

CHUNK_BYTES = 16 * 1024 * 1024


class FaultySourceConfig(GeneratorConfig, frozen=True, kw_only=True):
    """The generator's, and where faults are told."""

    faults: str


class FaultySinkConfig(FileSinkConfig, frozen=True, kw_only=True):
    """The file sink's, and where faults are told."""

    faults: str


class Faults:
    """One task's."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self._file = Path(config["faults"])

    def meet(self, place: str) -> None:
        """Do what is told for this place, if anything is."""
        try:
            told, fault = self._file.read_text().split()
        except (FileNotFoundError, ValueError):
            return
        if told == place:
            self._file.unlink()
            FAULTS[fault]()


def fail() -> None:
    raise RuntimeError("told to fail")


def spin() -> None:
    while True:
        pass


def lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_for_socket() -> None:
    ours, _theirs = socket.socketpair()
    ours.recv(1)


def hang_in_c() -> None:
    while True:
        ctypes.PyDLL(None).sleep(3600)  # with the interpreter's lock


def crash() -> None:
    ctypes.string_at(0)


def eat() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * CHUNK_BYTES)


FAULTS = {
    "fail": fail,
    "spin": spin,
    "lock": lock,
    "socket": wait_for_socket,
    "c": hang_in_c,
    "crash": crash,
    "eat": eat,
}


class FaultySourceTask(GeneratorSourceTask):
    """A generator with faults."""

    def start(self, config: Mapping[str, str]) -> None:
        self._faults = Faults(config)
        self._faults.meet("start")
        super().start(config)

    def poll(self) -> SourceBatch | None:
        self._faults.meet("poll")
        return super().poll()

    def stop(self) -> None:
        super().stop()
        self._faults.meet("stop")


class FaultySinkTask(FileStreamSinkTask):
    """A file sink with faults."""

    def start(self, config: Mapping[str, str]) -> None:
        self._faults = Faults(config)
        self._faults.meet("start")
        super().start(config)

    def put(self, batch: SinkBatch) -> None:
        self._faults.meet("put")
        super().put(batch)

    def stop(self) -> None:
        super().stop()
        self._faults.meet("stop")


class FaultySourceConnector(GeneratorSourceConnector):
    """Its tasks take their faults from files of their own."""

    config = FaultySourceConfig  # type: ignore[assignment]  # one key more
    task = FaultySourceTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return _with_faults(super().task_configs(tasks_max))


class FaultySinkConnector(FileStreamSinkConnector):
    """Its tasks take their faults from files of their own."""

    config = FaultySinkConfig  # type: ignore[assignment]  # one key more
    task = FaultySinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return _with_faults(super().task_configs(tasks_max))


def _with_faults(configs: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return [
        {**config, "faults": f"{config['faults']}/{config['name']}-{number}"} for number, config in enumerate(configs)
    ]
