"""A sink that keeps, for each partition, only how far the numbers of its records have come without a gap.

    partition 1:  1 5 9 5 9 13      `folder`/1 says: next 17, repeated 2
    partition 1:  1 5 13            the task fails: 9 is missing

What it keeps outlives its process, so that the last number it took over tells of all lives: a disk's worth of records
is checked to the last one in a few bytes. Loaded by name, in the process of a task.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from connectors.generator.bodies import NUMBER_DIGITS
from engine.api.batch import SinkBatch
from engine.api.column import Utf8Column
from engine.api.config import Config
from engine.api.connector import SinkConnector
from engine.api.errors import ConnectError
from engine.api.record import TopicPartition
from engine.api.task import SinkTask


class KeepingConfig(Config, frozen=True, kw_only=True):
    """folder: for a file of each partition; step: from a number to the next one of its partition."""

    folder: str
    step: int


class KeepingSinkTask(SinkTask):
    """Counts on from where the last life had flushed."""

    reads_timestamps = False

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = KeepingConfig.parse(config)
        self._folder = Path(self._settings.folder)
        self._kept: dict[int, tuple[int, int]] = {}  # of each partition: the next number, how many came again

    def open(self, partitions: Collection[TopicPartition]) -> None:
        for place in partitions:
            file = self._folder / str(place.partition)
            number, repeated = file.read_text().split() if file.exists() else (place.partition, 0)
            self._kept[place.partition] = int(number), int(repeated)

    def put(self, batch: SinkBatch) -> None:
        values = batch.values.encoded if isinstance(batch.values, Utf8Column) else list(map(str.encode, batch.values))
        begin = 0
        for run in batch.runs:
            end = begin + run.count
            self._count(run.partition, [int(value[:NUMBER_DIGITS]) for value in values[begin:end] if value])
            begin = end

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        for place in offsets:
            number, repeated = self._kept[place.partition]
            fresh = self._folder / f"{place.partition}.new"
            fresh.write_text(f"{number} {repeated}")
            fresh.replace(self._folder / str(place.partition))

    def _count(self, partition: int, numbers: Sequence[int]) -> None:
        expected, repeated = self._kept[partition]
        for number in numbers:
            if number > expected:
                raise ConnectError(f"partition {partition}: number {expected} is missing, {number} came in its place")
            if number < expected:
                repeated += 1
            else:
                expected += self._settings.step
        self._kept[partition] = expected, repeated


class KeepingSinkConnector(SinkConnector):
    """As many tasks as it may have."""

    config = KeepingConfig
    task = KeepingSinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]
