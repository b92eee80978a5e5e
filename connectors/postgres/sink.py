"""PostgresSink: records become rows, each exactly once.

    put    new to us? ──► groups of rows ──► one message: BEGIN, offsets, rows, COMMIT
                                     refused ──► BEGIN, offsets, rows ──► reported, letters waited for ──► COMMIT
                                                                          late ──► ROLLBACK, and all of it again

A batch is written with the offset after it in the same transaction: one that comes again, after a kill or a lost
connection, is known by it. `put` returns when that is committed; where the next batch is there already, when all is
sent, so that the server works while that one is made ready. Whether it was committed, the next put or flush asks before
all else (`_settle`): there is one transaction at a time, and what has failed is written before what comes after it.

A put that fails leaves nothing behind and is made again by the engine. Where rows are refused, which ones is found
within one transaction (halving.py); they are reported, or end the task with the record's name. No offset past one of
them is committed before Kafka has its letter: nobody reads it again then.

Nothing waits for long: neither for letters nor for the end of what was sent. Where they are late, the call fails, and
goes on where it was when it is made again: what was sent is asked for again, what was reported is not reported twice,
and no row either, though the server might take it by now.

Used by: the catalog, by entry point.
Not here: rows (rows.py), statements (writing.py), offsets (offsets.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct

from connectors.postgres.checking import look
from connectors.postgres.config import PostgresSinkConfig, Target, contradictions
from connectors.postgres.lines import Refused
from connectors.postgres.offsets import Offsets, Taken, forget_offsets, set_offsets
from connectors.postgres.refusals import RowError, StaleError
from connectors.postgres.rows import Group, groups_of
from connectors.postgres.session import Session, connect, driver
from connectors.postgres.writing import Writer
from engine.api.batch import SinkBatch
from engine.api.connector import SinkConnector
from engine.api.errors import ConfigError, ConnectError, DataError, Problem, RetriableError
from engine.api.record import TopicPartition
from engine.api.task import Reported, SinkTask

__all__ = ["PostgresSinkConnector", "PostgresSinkTask"]

Connect = Callable[[PostgresSinkConfig, str], Session]
Answer = Callable[[float], object]  # waits so many seconds. Raises TimeoutError
Which = tuple[str, int, int, int]  # topic, partition, offset; which of those that a transform has made of that record

#: A call waits so long for dead letters, and so long for what was sent, and is made again after the pause.
LETTERS_SECONDS = 1.0
ANSWER_SECONDS = 1.0
PAUSE_MS = 100


class _Left(Struct):
    """A batch whose put has returned before its transaction was over."""

    batch: SinkBatch
    taken: Taken
    answer: Answer | None = None  # None: it has failed
    closed: set[TopicPartition] = set()  # of which nothing is written again: closed, or sought back since


class PostgresSinkTask(SinkTask):
    """Writes to one database, over one connection."""

    reads_timestamps = False
    reads_headers = False

    def __init__(self, connect: Connect = connect, monotonic: Callable[[], float] = time.monotonic) -> None:
        """connect: makes a session by the settings, under a title."""
        self._connect = connect
        self._monotonic = monotonic
        self._made: Writer | None = None
        self._left: _Left | None = None
        self._is_smooth = True  # the last batch had nothing that was refused
        self._letters: dict[Which, Reported] = {}  # of the batch in hand: records that were reported

    def start(self, config: Mapping[str, str]) -> None:
        self._settings = PostgresSinkConfig.parse(config)
        problems = [*contradictions(self._settings)]
        if problems:
            raise ConfigError(problems)
        if self._connect is connect:
            driver()
        self._name = config.get("name", "postgres-sink")
        self._offsets = Offsets(self._settings.offsets, self._name)
        self._reporter = self.context.errant_record_reporter()

    def open(self, partitions: Collection[TopicPartition]) -> None:
        # Claimed at the flush that is asked for here, or by the first put: those may be tried again, this may not.
        self._offsets.open(partitions)
        self.context.request_commit()

    def put(self, batch: SinkBatch) -> None:
        if not len(batch):
            return
        self._put(batch, without=self._settle(), may_leave=self.context.is_more_waiting())

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        lost = {*self._settle()}
        writer = self._writer()
        taken = self._offsets.settle({place: offset for place, offset in offsets.items() if place not in lost})
        self._seek(taken)
        lost.update(taken.lost)
        if taken.next_offsets:
            self._transaction(writer, taken, lambda: None)
        return {place: offset for place, offset in offsets.items() if place not in lost}

    def close(self, partitions: Collection[TopicPartition]) -> None:
        self._offsets.close(partitions)
        gone = {tuple(place) for place in partitions}
        self._letters = {place: told for place, told in self._letters.items() if place[:2] not in gone}
        if self._left is not None:
            self._left.closed.update(TopicPartition(*place) for place in partitions)

    def stop(self) -> None:
        self._left = None
        self._disconnect()

    def _disconnect(self) -> None:
        if self._made is not None:
            self._made.session.close()
        self._made = None

    def _settle(self) -> Collection[TopicPartition]:
        """Have committed what was put; returns partitions of it that were sought back. Raises as `put`."""
        left = self._left
        if left is None:
            return ()
        lost: Collection[TopicPartition] = ()
        answer, left.answer = left.answer, None
        is_committed = False if answer is None else self._is_committed(left.taken, answer)
        if is_committed is None:
            left.answer = answer
        elif not is_committed:
            lost = self._put(left.batch, without=left.closed, may_leave=False)
        if left.answer is not None:  # or it is again
            self.context.retry_after(PAUSE_MS)
            raise RetriableError(f"connector {self._name}: the server is at work on the last batch yet")
        self._left = None
        return lost

    def _put(
        self, batch: SinkBatch, *, without: Collection[TopicPartition], may_leave: bool
    ) -> Collection[TopicPartition]:
        """Write what is new of a batch; returns partitions that were sought back."""
        writer = self._writer()
        taken = self._offsets.take(batch, without)
        self._seek(taken)
        if self._left is not None:  # before anything may fail: what is sought back is seen as that once only
            self._left.closed.update(taken.lost)
        if taken.next_offsets:
            try:
                self._write(writer, batch, taken, may_leave=may_leave)
            except StaleError:
                writer.forget_tables()  # somebody has changed one; if that is not it, it says so again
                self._write(writer, batch, taken, may_leave=may_leave)
            self._letters.clear()
        return taken.lost

    def _writer(self) -> Writer:
        """On a connection that stands, with all partitions claimed. Raises RetriableError, RefusedError."""
        if self._made is None or self._made.session.is_over:
            self._disconnect()
            session = self._connect(self._settings, f"millrace {self._name}")
            try:
                self._offsets.reconnected(session)
            except BaseException:
                session.close()
                raise
            self._made = Writer(session, self._settings)
        self._offsets.claim(self._made.session)
        return self._made

    def _seek(self, taken: Taken) -> None:
        if taken.lost:
            self.context.seek(taken.lost)

    def _write(self, writer: Writer, batch: SinkBatch, taken: Taken, *, may_leave: bool) -> None:
        self._wait_for_letters()
        groups = self._groups(writer, batch, taken)
        # Where some are refused, more are: what was sent would have to be taken back each time.
        if self._is_smooth and self._send(writer, groups, batch, taken, may_leave=may_leave):
            return
        self._is_smooth = not self._letters

        def write() -> None:
            refused = [one for group in groups for one in writer.write(group)]
            self._is_smooth = self._is_smooth and not refused
            if refused:
                writer.check_constraints()  # which would have all of it written, and reported, once more
                self._refuse(batch, sorted(refused, key=lambda one: one.index))

        try:
            self._transaction(writer, taken, write)
        except RowError:
            # The commit was refused: by constraints that look at its end, and do not tell which row it is.
            groups = self._groups(writer, batch, taken)  # without those that were reported meanwhile
            self._transaction(writer, taken, write, is_strict=True)

    def _groups(self, writer: Writer, batch: SinkBatch, taken: Taken) -> Sequence[Group]:
        """The rows to be written, but for those of records that were reported."""
        indexes = self._not_reported(batch, taken.indexes)
        return writer.prepare(groups_of(batch, indexes, self._settings)) if indexes else []

    def _send(
        self, writer: Writer, groups: Sequence[Group], batch: SinkBatch, taken: Taken, *, may_leave: bool
    ) -> bool:
        """Write as one message; returns whether that is done, or left to be done. Otherwise something is refused."""

        def check(changed: Sequence[int]) -> None:
            self._offsets.check(changed[-1], taken.next_offsets)

        try:
            answer = writer.send(self._offsets.advance_sql(taken.next_offsets), groups, check)
        except (RowError, StaleError):
            writer.roll_back()
            return False
        except BaseException:
            writer.roll_back()
            raise
        if answer is None:
            return False
        is_committed = None if may_leave else self._is_committed(taken, answer)
        if is_committed is None:
            self._left = self._left or _Left(batch, taken)  # the same batch, where it is written once more
            self._left.taken, self._left.answer = taken, answer
        return is_committed is not False

    def _is_committed(self, taken: Taken, answer: Answer) -> bool | None:
        """Wait for the end of what was sent; returns whether it was taken, None while the server is at work.

        Raises what may pass, or ends the task.
        """
        assert self._made is not None, "somebody has sent it"
        try:
            answer(ANSWER_SECONDS)
        except TimeoutError:
            return None
        except (RowError, StaleError):
            self._made.roll_back()
            self._is_smooth = False
            return False
        except BaseException:
            self._made.roll_back()
            raise
        self._offsets.advanced(taken.next_offsets)
        return True

    def _transaction(self, writer: Writer, taken: Taken, write: Callable[[], None], *, is_strict: bool = False) -> None:
        try:
            changed = writer.begin(self._offsets.advance_sql(taken.next_offsets), is_strict=is_strict)
            self._offsets.check(changed, taken.next_offsets)
            write()
            writer.commit()
        except BaseException:
            writer.roll_back()
            raise
        self._offsets.advanced(taken.next_offsets)

    def _refuse(self, batch: SinkBatch, refused: Sequence[Refused]) -> None:
        """Report records, and wait for their letters: once the offsets are stored, nobody reads them again.

        Raises DataError for the first of them where nobody is there to hear of it.
        """
        if self._reporter is None:
            raise self._told(batch, refused[0], len(refused) - 1)
        named = _named(batch)
        for one in refused:
            if named[one.index] not in self._letters:
                self._letters[named[one.index]] = self._reporter.report(batch[one.index], self._told(batch, one))
        self._wait_for_letters()

    def _not_reported(self, batch: SinkBatch, indexes: Sequence[int]) -> Sequence[int]:
        """Without those that were reported: what refused them may be over, and who has a letter gets no row."""
        if not self._letters:
            return indexes
        named = _named(batch)
        return [index for index in indexes if named[index] not in self._letters]

    def _wait_for_letters(self) -> None:
        """Return when Kafka has all that were reported. Raises RetriableError where that takes long."""
        until = self._monotonic() + LETTERS_SECONDS
        try:
            for letter in self._letters.values():
                letter.result(max(0.0, until - self._monotonic()))
        except TimeoutError as error:
            self.context.retry_after(PAUSE_MS)
            raise RetriableError(
                f"connector {self._name}: Kafka has not taken dead letters of the batch yet; it is written once they "
                "are there"
            ) from error

    def _told(self, batch: SinkBatch, one: Refused, more: int = 0) -> DataError:
        topic, partition = batch.original_topics[one.index], batch.original_partitions[one.index]
        place = f"the record at {topic}-{partition}@{batch.offsets[one.index]}"
        column = f", column {one.column}" if one.column else ""
        others = f"; {more} more of its batch are refused" if more else ""
        if isinstance(one.error, RowError):
            told = f"{one.error}{f'; expected {one.expected}' if one.expected else ''}"
            advice = f"; {one.error.advice}" if one.error.advice else ""
        else:
            told, advice = one.error.whole(), ""
        error = DataError(f"connector {self._name}: table {one.target}{column}: {place}: {told}{advice}{others}")
        error.code = one.error.code  # a dead letter has it
        return error


def _named(batch: SinkBatch) -> list[Which]:
    """Which record each of a batch is, also where it is put again."""
    met: Counter[tuple[str, int, int]] = Counter()
    named = []
    for place in zip(batch.original_topics, batch.original_partitions, batch.offsets, strict=True):
        named.append((*place, met[place]))
        met[place] += 1
    return named


class PostgresSinkConnector(SinkConnector):
    """Writes topics into tables, with as many tasks as it may have: each partition is one task's."""

    config = PostgresSinkConfig
    task = PostgresSinkTask

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        try:
            settings = PostgresSinkConfig.parse(properties)
            driver()
        except ConfigError as error:
            # What single keys tell was told by them.
            return [problem for problem in error.problems if not problem.key]
        problems = [*contradictions(settings)]
        # What transforms make of a topic's name, its first record will tell.
        named = "" if properties.get("transforms", "").strip() else properties.get("topics", "")
        topics = [topic.strip() for topic in named.split(",") if topic.strip()]
        return problems or look(settings, topics)

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        return self._altered(properties, lambda session, table, name: set_offsets(session, table, name, offsets))

    def reset_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        return self._altered(properties, forget_offsets)  # also those that the group has not

    def _altered(self, properties: Mapping[str, str], alter: Callable[[Session, Target, str], object]) -> bool:
        settings = PostgresSinkConfig.parse(properties)
        name = properties.get("name", "postgres-sink")
        session = connect(settings, f"millrace {name} offsets")
        try:
            alter(session, settings.offsets, name)
        except RowError as error:
            raise ConnectError(f"the offsets cannot be stored in {settings.offsets}: {error}") from error
        finally:
            session.close()
        return True
