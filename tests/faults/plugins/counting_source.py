"""A source of numbers, of which some are called deadly; each of its tasks has some, and ends.

Loaded by name, in the process of a task. Not here: what is expected of the engine (tests/kafka/test_poison.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, field

from engine.api.batch import SourceBatch
from engine.api.config import Config
from engine.api.connector import SourceConnector
from engine.api.task import Polled, SourceTask


class CountingConfig(Config, frozen=True, kw_only=True):
    """How far it counts."""

    topic: str
    numbers: int
    deadly: str = ""
    part: Annotated[int, Meta(description="Which of all tasks it is.")] = 0
    parts: int = 1
    batch: int = 100
    kills_poll: bool = field(name="kills.poll", default=False)


class CountingTask(SourceTask):
    """Every number of its part, in order."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = settings = CountingConfig.parse(config)
        self._deadly = {int(number) for number in settings.deadly.split(",") if number}
        self._place = {"part": settings.part}
        stored = self.context.offset(self._place)
        self._next = settings.part if stored is None else stored["next"]

    def poll(self) -> Polled:
        settings = self._settings
        end = min(self._next + settings.batch * settings.parts, settings.numbers)
        numbers = range(self._next, end, settings.parts)
        self._next = self._next + len(numbers) * settings.parts
        if self._next >= settings.numbers:
            self.context.end()
        if settings.kills_poll and self._deadly.intersection(numbers):
            os._exit(1)
        if not numbers:
            return None
        return SourceBatch(
            topic=settings.topic,
            values=[f"deadly {number}" if number in self._deadly else str(number) for number in numbers],
            source_partition=self._place,
            source_offsets=[{"next": number + settings.parts} for number in numbers],
        )


class CountingSourceConnector(SourceConnector):
    """As many tasks as it may have."""

    config = CountingConfig
    task = CountingTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [{**self.properties, "part": str(part), "parts": str(tasks_max)} for part in range(tasks_max)]
