"""A source line of which some records kill the process that works on them, over all its lives.

Used by: tests/unit/task/test_source_suspects.py.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from engine.api.batch import SourceBatch
from engine.api.record import SourceRecord
from engine.api.task import Polled, SourceTask
from engine.api.transform import AnyRecord, Transform
from engine.config.line import DeadLetterSpec, Errors, Timing
from engine.mending import Kind
from engine.pump.delivery import Delivery
from engine.shm.board import Phase, Word
from tests.harness.banks import LineMemory, SourceBanks, VirtualClock, line_spec
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer
from tests.harness.steps import Crash
from tests.simulation.accounts import reported

__all__ = ["NUMBERS", "SOURCE", "STEPS_MAX", "Bed", "Counting", "Store"]

STEPS_MAX = 20_000
DEAD = "dead"
NUMBERS = 60
SOURCE = {"source": "numbers"}


class Store:
    """The last offset."""

    def __init__(self) -> None:
        self.next = 0

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        ((_, offset),) = offsets
        self.next = json.loads(offset)["next"]


class Counting(SourceTask):
    """Numbers from the stored one on, in polls of another size in each life; so many at a time have one offset."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._next = bed.store.next
        bed.lives += 1

    def start(self, config: object) -> None:
        pass

    def poll(self) -> Polled:
        if self._bed.range:
            return self._poll_ranges(self._bed.range)
        if self._bed.has_deletes:
            return self._poll_deletes()
        step = self._bed.step
        end = min(NUMBERS, self._next + (7 + 3 * self._bed.lives) // step * step)
        numbers = range(self._next, end)
        self._next = end
        if end == NUMBERS:
            self.context.end()
        offsets = [{"next": min((number // step + 1) * step, NUMBERS)} for number in numbers]
        values = [b"%d" % number for number in numbers]
        if self._bed.has_records:
            return [
                SourceRecord(topic="all", value=value, source_partition=SOURCE, source_offset=offset)
                for value, offset in zip(values, offsets, strict=True)
            ]
        batch = SourceBatch(topic="all", values=values, source_partition=SOURCE, source_offsets=offsets)
        if not self._bed.has_notes:
            return batch
        note = SourceBatch(
            topic="all", values=[], source_partition=SOURCE, source_offsets=[{"next": self._next, "seen": 1}]
        )
        return [batch, note] if values else [note]

    def _poll_ranges(self, size: int) -> Polled:
        """A snapshot: the offset says where the range begins, until that is read to its end."""
        numbers = self._next_numbers()
        offsets = [{"next": (number + 1) // size * size} for number in numbers]
        values = [b"%d" % number for number in numbers]
        return SourceBatch(topic="all", values=values, source_partition=SOURCE, source_offsets=offsets)

    def _poll_deletes(self) -> Polled:
        """Rows of some tables are gone, and only the last batch of a poll, of another table, has an offset."""
        keys = [b"%d" % number for number in self._next_numbers()]
        gone = [SourceBatch(topic=topic, values=[None] * len(keys), keys=keys) for topic in self._bed.tables]
        offset = {"next": self._next}
        last = SourceBatch(topic="last", values=[b"-1"], source_partition=SOURCE, source_offsets=[offset])
        return [*gone, last]

    def _next_numbers(self) -> range:
        numbers = range(self._next, min(NUMBERS, self._next + 7 + 3 * self._bed.lives))
        self._next = numbers.stop
        if self._next == NUMBERS:
            self.context.end()
        return numbers


class DeadlyKeys(Transform):
    """Dies of some keys in the last table."""

    def __init__(self, deadly: Collection[int], bed: Bed) -> None:
        self._deadly, self._bed = {(bed.tables[-1], number) for number in deadly}, bed

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if record.key is None:
            return record
        it = (record.topic, int(record.key))
        if it in self._deadly:
            raise Crash("a deadly one")
        self._bed.seen.add(it)
        return record


class Bed:
    """A source line of which some records are deadly."""

    has_deletes = False
    tables: Sequence[str] = ("one",)
    source_type: type[Counting] = Counting

    def make_store(self) -> Store:
        return Store()

    def __init__(
        self,
        deadly: Collection[int],
        *,
        tolerant: bool = True,
        stages: int = 0,
        step: int = 1,
        has_records: bool = False,
        has_notes: bool = False,
        interval: float = 0.05,
        range_size: int = 0,
    ) -> None:
        """step: how many neighbours have one offset. has_notes: after each poll an offset comes without a record.

        interval: of storing offsets, seconds. range_size: so many have one offset, over polls.
        """
        self.step, self.has_records, self.has_notes = step, has_records, has_notes
        self.range, self.seen = range_size, set[tuple[str, int]]()
        chain = [DeadlyKeys(deadly, self)] if self.has_deletes else []
        self.lives = self.deaths = 0
        self.clock, self.store = VirtualClock(), self.make_store()
        self.kafka = FakeKafka(random.Random(1), self.clock, partitions=1)
        self.kafka.dead_letter_topic = DEAD
        dead = DeadLetterSpec(DEAD, 1, has_context=True, kafka={}) if tolerant else None
        spec = line_spec(
            "source",
            is_bulk=True,
            stage_processes=stages,
            timing=Timing(commit_interval=interval),
            errors=Errors(is_tolerant=tolerant, dead_letters=dead),
        )
        self.memory = LineMemory(spec)
        self.memory.deadly = {b"%d" % number for number in deadly}
        self.banks = SourceBanks(
            spec, self._delivery, self.store, lambda: self.source_type(self), self.clock, chain, self.memory
        )
        self.row = self.banks.row
        self.banks.start()

    def _delivery(self) -> Delivery:
        return Delivery(
            lambda settings: FakeProducer(self.kafka, settings),
            {"enable.idempotence": True},
            wants_each=False,
            timeout_seconds=1.0,
            now_ns=self.clock.monotonic_ns,
        )

    def run(self, *, with_pump: bool = False) -> None:
        """All lives, to the end or a failure. with_pump: who dies takes the pump along, as in one process."""
        for _ in range(STEPS_MAX):
            if self.row.get(Word.PUMP_PHASE) == Phase.ENDED or self.failure is not None:
                return
            if self.dies():
                self.bury(with_pump=with_pump)
        raise AssertionError("no end")

    @property
    def failure(self) -> Exception | None:
        return self.banks.task.failure

    def dies(self) -> bool:
        """Take a step; whether this life has died of it."""
        self.clock.advance(0.01)
        try:
            self.banks.task.step()
            for stage in self.banks.stages:
                stage.step()
        except Crash:
            return True
        self.banks.pump.step()
        return False

    def bury(self, kind: Kind = Kind.CRASH, *, with_pump: bool = False) -> None:
        """The task ends in order, where it was a stage process; the pump stores what it has; and all comes again."""
        self.deaths += 1
        if self.banks.stages and not self.row.get(Word.PART_RECORDS):
            self.banks.task.ask_to_stop()
            self.step_until_over(self.banks.task)
            self.banks.task.stop()
        if not with_pump:
            self.banks.pump.ask_to_stop()
            self.step_until_over(self.banks.pump)
        self.banks.crash()
        self.row.set(Word.ENDED_AS, kind)
        self.banks.start()

    def step_until_over(self, bank: Any) -> None:
        for _ in range(STEPS_MAX):
            if bank.is_over or (bank is self.banks.task and self.row.get(Word.TASK_PHASE) == Phase.ENDED):
                return
            self.clock.advance(0.01)
            bank.step()
            self.banks.pump.step()
        raise AssertionError("no end")

    def check(self, skipped: Sequence[int]) -> None:
        """All but these have arrived, which are dead letters, and all is stored and counted."""
        arrived = {int(value) for value in self.kafka.values()}
        assert arrived == set(range(NUMBERS)).difference(skipped)
        assert sorted(set(map(int, self.kafka.letters()))) == sorted(skipped)
        assert self.store.next == NUMBERS
        told = reported(self.memory).ledger
        if told is not None:
            assert told.records_in == told.records_out + told.skipped
            if not self.range and self.step == 1:  # else those of an offset come again
                assert (told.records_in, told.skipped) == (NUMBERS, len(skipped))
        assert [self.row.get(word) for word in (Word.PART_RECORDS, Word.LONE_DEATHS, Word.HAND_RECORDS)] == [0, 0, 0]
