"""The suites find what they are for: connectors in memory, each with one mistake, fail the sentence that forbids it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import pytest
from msgspec import Meta

from engine.api.batch import SinkBatch, SourceBatch
from engine.api.config import Config, Password
from engine.api.connector import SinkConnector, SourceConnector
from engine.api.errors import ConnectError, DataError, RetriableError
from engine.api.record import SourceRecord, TopicPartition
from engine.api.schema import INT64, STRING
from engine.api.task import SinkTask, SourceTask
from engine.api.testing import SinkCase, SinkSuite, SourceCase, SourceSuite

COUNT = 25
SIZE = 4


class NumbersConfig(Config, frozen=True, kw_only=True):
    """Of both."""

    topic: Annotated[str, Meta(min_length=1, description="Where to.")] = "t"
    password: Annotated[Password, Meta(description="Of nobody.")] = Password("")


class UndescribedConfig(Config, frozen=True, kw_only=True):
    """Says nothing of its key."""

    topic: str = "t"


class ShownConfig(Config, frozen=True, kw_only=True):
    """Has a secret that is none."""

    token: Annotated[str, Meta(description="Of nobody.")] = ""


class Numbers(SourceTask):
    """Gives numbers, a few a poll."""

    def __init__(self) -> None:
        self.next = 0
        self.is_open = False

    def start(self, config: Mapping[str, str]) -> None:
        NumbersConfig.parse(config)
        stored = self.context.offset({"of": "numbers"})
        self.next = 0 if stored is None else self.behind(stored)
        self.is_open = True

    def behind(self, offset: Mapping[str, Any]) -> int:
        if not isinstance(offset.get("number"), int):
            raise ConnectError(f"{offset} has no number")
        return int(offset["number"]) + 1

    def poll(self) -> Any:
        numbers = range(self.next, min(self.next + SIZE, COUNT))
        if not numbers:
            self.is_over()
            return None
        batch = self.batch(numbers)
        self.next = numbers.stop
        return batch

    def is_over(self) -> None:
        if self.context.is_bulk:
            self.context.end()
        else:
            self.context.wait(0.5)

    def batch(self, numbers: range) -> SourceBatch:
        return SourceBatch(
            topic="t",
            values=list(numbers),
            value_schema=INT64,
            source_partition={"of": "numbers"},
            source_offsets=[{"number": number} for number in numbers],
        )


class NumbersSource(SourceConnector):
    config = NumbersConfig
    task = Numbers

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties)]


class Repeats(Numbers):
    def behind(self, offset: Mapping[str, Any]) -> int:
        return super().behind(offset) - 1


class Leaps(Numbers):
    def behind(self, offset: Mapping[str, Any]) -> int:
        return super().behind(offset) + 1


class TakesAnything(Numbers):
    def behind(self, offset: Mapping[str, Any]) -> int:
        return int(offset.get("number", -1)) + 1


class MovesFirst(Numbers):
    has_failed = False

    def poll(self) -> Any:
        numbers = range(self.next, min(self.next + SIZE, COUNT))
        self.next = numbers.stop
        if numbers.start == SIZE and not self.has_failed:
            self.has_failed = True
            raise RetriableError("once")
        return self.batch(numbers) if numbers else self.is_over()


class NeverEnds(Numbers):
    def is_over(self) -> None:
        self.context.wait(0.5)


class EndsAlways(Numbers):
    def is_over(self) -> None:
        self.context.end()


class WaitsLong(Numbers):
    def is_over(self) -> None:
        for _ in range(2):
            self.context.wait(1.5)
        super().is_over()


class StopsOnlyWhatWasStarted(Numbers):
    def stop(self) -> None:
        if not self.is_open:
            raise AttributeError("is_open")


class HasTuples(Numbers):
    def batch(self, numbers: range) -> SourceBatch:
        batch = super().batch(numbers)
        batch.source_offsets = [{"number": number, "more": (1, 2)} for number in numbers]
        return batch


class HasTheWrongSchema(Numbers):
    def batch(self, numbers: range) -> SourceBatch:
        batch = super().batch(numbers)
        batch.value_schema = STRING
        return batch


class HasShortColumns(Numbers):
    def batch(self, numbers: range) -> SourceBatch:
        batch = super().batch(numbers)
        batch.keys = ["one"] * (len(numbers) + 1)
        return batch


class NamesBadly(Numbers):
    def poll(self) -> Any:
        batch = super().poll()
        return None if batch is None else [SourceRecord(topic="größe", source_partition={}, source_offset={})]


class Chatters(Numbers):
    def start(self, config: Mapping[str, str]) -> None:
        super().start(config)
        logging.getLogger(__name__).debug("started with %s", dict(config))


class GivesLater(Numbers):
    """What it gives comes from a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.has_come = threading.Event()
        self.timer = threading.Timer(0.05, self.has_come.set)

    def start(self, config: Mapping[str, str]) -> None:
        super().start(config)
        self.timer.start()

    def poll(self) -> Any:
        return super().poll() if self.has_come.is_set() else None

    def stop(self) -> None:
        self.timer.cancel()


