"""The world of Kongo as a source: an hour of it with each poll, into three topics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated

from kongo_world import Hour, World
from msgspec import Meta, field

from engine.api.config import Config
from engine.api.connector import SourceConnector
from engine.api.record import SourceRecord
from engine.api.schema import STRING
from engine.api.task import SourceTask

__all__ = ["KongoSourceConfig", "KongoSourceConnector", "KongoSourceTask"]

IDLE_SECONDS = 1.0


class KongoSourceConfig(Config, frozen=True, kw_only=True):
    """How long, and how much of it."""

    prefix: Annotated[str, Meta(min_length=1, description="What the names of the topics begin with.")] = "kongo"
    hours: Annotated[int, Meta(ge=1, description="How many hours there are.")] = 72
    goods: Annotated[int, Meta(ge=1, description="How many goods there are at first.")] = 200
    seed: Annotated[int, Meta(description="The same seed makes the same world.")] = field(name="seed", default=1)


class KongoSourceTask(SourceTask):
    """Lets time go on."""

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = KongoSourceConfig.parse(config)
        self._partition = {"world": self._settings.prefix, "seed": self._settings.seed}
        # An offset is a record's place in its hour: a run may have ended in the middle of one.
        stored = self.context.offset(self._partition) or {"hour": 0, "record": -1}
        self._hours = islice(World(self._settings.seed, self._settings.goods), stored["hour"], self._settings.hours)
        self._skipped = stored["record"] + 1

    def poll(self) -> list[SourceRecord] | None:
        hour = next(self._hours, None)
        if hour is not None:
            skipped, self._skipped = self._skipped, 0
            return [*islice(self._records(hour), skipped, None)]
        if self.context.is_bulk:
            self.context.end()
        else:
            self.context.wait(IDLE_SECONDS)
        return None

    def _records(self, hour: Hour) -> Iterator[SourceRecord]:
        happened = [("readings", reading.place, reading) for reading in hour.readings]
        happened += [("goods", name, whereabouts) for name, whereabouts in hour.moves]  # type: ignore[misc]
        happened += [("violations", violation.goods, violation) for violation in hour.violations]  # type: ignore[misc]
        at = hour.readings[0].at
        for number, (topic, key, value) in enumerate(happened):
            yield SourceRecord(
                topic=f"{self._settings.prefix}-{topic}",
                key=key,
                key_schema=STRING,
                value=value,
                timestamp=int(at.timestamp() * 1000),
                source_partition=self._partition,
                source_offset={"hour": hour.number, "record": number},
            )


class KongoSourceConnector(SourceConnector):
    """One world, one task."""

    config = KongoSourceConfig
    task = KongoSourceTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]
