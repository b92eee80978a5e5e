"""`millrace dlq redrive --into`: records of dead letters go through a sink's converters and transforms into its task.

    records ──► convert ──► transform ──► put ──► pre_commit ──► what is done is noted (engine.kafka.resender)
                   └─────── refused ───────┘ costs itself alone

The task sees them as if it read the dead letter topic, and its first transform gave each record back its topic and
partition. Its positions (`open`, `pre_commit`, original topic and partition, offset) are the letters': it cannot take a
letter for a record that it has long had, and what it keeps of the partitions of the connector that runs stays as it is.
Converters and transforms see the record where it was.

Each batch is flushed before the next one, so that nothing needs pauses or commits between. Where one fails, what is
known to be put is flushed and noted before the command ends.

Used by: engine.commands.dlq.
Not here: which letters (redrive.py); a sink that runs (engine.task.sink).
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from engine.api.batch import Run, SinkBatch
from engine.api.column import Repeat
from engine.api.converter import HeaderConverter
from engine.api.errors import ConfigError, ConnectError, Problem, RetriableError
from engine.api.record import Header, SinkRecord, TopicPartition
from engine.api.schema import STRING
from engine.api.task import ErrantRecordReporter, SinkTask
from engine.bank import describe
from engine.clock import Clock
from engine.commands import trial
from engine.commands.dead_letters import ATTEMPT
from engine.commands.redrive import Sending
from engine.config import files
from engine.config.line import LineSpec
from engine.kafka.progress import Progress
from engine.kafka.resender import Going, Noted
from engine.kafka.sample import RawRecord
from engine.logs import masked
from engine.mending import Kind, kind_of
from engine.plugins import environment
from engine.plugins.loading import load
from engine.shm.frame import ArrivedSinkFrame, encode
from engine.stages import convert
from engine.stages.convert import TransformedBatch
from engine.stages.tolerate import Manner
from engine.stages.work import Inbound, inbound, make_stages
from engine.task.putting import Search

__all__ = ["Into", "line_into"]

#: What may pass is waited for here; all else costs its record, headers as well.
_MANNER = Manner(skips=True, transforms_wait=True, reads_headers=True)
_CREATE_TIME = 1

Made = TypeVar("Made")


def line_into(paths: Sequence[Path], into: str) -> LineSpec:
    """The line of a sink: of that name in these files, or of a file of its own. Raises ConfigError."""
    file = Path(into)
    if file.suffix and file.is_file():
        connectors, workers = files.load_connectors([file])
        # With a worker in it, it stands alone; else it is one more connector of the worker of the other files.
        pipeline = files.load([file] if workers else paths)
        line = trial.line_of(pipeline if workers else replace(pipeline, connectors=connectors), "")
    elif paths:
        line = trial.line_of(files.load(paths), into)
    else:
        raise ConfigError(
            [Problem("--into", f"--into {into}: there is no such file; expected one, or files of a sink")]
        )
    if line.type != "sink":
        text = f"--into {into}: it is a source; expected a sink, which takes records"
        raise ConfigError([Problem("--into", text, line.connector)])
    return line


class Told:
    """A `Reported`: it is left, which is told at the end."""

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> None:
        return


class Into:
    """Sends into one task; also the `SinkContext` and `ErrantRecordReporter` that it sees. Close it."""

    is_bulk = True

    def __init__(
        self,
        line: LineSpec,
        topic: str,
        progress: Mapping[int, Progress],
        notes: Sending | None,
        seconds: float,
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """topic: of the letters. notes: keep what is done; None: a dry run, without a task. seconds: for what may pass.

        progress: of every partition. Raises ConnectError.
        """
        environment.enter(line.environments)
        self._line = line
        self._topic = topic
        self._ends = {partition: one.end for partition, one in progress.items()}
        self._notes = notes
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._pause_seconds = line.timing.retry_backoff
        self._sought: dict[TopicPartition, int] = {}
        # Partitions of which the task has sought a position: how far was noted then, and that position.
        self._own: dict[int, tuple[int, int]] = {}
        self._reported: dict[int, str] = {}  # by the letter's offset
        self._is_open = False
        self.dropped = 0  # letters of which transforms have left nothing
        self.kept = 0  # letters of the batch that has failed: they were put before, and are noted
        self._task: SinkTask = load(line.task_path)()
        # Whoever says himself what may be committed may keep positions, and drop what lies before them.
        self._keeps_positions = type(self._task).pre_commit is not SinkTask.pre_commit
        stages = make_stages(line)
        converters = stages.converters
        self._stages = stages._replace(converters=converters._replace(header=_OursAsText(converters.header)))

    @property
    def is_atomic(self) -> bool:
        """Whether a `put` that fails has written nothing."""
        return bool(self._task.put_is_atomic)

    def assignment(self) -> Collection[TopicPartition]:
        return frozenset(TopicPartition(self._topic, partition) for partition in self._ends)

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._sought.update((TopicPartition(*place), offset) for place, offset in offsets.items())

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing comes before what came is flushed."""

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """As above."""

    def request_commit(self) -> None:
        """Each batch is flushed."""

    def is_more_waiting(self) -> bool:
        return False

    def retry_after(self, milliseconds: int) -> None:
        self._pause_seconds = milliseconds / 1000

    def errant_record_reporter(self) -> ErrantRecordReporter | None:
        return self

    def report(self, record: SinkRecord, error: Exception) -> Told:
        self._reported[record.original_offset] = self._told(error)
        return Told()

    def start(self) -> None:
        """Start the task, if there is to be one. Raises ConnectError."""
        if self._notes is None:
            return
        task = self._task
        task.initialize(self)
        self._patiently("start", lambda: task.start(self._line.task_config))
        self._patiently("open", lambda: task.open([*self.assignment()]))
        self._is_open = True

    def close(self) -> None:
        """Give everything back. Raises ConnectError."""
        try:
            if self._is_open:
                self._task.close([*self.assignment()])
            if self._notes is not None:
                self._task.stop()
        except Exception as error:
            raise self._failed("stop", error) from error
        finally:
            self._stages.close()

    def ended(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Close it at the end of a block; an error that ends the block is not hidden. Raises ConnectError."""
        try:
            self.close()
        except ConnectError:
            if error is None:
                raise

    def send(self, batch: Sequence[Going], partition: int, noted: Noted) -> Mapping[int, str]:
        """These are in the sink and noted, but for those that are returned, with the reason. Raises ConnectError."""
        refused = self._passed(batch, partition)
        waiting = {at for at in range(len(batch)) if at not in refused}  # nobody knows yet what becomes of them
        wanted = sorted(waiting)
        try:
            for _, some in groupby(wanted, key=lambda at: (batch[at].record.topic, batch[at].record.timestamp is None)):
                self._give(batch, [*some], refused, waiting)
        except ConnectError:
            self._seconds = 0.0  # what has failed is not waited for again
            with contextlib.suppress(ConnectError):
                self.kept += self._keep(batch, noted, refused, waiting)
            raise
        self._keep(batch, noted, refused, ())
        return refused

    def _give(self, batch: Sequence[Going], indexes: Sequence[int], refused: dict[int, str], waiting: set[int]) -> None:
        """These are put, but for those that are refused then; whatever is raised, `waiting` loses what is known."""
        done = self._patiently("converters and transforms", partial(self._made, [batch[at].record for at in indexes]))
        for one in done.skipped:
            refused[indexes[one.index]] = self._told(one.error)
        origins = [*(range(done.came) if done.origins is None else done.origins)]
        self.dropped += done.came - len(done.skipped) - len({*origins})
        search = Search(0 if self._notes is None else len(done.batch), origins)
        try:
            if not search.is_over:
                self._put(_placed(done, [batch[at].letter for at in indexes], origins), len({*origins}), search)
        finally:
            for at, error in search.found:
                refused.setdefault(indexes[origins[at]], self._told(error))
            left = set() if search.is_over else {indexes[origin] for origin in origins[search.begin :]}
            waiting -= ({*indexes} - left) | {*refused}

    def _keep(self, batch: Sequence[Going], noted: Noted, refused: dict[int, str], waiting: Collection[int]) -> int:
        """What is put is flushed and noted; returns how many letters that are. Raises ConnectError."""
        if self._notes is None or len({*refused, *waiting}) == len(batch):
            return 0
        partition = batch[0].letter.partition
        place = TopicPartition(self._topic, partition)
        self._flush(place, batch[min(waiting)].letter.offset if waiting else batch[-1].letter.offset + 1)
        self._take_reports(batch, refused)
        self._require_its_place(place, batch)
        missing = {*refused, *waiting}
        self._notes.send((), partition, lambda _: noted(missing))
        self._ends[partition] = max(self._ends[partition], noted(missing).end)
        return len(batch) - len(missing)

    def _passed(self, batch: Sequence[Going], partition: int) -> dict[int, str]:
        """Those that a task which keeps positions would take for what it has."""
        noted = self._ends[partition]
        sought = self._sought.pop(TopicPartition(self._topic, partition), 0)
        if sought:
            self._own[partition] = noted, sought
        first, own = self._own.get(partition, (noted, 0))
        if not own and not self._keeps_positions:
            return {}
        why = (
            f"connector {self._line.connector} keeps positions of its own, and letters up to offset {noted - 1} were "
            "there before: it would take this one for one that it has; send it to its topic, without --into"
        )
        unsure = (
            f"connector {self._line.connector} goes on at offset {own} by its own positions: letters {first} to "
            f"{own - 1} are in it, or were passed over, and no command has noted which; look there, and go on with "
            f"--place {partition}@{own}-"
        )
        offsets = {at: one.letter.offset for at, one in enumerate(batch) if one.letter.offset < max(noted, own)}
        return {at: unsure if first <= offset < own else why for at, offset in offsets.items()}

    def _made(self, records: Sequence[RawRecord]) -> Inbound:
        """What the task is given of neighbours with one topic. Raises AgainError, ConnectError."""
        done = inbound(_frame_of(records), self._stages, lambda _: None, _MANNER)
        if done.converted != done.came - done.not_converted_count:
            raise ConnectError(f"a converter has made {done.converted} values of {done.came}")
        return done

    def _put(self, batch: SinkBatch, letters: int, search: Search) -> None:
        """All of them are put but for those that are found. letters: that these come from. Raises ConnectError."""
        while not search.is_over:
            part = convert.part_of(batch, search.begin, search.end)
            try:
                self._patiently("put", partial(self._task.put, part), lets_pass=Kind.RECORD)
            except ConnectError as error:
                if kind_of(error) != Kind.RECORD:
                    raise
                if self.is_atomic or len(batch) == 1:
                    search.failed(error)
                    continue
                if letters > 1:
                    raise self._unknown(error, letters) from error
                # All that it may have written in part is of one letter, which is left.
                search.found.append((0, error))
                return
            search.passed()

    def _unknown(self, error: Exception, letters: int) -> ConnectError:
        advice = "; --at-once 1 puts one letter at a time, so that the bad one is found" if letters > 1 else ""
        return ConnectError(
            f"connector {self._line.connector} refuses one of {letters} letters that it was given at once, and does "
            f"not say which of them it has written: {self._told(error)}{advice}"
        )

    def _flush(self, place: TopicPartition, offset: int) -> None:
        """All before this offset is safe. Raises ConnectError."""

        def flushed() -> None:
            safe = {TopicPartition(*one): at for one, at in self._task.pre_commit({place: offset}).items()}
            if safe.get(place, -1) < offset:
                raise RetriableError(f"it has not said that all before offset {offset} of {place.topic} is safe")

        self._patiently("flush", flushed)

    def _take_reports(self, batch: Sequence[Going], refused: dict[int, str]) -> None:
        """What the task has reported of these is refused. Raises ConnectError for another, which is noted as done."""
        indexes = {one.letter.offset: at for at, one in enumerate(batch)}
        reported, self._reported = self._reported, {}
        for offset, why in reported.items():
            if offset not in indexes:
                raise ConnectError(
                    f"connector {self._line.connector} has reported letter {batch[0].letter.partition}@{offset} after "
                    f"it had said that it was safe: {why}"
                )
            refused[indexes[offset]] = why

    def _require_its_place(self, place: TopicPartition, batch: Sequence[Going]) -> None:
        """Raises ConnectError where the task would have gone on elsewhere."""
        if place in self._sought:
            given = f"{place.partition}@{batch[0].letter.offset}-{batch[-1].letter.offset}"
            raise ConnectError(
                f"connector {self._line.connector} goes on at offset {self._sought[place]} by its own positions when "
                f"it is given letters {given}, so that nobody knows which it has; nothing of them is noted. Look "
                f"there, and go on with --place {place.partition}@{self._sought[place]}-"
            )

    def _patiently(self, doing: str, act: Callable[[], Made], *, lets_pass: Kind | None = None) -> Made:
        """Done, tried again while that may help. lets_pass: errors that are raised as they are. Raises ConnectError."""
        deadline_ns = self._clock.monotonic_ns() + int(self._seconds * 1e9)
        while True:
            try:
                return act()
            except RetriableError as error:
                if self._clock.monotonic_ns() > deadline_ns:
                    raise self._failed(doing, error, f", again and again for {self._seconds:g} s") from error
            except Exception as error:
                if kind_of(error) == lets_pass:
                    raise
                raise self._failed(doing, error) from error
            self._sleep(self._pause_seconds)
            self._pause_seconds = self._line.timing.retry_backoff

    def _failed(self, doing: str, error: Exception, more: str = "") -> ConnectError:
        return ConnectError(f"connector {self._line.connector} failed in {doing}{more}: {self._told(error)}")

    def _told(self, error: Exception) -> str:
        return masked(describe(error), self._line.secrets)


class _OursAsText(HeaderConverter):
    """A sink's own, but for the header that the command adds: nobody has written that with the sink's converter."""

    def __init__(self, given: HeaderConverter) -> None:
        self._given = given

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        return self._given.from_connect_header(topic, header)

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        if key == ATTEMPT and payload is not None:
            return Header(key, payload.decode(), STRING)
        return self._given.to_connect_header(topic, key, payload)


def _frame_of(records: Sequence[RawRecord]) -> ArrivedSinkFrame:
    """As it would come out of a ring. records: of one topic; all of them have timestamps, or none."""
    has_time = records[0].timestamp is not None
    has_headers = any(one.headers for one in records)
    return ArrivedSinkFrame(
        [Run(one.topic, one.partition, 0, 1, one.offset, one.offset) for one in records],
        sum(len(one.key or b"") + len(one.value or b"") for one in records),
        [one.value for one in records],
        [one.key for one in records],
        [*_times(records)] if has_time else None,
        _CREATE_TIME if has_time else 0,
        msgspec.Raw(encode([one.headers for one in records])) if has_headers else msgspec.Raw(b"\xc0"),
    )


def _times(records: Sequence[RawRecord]) -> Iterator[int]:
    return (one.timestamp for one in records if one.timestamp is not None)


def _placed(done: Inbound, letters: Sequence[RawRecord], origins: Sequence[int]) -> SinkBatch:
    """The same records, with the positions of their letters."""
    batch = done.batch
    columns = copy.copy(batch.columns if isinstance(batch, TransformedBatch) else convert.columns_of(batch))
    columns.offsets = [letters[origin].offset for origin in origins]
    columns.original_topics = Repeat(letters[0].topic, len(columns))
    columns.original_partitions = Repeat(letters[0].partition, len(columns))
    return TransformedBatch(columns)