class AsksItsContext(NumbersSource):
    def start(self, properties: Mapping[str, str]) -> None:
        super().start(properties)
        assert self.context is not None
        assert self.context.partition_counts(["t"]) == {}


#: Ends the threads that were left.
OVER = threading.Event()


class LeavesAThread(NumbersSource):
    def start(self, properties: Mapping[str, str]) -> None:
        super().start(properties)
        threading.Thread(target=OVER.wait, daemon=True).start()


def source_with(mistake: type[Numbers]) -> type[SourceSuite]:
    connector = type("NumbersSource", (NumbersSource,), {"task": mistake, "__module__": __name__})
    return type("Suite", (SourceSuite,), {"connector": connector})


def failures(suite: type[Any], case: Any, renewed: Any = lambda: None, only: str = "") -> set[str]:
    """The sentences that a suite's connector does not keep. only: the one that is tried."""
    found = set()
    for name in sorted(name for name in dir(suite) if name.startswith(f"test_{only}_" if only else "test_")):
        renewed()
        try:
            getattr(suite(), name)(case)
        except Exception:
            found.add(name.split("_")[1])
    return found


def numbers_case() -> SourceCase:
    return SourceCase(config={"topic": "t"}, count=COUNT)


def test_a_source_without_a_mistake_keeps_everything() -> None:
    assert failures(source_with(Numbers), numbers_case()) == set()


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (Repeats, "s4"),
        (Leaps, "s4"),
        (MovesFirst, "s3"),
        (EndsAlways, "s8"),
        (WaitsLong, "s8"),
        (StopsOnlyWhatWasStarted, "s6"),
        (TakesAnything, "s9"),
        (HasTuples, "s1"),
        (HasTheWrongSchema, "s1"),
        (HasShortColumns, "s1"),
        (NamesBadly, "s1"),
        (Chatters, "c3"),
    ],
)
def test_a_mistake_of_a_source_is_found(mistake: type[Numbers], sentence: str) -> None:
    assert failures(source_with(mistake), numbers_case(), only=sentence) == {sentence}


def test_a_bulk_run_without_an_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.api.testing.sources.POLLS_MAX", 50)
    assert failures(source_with(NeverEnds), numbers_case(), only="s3") == {"s3"}


def test_what_comes_from_a_thread_is_waited_for() -> None:
    assert failures(source_with(GivesLater), numbers_case(), only="s3") == set()


def test_a_connector_has_its_context_before_it_starts() -> None:
    suite = source_with(Numbers)
    suite.connector = AsksItsContext
    assert failures(suite, numbers_case()) == set()


def test_a_thread_that_a_connector_leaves_is_found() -> None:
    suite = source_with(Numbers)
    suite.connector = LeavesAThread
    try:
        assert failures(suite, numbers_case(), only="c5") == {"c5"}
    finally:
        OVER.set()


@pytest.mark.parametrize(("config", "sentence"), [(UndescribedConfig, "c1"), (ShownConfig, "c3")])
def test_a_mistake_of_a_configuration_is_found(config: type[Config], sentence: str) -> None:
    suite = source_with(Numbers)
    suite.connector.config = config
    assert failures(suite, numbers_case(), only=sentence) == {sentence}


#: What sinks have written: the numbers of values.
ROWS: list[int] = []
#: The next offset of each partition, as a system that keeps them has it.
NEXT: dict[tuple[str, int], int] = {}


class Rows(SinkTask):
    """Writes each record once, and refuses "bad"."""

    def __init__(self) -> None:
        self.is_open = False

    def start(self, config: Mapping[str, str]) -> None:
        self.reporter = self.context.errant_record_reporter()
        self.is_open = True

    def put(self, batch: SinkBatch) -> None:
        for record in batch:
            place = record.original_topic, record.original_partition
            if record.original_offset < NEXT.get(place, 0):
                continue
            if record.value == "bad":
                self.refuse(record)
            elif isinstance(record.value, str) and record.value.startswith("value "):
                ROWS.append(int(record.value.split()[1]))
            NEXT[place] = record.original_offset + 1

    def refuse(self, record: Any) -> None:
        error = DataError("bad")
        if self.reporter is None:
            raise error
        self.reporter.report(record, error)


