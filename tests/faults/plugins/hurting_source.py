"""A source that does what a file tells it to, at each poll and at its start: harm, or the next number.

    no file             a number every few milliseconds
    "segfault"          native code touches memory that is not its own
    "memory"            it asks for more and more
    "error"             an exception that nobody foresaw
    "away"              ConnectionRefusedError
    "record"            a record whose value its converter cannot take
    "start"             its connector cannot be started
    "login"             `start` raises RefusedError unless `password` is "right"

Loaded by name, in the process of a task. Not here: who tells it (tests/faults/test_mending.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.api.config import Config
from engine.api.connector import SourceConnector
from engine.api.errors import RefusedError
from engine.api.record import SourceRecord
from engine.api.task import SourceTask

PAUSE_S = 0.01


class HurtingConfig(Config, frozen=True, kw_only=True):
    """Where it is told, and what it writes to."""

    way: str
    topic: str
    password: str = ""


def _told(settings: HurtingConfig) -> str:
    file = Path(settings.way)
    return file.read_text() if file.exists() else ""


class HurtingSourceTask(SourceTask):
    """Numbers on from the stored offset."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = HurtingConfig.parse(config)
        if _told(self._settings) == "login" and self._settings.password != "right":
            raise RefusedError("the database refuses this password")
        stored = self.context.offset({"all": 1})
        self._next = 0 if stored is None else int(stored["next"])

    def poll(self) -> Sequence[SourceRecord] | None:
        self.context.wait(PAUSE_S)
        told = _told(self._settings)
        if told == "segfault":
            ctypes.string_at(8)
        elif told == "memory":
            kept = []
            while True:
                kept.append(bytearray(16 * 1024 * 1024))
        elif told == "error":
            raise ZeroDivisionError("nobody foresaw this")
        elif told == "away":
            raise ConnectionRefusedError("no database at this port")
        value = object() if told == "record" else str(self._next)
        self._next += 1
        return [
            SourceRecord(
                topic=self._settings.topic, value=value, source_partition={"all": 1}, source_offset={"next": self._next}
            )
        ]


class HurtingSourceConnector(SourceConnector):
    """One task."""

    config = HurtingConfig
    task = HurtingSourceTask

    def start(self, properties: Mapping[str, str]) -> None:
        super().start(properties)
        if _told(HurtingConfig.parse(properties)) == "start":
            raise OSError("no such place")

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
