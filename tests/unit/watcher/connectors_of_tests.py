"""Connectors that watch a folder, which the tests of this folder ask for by path; each behaves as its name says."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.api.connector import SourceConnector
from engine.api.errors import ConfigError, ConnectError
from engine.api.task import Polled, SourceTask

__all__ = ["Asking", "Failing", "Folder", "NotText", "Stuck", "Unstoppable", "Wrong"]

LOOK_S = 0.02


class FileTask(SourceTask):
    def start(self, config: Mapping[str, str]) -> None:
        pass

    def poll(self) -> Polled:
        return None


class Folder(SourceConnector):
    """A task for each file, looked for in a thread of its own; a file `fail` is a reason to fail."""

    task = FileTask
    watches = True

    def start(self, properties: Mapping[str, str]) -> None:
        super().start(properties)
        self.folder = Path(properties["folder"])
        self.seen = self.look()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()
        (self.folder.parent / "stopped").touch()

    def look(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def watch(self) -> None:
        assert self.context is not None
        while not self.stopped.wait(LOOK_S):
            found = self.look()
            if "fail" in found:
                self.context.raise_error(ConnectError("there is a file that should not be"))
                return
            if found != self.seen:
                self.seen = found
                self.context.request_task_reconfiguration()

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [{"file": name} for name in self.seen[:tasks_max]]


class Asking(Folder):
    """Asks all the time, and always wants the same; counts how often it is asked."""

    count = 0

    def watch(self) -> None:
        assert self.context is not None
        while not self.stopped.wait(0.001):
            self.context.request_task_reconfiguration()

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        self.count += 1
        (self.folder.parent / "count").write_text(str(self.count))
        return [{"file": "always"}]


class Failing(Folder):
    def start(self, properties: Mapping[str, str]) -> None:
        raise OSError("no such table: geheim")


class Wrong(Folder):
    def start(self, properties: Mapping[str, str]) -> None:
        raise ConfigError("table: expected one that is there")


class NotText(Folder):
    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [{"file": 1}]  # type: ignore[dict-item]


class Stuck(Folder):
    """Hangs outside of Python, where no handler of a signal is run."""

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        ctypes.PyDLL(None).sleep(60)
        return []


class Unstoppable(Folder):
    def stop(self) -> None:
        raise RuntimeError("it does not want to")