class RowsSink(SinkConnector):
    config = NumbersConfig
    task = Rows

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [dict(self.properties) for _ in range(tasks_max)]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        NEXT.update({(place.topic, place.partition): offset or 0 for place, offset in offsets.items()})
        return True


class SetsNothing(RowsSink):
    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        return True


class GoesByRuns(Rows):
    def put(self, batch: SinkBatch) -> None:
        if batch.runs:
            super().put(batch)


class WritesAgain(Rows):
    def put(self, batch: SinkBatch) -> None:
        NEXT.clear()
        super().put(batch)


class LosesWhatItHasKept(Rows):
    def start(self, config: Mapping[str, str]) -> None:
        super().start(config)
        self.kept: list[SinkBatch] = []

    def put(self, batch: SinkBatch) -> None:
        self.kept.append(batch)

    def close(self, partitions: Collection[TopicPartition]) -> None:
        self.kept.clear()

    def stop(self) -> None:
        for batch in self.kept if self.is_open else []:
            super().put(batch)


class ClaimsMore(Rows):
    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        return {place: offset + 1 for place, offset in offsets.items()}


class LosesTheBatchOfABadOne(Rows):
    def put(self, batch: SinkBatch) -> None:
        bad = [record for record in batch if record.value == "bad"]
        if bad:
            self.refuse(bad[0])
        else:
            super().put(batch)


class ReportsTwice(Rows):
    def refuse(self, record: Any) -> None:
        super().refuse(record)
        super().refuse(record)


class PassesOverBadOnes(Rows):
    def refuse(self, record: Any) -> None:
        if self.reporter is not None:
            super().refuse(record)


class GoesOnWithoutLeave(Rows):
    def refuse(self, record: Any) -> None:
        with suppress(ConnectError):
            super().refuse(record)


class ForgetsPartitionsThatCome(Rows):
    def open(self, partitions: Collection[TopicPartition]) -> None:
        if hasattr(self, "mine"):
            return
        self.mine = {*partitions}

    def close(self, partitions: Collection[TopicPartition]) -> None:
        self.mine -= {*partitions}

    def put(self, batch: SinkBatch) -> None:
        if not batch or (batch[0].topic, batch[0].partition) in self.mine:
            super().put(batch)


class StopsOnlyWhatIsOpen(Rows):
    def stop(self) -> None:
        if not self.is_open:
            raise AttributeError("is_open")


class CountsAhead(Rows):
    def put(self, batch: SinkBatch) -> None:
        new = [record for record in batch if record.original_offset >= NEXT.get((record.topic, record.partition), 0)]
        for record in new:
            NEXT[record.topic, record.partition] = record.original_offset + 1
        self.write([record.value for record in new])  # cut short here, they are counted and not written

    def write(self, values: Sequence[Any]) -> None:
        ROWS.extend(int(value.split()[1]) for value in values)


def sink_with(mistake: type[Rows]) -> type[SinkSuite]:
    connector = type("RowsSink", (RowsSink,), {"task": mistake, "__module__": __name__})
    return type("Suite", (SinkSuite,), {"connector": connector})


def rows_case() -> SinkCase:
    return SinkCase(config={}, written=lambda: ROWS, bad_values=["bad"], is_once=True)


def emptied() -> None:
    ROWS.clear()
    NEXT.clear()


def test_a_sink_without_a_mistake_keeps_everything() -> None:
    assert failures(sink_with(Rows), rows_case(), emptied) == set()


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (GoesByRuns, "k1"),
        (WritesAgain, "k6"),
        (LosesWhatItHasKept, "k3"),
        (ClaimsMore, "k1"),
        (LosesTheBatchOfABadOne, "k7"),
        (ReportsTwice, "k7"),
        (PassesOverBadOnes, "k8"),
        (GoesOnWithoutLeave, "k8"),
        (ForgetsPartitionsThatCome, "k5"),
        (StopsOnlyWhatIsOpen, "k4"),
        (CountsAhead, "k9"),
    ],
)
def test_a_mistake_of_a_sink_is_found(mistake: type[Rows], sentence: str) -> None:
    assert failures(sink_with(mistake), rows_case(), emptied, only=sentence) == {sentence}


def test_a_sink_that_does_not_set_its_offsets_is_found() -> None:
    suite = sink_with(Rows)
    suite.connector = SetsNothing
    assert failures(suite, rows_case(), emptied) == {"k10"}


def test_a_cut_that_would_cut_nothing_is_found() -> None:
    """Of a class whose code belongs to another package than its connector."""
    for suite, case, sentence in ((source_with(Numbers), numbers_case(), "s7"), (sink_with(Rows), rows_case(), "k9")):
        suite.connector.__module__ = "another_package"
        assert failures(suite, case, emptied, only=sentence) == {sentence}
