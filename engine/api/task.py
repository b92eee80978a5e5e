"""Tasks: where the work is done, one process each.

A source task:  initialize, start, poll poll poll ..., stop.
A sink task:    initialize, start, open, put put (flush) put ..., close, stop.

All calls come from one thread. What a task raises: RetriableError, the same call is
made again after a pause; anything else ends the task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from engine.api.batch import SinkBatch, SourceBatch
from engine.api.record import SinkRecord, SourceRecord, TopicPartition

__all__ = [
    "UNKNOWN_OFFSET",
    "ErrantRecordReporter",
    "Polled",
    "RecordMetadata",
    "Reported",
    "SinkContext",
    "SinkTask",
    "SourceContext",
    "SourceTask",
]

#: What `RecordMetadata.offset` is when Kafka did not say, as in Java's client.
UNKNOWN_OFFSET = -1

Polled = SourceBatch | Sequence[SourceBatch] | Sequence[SourceRecord] | None


class SourceContext(Protocol):
    """What a source task may ask of the engine."""

    @property
    def is_bulk(self) -> bool:
        """Whether this run ends: a source without an end of its own reads what is there and calls `end`."""

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The offset that is stored for this source partition; None: none.

        Before `start` it is where to go on, from each `commit` on what is stored by then. Raises RetriableError when
        the store cannot be read now.
        """

    def end(self) -> None:
        """There will be no more records: what the running `poll` returns is the last batch."""

    def wait(self, seconds: float) -> None:
        """Sleep inside `poll`, but no longer than until the task is asked to stop."""


class SourceTask(ABC):
    """Reads a part of a system.

    poll_seconds: the longest that `poll` waits for records by itself, in a client's call for example; `context.wait`
    needs none. Whoever takes longer, and `task.stall.timeout.ms` more, is shown as stalled. May be set in `start`.
    """

    poll_seconds: float = 0.0
    context: SourceContext

    def initialize(self, context: SourceContext) -> None:
        """Take the context; called once, before `start`."""
        self.context = context

    @abstractmethod
    def start(self, config: Mapping[str, str]) -> None:
        """Begin with one of the connector's `task_configs`. Raises ConnectError."""

    @abstractmethod
    def poll(self) -> Polled:
        """The next records, or None; may wait (`context.wait`) up to a second or so when there are none."""

    def commit(self) -> None:  # noqa: B027  most have nothing to do
        """Offsets of all that was acknowledged have been stored: `context.offset` says which."""

    def commit_record(self, record: SourceRecord, metadata: RecordMetadata | None) -> None:  # noqa: B027
        """Kafka has acknowledged this record. Costs speed if overridden.

        None: it was dropped, or skipped; if it has a dead letter, Kafka has that.
        """

    def stop(self) -> None:  # noqa: B027  most hold nothing
        """Give back what `start` took. Called once, from the thread that polls, when polling is over."""


class RecordMetadata(Protocol):
    """Where Kafka put a record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int:
        """`UNKNOWN_OFFSET` when Kafka did not say: it had the record already, from a request whose answer was lost."""


class Reported(Protocol):
    """What becomes of a report. Nobody needs to wait: no offset past its record is committed before it is done."""

    def done(self) -> bool:
        """Whether Kafka has the dead letter; at once where there is no topic for them."""

    def result(self, timeout: float | None = None) -> None:
        """Return when it is done. timeout: in seconds.

        Raises TimeoutError, and RetriableError when there is nobody any more to do it.
        """


class ErrantRecordReporter(Protocol):
    """Whom a sink task tells of a record that its system does not take."""

    def report(self, record: SinkRecord, error: Exception) -> Reported:
        """Log it and write it to the dead letter topic, as the connector's `errors.*` say; then go on without it.

        record: one that was put, as it came. Raises ConnectError where `errors.tolerance` is `none`: let it pass.
        """


class SinkContext(Protocol):
    """What a sink task may ask of the engine."""

    @property
    def is_bulk(self) -> bool:
        """Whether this run ends once all there is has been put."""

    def assignment(self) -> Collection[TopicPartition]:
        """The partitions this task has now."""

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Deliver these partitions again from these offsets, from the next `put` on."""

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver nothing of these partitions until they are resumed."""

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Deliver these partitions again."""

    def request_commit(self) -> None:
        """Flush and commit now instead of at the next interval."""

    def is_more_waiting(self) -> bool:
        """Whether the next batch is there already. Ask within `put`: what may be waited for later, may be then.

        Not where `put_is_atomic`: what a batch has failed of would be taken for a fault of the next.
        """

    def retry_after(self, milliseconds: int) -> None:
        """How long to wait before this `put` or flush is made again, when it raises RetriableError."""

    def errant_record_reporter(self) -> ErrantRecordReporter | None:
        """Whom to tell of records that cannot be written; None: nobody is there to hear of them.

        There is one where `errors.deadletterqueue.topic.name` or `errors.log.enable` is set, as in Kafka Connect.
        Ask once, in `start`.
        """


class SinkTask(ABC):
    """Writes to a system.

    reads_timestamps, reads_headers: whether it looks at those of records. A class that says no gets None and no headers
    in their place, and what reading them costs is saved: a fifth of a small record's cost, a third for two headers.

    put_is_atomic: whether a `put` that raises DataError has written nothing of its batch. With errors.tolerance=all the
    batch is then halved until the bad record is found, which is skipped as one is that cannot be converted. Those that
    a transform has made of one record stay together.
    """

    reads_timestamps: ClassVar[bool] = True
    reads_headers: ClassVar[bool] = True
    put_is_atomic: ClassVar[bool] = False
    context: SinkContext

    def initialize(self, context: SinkContext) -> None:
        """Take the context; called once, before `start`."""
        self.context = context

    @abstractmethod
    def start(self, config: Mapping[str, str]) -> None:
        """Begin with one of the connector's `task_configs`. Raises ConnectError."""

    def open(self, partitions: Collection[TopicPartition]) -> None:  # noqa: B027  most need no state a partition
        """These partitions are new here; their records follow."""

    @abstractmethod
    def put(self, batch: SinkBatch) -> None:
        """Take a batch. It may be kept in memory until `flush`; after that it must be safe.

        Raises RetriableError to be given the same batch again.
        """

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:  # noqa: B027  most write in `put`
        """Make safe all that was put. offsets: the next offset of each partition."""

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Flush, and say what may be committed: at most `offsets`, which is the next offset after what was put.

        Or a lower one: that of a record that was reported (or skipped) and whose dead letter Kafka has not yet.
        """
        self.flush(offsets)
        return offsets

    def close(self, partitions: Collection[TopicPartition]) -> None:  # noqa: B027
        """These partitions go elsewhere; what was put of them has been flushed or is read again there."""

    def stop(self) -> None:  # noqa: B027  most hold nothing
        """Give back what `start` took. Called once, when all partitions are closed."""
