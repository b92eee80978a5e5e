"""What connectors and tasks ask of the engine, answered by hand: contexts with a clock that only `wait` moves.

context = FakeSourceContext(is_bulk=True, offsets=[({"filename": "a.txt"}, {"position": 4})])
task.initialize(context); task.start(config)
records = poll_all(task)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from engine.api.batch import Run, SinkBatch, SourceBatch
from engine.api.column import Repeat
from engine.api.errors import ConnectError
from engine.api.record import Header, SinkRecord, SourceRecord, TopicPartition
from engine.api.schema import Schema
from engine.api.task import Polled, SourceTask

__all__ = [
    "ChangedBatch",
    "FakeConnectorContext",
    "FakeReported",
    "FakeReporter",
    "FakeSinkContext",
    "FakeSourceContext",
    "poll_all",
    "records_of",
    "sink_batch",
]

POLLS_MAX = 100_000


class FakeConnectorContext:
    """A `ConnectorContext` that remembers what was asked of it, from whatever thread."""

    def __init__(
        self,
        *,
        partition_counts: Mapping[str, int] | None = None,
        worker_properties: Mapping[str, str] | None = None,
        offsets: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = (),
    ) -> None:
        """partition_counts: of the topics that are there."""
        self._partition_counts = partition_counts or {}
        self._worker_properties = worker_properties or {}
        self._offsets = {_key(partition): offset for partition, offset in offsets}
        self.reconfigurations_requested = 0
        self.errors: list[Exception] = []

    def request_task_reconfiguration(self) -> None:
        self.reconfigurations_requested += 1

    def raise_error(self, error: Exception) -> None:
        self.errors.append(error)

    def partition_counts(self, topics: Collection[str]) -> Mapping[str, int]:
        return {topic: self._partition_counts[topic] for topic in topics if topic in self._partition_counts}

    @property
    def worker_properties(self) -> Mapping[str, str]:
        return self._worker_properties

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return self._offsets.get(_key(partition))


class FakeSourceContext:
    """A `SourceContext` whose time stands still but in `wait`, which does not sleep."""

    def __init__(
        self,
        *,
        is_bulk: bool = False,
        offsets: Iterable[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = (),
    ) -> None:
        self._is_bulk = is_bulk
        self._offsets = {_key(partition): offset for partition, offset in offsets}
        self.now_ns = 0
        self.has_ended = False

    @property
    def is_bulk(self) -> bool:
        return self._is_bulk

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return self._offsets.get(_key(partition))

    def store(self, record: SourceRecord) -> None:
        """As if Kafka had this record, and all before it, and their offsets were stored."""
        assert record.source_partition is not None
        self._offsets[_key(record.source_partition)] = record.source_offset

    def store_all(self, polled: Polled) -> None:
        """As if Kafka had all of this, and its offsets were stored."""
        for item in [polled] if isinstance(polled, SourceBatch) else polled or []:
            if isinstance(item, SourceRecord):
                self.store(item)
            elif item.source_partition is not None and item.source_offsets:
                self._offsets[_key(item.source_partition)] = item.source_offsets[-1]

    def end(self) -> None:
        self.has_ended = True

    def wait(self, seconds: float) -> None:
        assert 0 <= seconds <= 2, "a poll waits up to a second or so"
        self.now_ns += int(seconds * 1e9)

    def monotonic_ns(self) -> int:
        return self.now_ns


class FakeReporter:
    """An `ErrantRecordReporter` that remembers what it was told; all of it is done at once."""

    def __init__(self, *, is_tolerant: bool = True) -> None:
        """is_tolerant: whether a task may go on without the record."""
        self._is_tolerant = is_tolerant
        self.reports: list[tuple[SinkRecord, Exception]] = []

    def report(self, record: SinkRecord, error: Exception) -> FakeReported:
        self.reports.append((record, error))
        if not self._is_tolerant:
            raise ConnectError("Tolerance exceeded in error handler") from error
        return FakeReported()


class FakeReported:
    """A `Reported`."""

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> None:
        """At once."""


class FakeSinkContext:
    """A `SinkContext` that remembers what was asked of it."""

    def __init__(
        self,
        *,
        is_bulk: bool = False,
        partitions: Collection[TopicPartition] = (),
        reporter: FakeReporter | None = None,
    ) -> None:
        self._is_bulk = is_bulk
        self._partitions = partitions
        self._reporter = reporter
        self.sought: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.commits_requested = 0
        self.has_more = False  # to be set: what `is_more_waiting` says
        self.retry_ms: int | None = None

    @property
    def is_bulk(self) -> bool:
        return self._is_bulk

    def assignment(self) -> Collection[TopicPartition]:
        return self._partitions

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.sought.update(offsets)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self.paused.update(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self.paused.difference_update(partitions)

    def request_commit(self) -> None:
        self.commits_requested += 1

    def is_more_waiting(self) -> bool:
        return self.has_more

    def errant_record_reporter(self) -> FakeReporter | None:
        return self._reporter

    def retry_after(self, milliseconds: int) -> None:
        self.retry_ms = milliseconds


def poll_all(task: SourceTask, *, count: int | None = None) -> list[SourceRecord]:
    """What the task gives until it ends, until `count` records, or until a poll gives nothing."""
    records: list[SourceRecord] = []
    context = task.context
    assert isinstance(context, FakeSourceContext)
    for _ in range(POLLS_MAX):
        polled = records_of(task.poll())
        records += polled
        if context.has_ended or not polled or (count is not None and len(records) >= count):
            return records
    raise AssertionError(f"no end after {POLLS_MAX} polls")


def records_of(polled: Polled) -> list[SourceRecord]:
    """Whatever a poll may return, as records."""
    if polled is None:
        return []
    if isinstance(polled, SourceBatch):
        return list(polled.records())
    return [record for item in polled for record in (item.records() if isinstance(item, SourceBatch) else [item])]


def sink_batch(  # noqa: PLR0913  a batch's columns
    values: Sequence[Any],
    *,
    topic: str = "topic",
    partition: int = 0,
    first_offset: int = 0,
    value_schema: Schema | None = None,
    keys: Sequence[Any] | None = None,
    key_schema: Schema | None = None,
    timestamps: Sequence[int | None] | None = None,
    headers: Sequence[Sequence[Header]] = (),
) -> SinkBatch:
    """Neighbours of one partition, without keys and schemas unless they are given."""
    count = len(values)
    return SinkBatch(
        [Run(topic, partition, 0, count, first_offset, first_offset + count - 1)],
        values,
        value_schemas=Repeat(value_schema, count),
        keys=Repeat(None, count) if keys is None else keys,
        key_schemas=Repeat(key_schema, count),
        timestamps=Repeat(0, count) if timestamps is None else timestamps,
        headers=headers,
    )


class ChangedBatch(SinkBatch):
    """A batch as it comes out of a chain of transforms: the same columns, and no runs."""

    def __init__(self, batch: SinkBatch) -> None:
        self._batch = batch
        super().__init__(
            (),
            batch.values,
            value_schemas=batch.value_schemas,
            keys=batch.keys,
            key_schemas=batch.key_schemas,
            timestamps=batch.timestamps,
            timestamp_type=batch.timestamp_type,
            headers=batch.headers,
        )

    @property
    def topics(self) -> Sequence[str]:
        return self._batch.topics

    @property
    def partitions(self) -> Sequence[int]:
        return self._batch.partitions

    @property
    def offsets(self) -> Sequence[int]:
        return self._batch.offsets


def _key(partition: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(partition.items()))
