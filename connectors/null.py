"""NullSink: takes records and drops them, counting; on request it checks that numbered records come in order.

    check=sequence     topic-0: 0 4 8 8 12    one repeated
                       topic-1: 1 5 13        one gap, if check.step says that neighbours are 4 apart

A number is what a value's text begins with, or its `sequence` (as the Generator writes them). Within a partition
the numbers of one stripe (number modulo check.stripes, the tasks of the Generator) must grow. What a partition
was before it was opened here is not known: its first record is taken as it is.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from engine.api.batch import SinkBatch
from engine.api.column import MapColumn, StructColumn, Utf8Column
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.errors import ConnectError
from engine.api.record import TopicPartition
from engine.api.task import SinkTask

__all__ = ["Counts", "NullSinkConfig", "NullSinkConnector", "NullSinkTask"]

logger = logging.getLogger(__name__)

_NUMBER = re.compile(rb"[0-9]+")


class NullSinkConfig(Config, frozen=True, kw_only=True):
    """What is checked, and how slow it is."""

    check: Annotated[
        Literal["none", "sequence"], Meta(description="'sequence': the numbers of a partition's records must grow.")
    ] = "none"
    fail: Annotated[
        bool,
        Meta(description="Whether the first record out of order stops the task; else they are counted and logged."),
    ] = field(name="check.fail", default=False)
    stripes: Annotated[int, Meta(ge=1, description="How many tasks number the records, each in its own order.")] = (
        field(name="check.stripes", default=1)
    )
    step: Annotated[
        int,
        Meta(ge=0, description="How far apart neighbours of a stripe are in a partition. 0: gaps are not looked for."),
    ] = field(name="check.step", default=0)
    delay_ms: Annotated[int, Meta(ge=0, le=3_600_000, description="How long each put takes, in milliseconds.")] = field(
        name="delay.ms", default=0
    )


class Counts(Struct):
    """What a task has taken since it started."""

    records: int = 0
    bytes: int = 0  # of values that are text or bytes
    repeated: int = 0  # records with a number that is not above the one before
    gaps: int = 0  # records with a number further up than check.step


class NullSinkTask(SinkTask):
    """Counts and drops."""

    reads_timestamps = False
    reads_headers = False

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self.counts = Counts()
        self._last: dict[TopicPartition, dict[int, int]] = {}  # the last number of each stripe
        self._logged = (0, 0)

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = NullSinkConfig.parse(config)

    def open(self, partitions: Collection[TopicPartition]) -> None:
        for place in partitions:
            self._last.pop(place, None)

    def put(self, batch: SinkBatch) -> None:
        if self._settings.delay_ms:
            self._sleep(self._settings.delay_ms / 1000)
        if self._settings.check == "sequence":
            self._check(batch)
        self.counts.records += len(batch)
        self.counts.bytes += _bytes_of(batch.values)

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        faults = (self.counts.repeated, self.counts.gaps)
        if faults != self._logged:
            logger.warning("check so far: repeated or out of order: %d, gaps: %d", *faults)
            self._logged = faults

    def stop(self) -> None:
        counts = self.counts
        logger.info(
            "taken: %d records, %d bytes; repeated or out of order: %d, gaps: %d",
            counts.records, counts.bytes, counts.repeated, counts.gaps,
        )  # fmt: skip

    def _check(self, batch: SinkBatch) -> None:
        stripes, step = self._settings.stripes, self._settings.step
        values = batch.values.encoded if isinstance(batch.values, Utf8Column) else batch.values
        for value, topic, partition, offset in zip(values, batch.topics, batch.partitions, batch.offsets, strict=True):
            number = _number_of(value)
            if number is None:
                raise ConnectError(
                    f"the record at topic {topic}, partition {partition}, offset {offset} has no number to check "
                    "(key check=sequence): its text does not begin with one, nor has it a field sequence"
                )
            lasts = self._last.setdefault(TopicPartition(topic, partition), {})
            last = lasts.get(number % stripes)
            if last is not None and (number <= last or (step and number != last + step)):
                self._fault(TopicPartition(topic, partition), offset, last, number)
            if last is None or number > last:
                lasts[number % stripes] = number

    def _fault(self, place: TopicPartition, offset: int, last: int, number: int) -> None:
        if number <= last:
            self.counts.repeated += 1
        else:
            self.counts.gaps += 1
        if self._settings.fail:
            expected = str(last + self._settings.step) if self._settings.step else f"more than {last}"
            raise ConnectError(
                f"the record at topic {place.topic}, partition {place.partition}, offset {offset} is out of order: "
                f"expected number {expected}, got {number}"
            )


class NullSinkConnector(SinkConnector):
    """Drops what comes, with as many tasks as it may have."""

    config = NullSinkConfig
    task = NullSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        return True


def _number_of(value: Any) -> int | None:
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        match = _NUMBER.match(value)
        return int(match[0]) if match else None
    number = value.get("sequence") if isinstance(value, Mapping) else getattr(value, "sequence", None)
    return number if isinstance(number, int) else None


def _bytes_of(values: Sequence[Any]) -> int:
    if isinstance(values, Utf8Column):
        return sum(map(len, filter(None, values.encoded)))
    if isinstance(values, MapColumn | StructColumn):
        return 0  # they have no size in bytes, and need not be made to see that
    return sum(
        len(value.encode()) if isinstance(value, str) else len(value)
        for value in values
        if isinstance(value, (str, bytes))
    )
