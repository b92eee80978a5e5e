"""A source line with everything around it, run on one seed: what is polled, what is stored, and what must be true.

Used by: tests.simulation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

from confluent_kafka import KafkaError
from msgspec.structs import replace

from engine.api.batch import SourceBatch
from engine.api.errors import DataError, RetriableError, UnreachableError
from engine.api.record import SourceRecord
from engine.api.task import UNKNOWN_OFFSET, Polled, RecordMetadata, SourceTask
from engine.api.transform import AnyRecord, FlatMap, Transform
from engine.config.line import DeadLetterSpec, Errors, Timing
from engine.offsets.store import encode_part
from engine.pump.delivery import Delivery
from engine.pump.refusals import Refusals
from engine.shm.board import Measure, Stage, Word
from tests.harness.banks import LineMemory, SourceBanks, VirtualClock, line_spec
from tests.harness.claims import claim
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import FakeProducer, partition_of
from tests.harness.lives import BOTH, Lives
from tests.harness.steps import Steps
from tests.simulation.accounts import reported

__all__ = ["SourceLine"]

PARTITIONS = 4
STEPS_MAX = 30_000
#: From then on nothing goes wrong any more, but for what Kafka always refuses.
CALM_AFTER = 3_000
KEYS = 11
#: Records that are made of one that is multiplied.
PIECES = 3
SOURCE = {"source": "numbers"}
DEAD = "dead"
KINDS = ("columns", "columns with partitions", "columns with keys", "records", "several batches")


def _errors(letters: bool) -> Errors:
    dead = DeadLetterSpec(DEAD, 1, has_context=True, kafka={}) if letters else None
    return Errors(is_tolerant=True, retry_ms=-1, retry_pause_ms_max=50, dead_letters=dead)


class Store:
    """The offset store; looks, whenever it is written, whether all before the offset is in Kafka."""

    def __init__(self, kafka: FakeKafka, is_dropped: set[int], is_multiplied: set[int]) -> None:
        """is_dropped: numbers that nothing has to be in Kafka of; of others that do not arrive there is a letter."""
        self._kafka = kafka
        self._arrived: set[int] = set(is_dropped)
        self._pieces: dict[int, set[bytes]] = {number: set() for number in is_multiplied}
        self._prefix = 0
        self.next = 0
        kafka.on_store = self._store

    def _store(self, _: object, value: bytes) -> None:
        pieces = self._pieces.get(int(value))
        if pieces is None or len(pieces | {value}) == PIECES:
            self._arrived.add(int(value))
        if pieces is not None:
            pieces.add(value)

    def expect_whole(self, number: int) -> None:
        """This number is neither dropped nor multiplied after all."""
        self._arrived.discard(number)
        self._pieces.pop(number, None)

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        self._kafka.steps.at("before store")
        ((source, offset),) = offsets
        claim(source == encode_part(SOURCE), source)
        wanted = json.loads(offset)["next"]
        while self._prefix in self._arrived:
            self._prefix += 1
        claim(wanted <= self._prefix, f"{wanted} is stored, {self._prefix} is not in Kafka")
        claim(wanted >= self.next, f"the stored offset goes back from {self.next} to {wanted}")
        self.next = wanted
        self._kafka.steps.at("after store")


class Numbers(SourceTask):
    """0, 1, 2, ... in batches of all kinds."""

    def __init__(self, line: SourceLine) -> None:
        self._line = line
        self._rng = line.rng
        self._next = line.store.next
        self.answered: list[int] = []

    def start(self, config: object) -> None:
        pass

    def poll(self) -> Polled:
        self._line.steps.at("poll the connector")
        if self._rng.random() < 0.05:
            raise RetriableError("later")
        if self._rng.random() < 0.1:
            return self._looked() if self._line.kind.startswith("columns") else None
        begin = self._next
        self._next = min(self._line.total, begin + self._rng.randint(1, 60))
        if self._next == self._line.total:
            self.context.end()
        if begin == self._next:
            return None
        if self._line.kind == "records":
            return [self._record(number) for number in range(begin, self._next)]
        if self._line.kind == "several batches":
            middle = (begin + self._next) // 2
            return [self._batch(first, end) for first, end in ((begin, middle), (middle, self._next)) if first < end]
        return self._batch(begin, self._next)

    def commit_record(self, record: SourceRecord, metadata: RecordMetadata | None) -> None:
        number = int(record.value)
        self.answered.append(number)
        if metadata is None:
            claim(number in self._line.dropped | self._line.bad | self._line.refused, f"{number} is said to be dropped")
            has_letter = record.value in self._line.kafka.letters() or number not in self._line.lettered
            claim(has_letter, f"{number} is said to be done with, and Kafka has no letter of it")
            return
        log = self._line.kafka.logs[metadata.topic, metadata.partition]
        last = record.value + b" " * PIECES if number in self._line.multiplied else record.value
        offsets = [offset for offset, value in log if value == last]
        is_there = metadata.offset in offsets or (metadata.offset == UNKNOWN_OFFSET and offsets)
        claim(is_there, f"{number} is not at offset {metadata.offset}")

    def _looked(self) -> SourceBatch:
        """How far it is, and no record."""
        return SourceBatch(topic="", values=[], source_partition=SOURCE, source_offsets=[{"next": self._next}])

    def _record(self, number: int) -> SourceRecord:
        return SourceRecord(
            topic="even" if number % 2 == 0 else "odd",
            value=b"%d" % number,
            partition=number % PARTITIONS,
            source_partition=SOURCE,
            source_offset={"next": number + 1},
        )

    def _batch(self, begin: int, end: int) -> SourceBatch:
        numbers = range(begin, end)
        return SourceBatch(
            topic="all",
            values=[b"%d" % number for number in numbers],
            keys=[b"%d" % (number % KEYS) for number in numbers] if self._line.kind == "columns with keys" else None,
            partitions=[number % PARTITIONS for number in numbers] if "partitions" in self._line.kind else None,
            source_partition=SOURCE,
            source_offsets=[{"next": number + 1} for number in numbers],
        )


class DropSome(Transform):
    """Drops the numbers it is told."""

    def __init__(self, dropped: set[int]) -> None:
        self._dropped = dropped

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return None if int(record.value) in self._dropped else record


class Refuse(Transform):
    """Cannot take the numbers it is told."""

    def __init__(self, bad: set[int]) -> None:
        self._bad = bad

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if int(record.value) in self._bad:
            raise DataError("a bad one")
        return record


class MakeThree(FlatMap):
    """Makes of each number that it is told three of a kind: itself with one, two and three spaces behind it."""

    def __init__(self, numbers: set[int]) -> None:
        self._numbers = numbers

    def apply_many(self, record: AnyRecord) -> Iterable[AnyRecord]:
        if int(record.value) not in self._numbers:
            return [record]
        return [replace(record, value=record.value + b" " * count) for count in range(1, PIECES + 1)]


class SourceLine:
    """A source line with everything around it."""

    kills = False  # bad records end the process, where a converter or transform would refuse them

    def __init__(
        self,
        seed: int,
        *,
        total: int = 400,
        kind: str = "",
        wants_each: bool | None = None,
        stages: int = 0,
        bad: float = 0.0,
        refused: float = 0.0,
        letters: bool = False,
    ) -> None:
        """total: records of the source, at most. kind, wants_each: else the seed decides. stages: stage processes.

        bad: how many of them a transform, or a converter, cannot take. refused: and how many Kafka does not.
        letters: whether these are dead letters.
        """
        self.rng = rng = random.Random(seed)
        self.clock, self.steps = VirtualClock(), Steps(rng)
        self.kafka = FakeKafka(rng, self.clock, partitions=PARTITIONS, steps=self.steps)
        self.total = rng.randint(1, total)
        self.kind = kind or rng.choice(KINDS)
        self.dropped = {n for n in range(self.total) if rng.random() < 0.2} if rng.random() < 0.3 else set()
        more = random.Random(seed + 1)  # of its own, so that a seed's schedule is what it was before there was this
        self.multiplied = {n for n in range(self.total) if more.random() < 0.2} if more.random() < 0.3 else set()
        self._spoil(seed, bad, refused)
        self.store = self._make_store(letters)
        self.wants_each = rng.random() < 0.3 if wants_each is None else wants_each
        self.is_idempotent = rng.random() < 0.8  # else the user has switched it off
        self.ends = 0.002  # how often something ends the line
        self.producers: list[FakeProducer] = []
        self.spec = spec = line_spec(
            "source",
            wants_commit_record=self.wants_each,
            is_bulk=True,
            ring_bytes=rng.choice((32, 64, 256)) * 1024,
            stage_processes=stages,
            timing=Timing(commit_interval=0.05, retry_backoff=0.02),
            errors=_errors(letters) if bad or refused else Errors(),
        )
        memory = LineMemory(spec, self.steps, is_in_ledger=rng.random() < 0.8)
        chance = random.Random(f"converters {seed}")
        memory.is_away = lambda: self.ends > 0 and chance.random() < 0.03
        in_chain = {number for number in self.bad if number % 2 and seed % 2 and not self.kills}
        memory.bad, memory.deadly = self._in_converters(in_chain)
        chain = self._chain(in_chain)
        self.banks = SourceBanks(spec, self._delivery, self.store, lambda: Numbers(self), self.clock, chain, memory)
        self.lives = Lives(self.banks, self.steps, rng, self.clock)
        self.lives.may_be_late = lambda: self.kafka.unkind.outage > 0
        self.lives.on_death = self._bury_producers

    def _spoil(self, seed: int, bad: float, refused: float) -> None:
        chosen = random.Random(f"bad {seed}")
        self.bad = {n for n in range(self.total) if chosen.random() < bad} - self.dropped
        self.refused = {n for n in range(self.total) if chosen.random() < refused} - self.dropped - self.bad
        self.kafka.poison = {b"%d" % number for number in self.refused}
        self.multiplied -= self.bad | self.refused

    def _make_store(self, letters: bool) -> Store:
        self.lettered = self.bad | self.refused if letters else set()
        if letters:
            self.kafka.dead_letter_topic, self.kafka.poison_code = DEAD, KafkaError.POLICY_VIOLATION
        return Store(self.kafka, (self.dropped | self.bad | self.refused) - self.lettered, self.multiplied)

    def _in_converters(self, in_chain: set[int]) -> tuple[set[bytes], set[bytes]]:
        """What converters refuse, and what kills them."""
        found = {b"%d" % number for number in self.bad - in_chain}
        return (set(), found) if self.kills else (found, set())

    def _chain(self, bad: set[int]) -> list[Transform]:
        chain: list[Transform] = [DropSome(self.dropped)] if self.dropped else []
        if bad:
            chain.append(Refuse(bad))
        if self.multiplied:
            chain.append(MakeThree(self.multiplied))
        return chain

    def _delivery(self) -> Delivery:
        return Delivery(
            self._producer,
            {"enable.idempotence": self.is_idempotent},
            wants_each=self.wants_each,
            timeout_seconds=1.0,
            now_ns=self.clock.monotonic_ns,
            refusals=Refusals(self.spec, self.banks.row, self.clock) if self.refused else None,
        )

    @property
    def failure(self) -> Exception | None:
        """Why it has ended; None: it has not failed for good."""
        return self.lives.failure

    def run(self) -> None:
        """All lives of the line, until it has ended in order or a restart would not help."""
        self.steps.draw()
        self.lives.start()
        for step in range(STEPS_MAX):
            if step == CALM_AFTER:
                self.steps.calm()
                self.ends = 0.0
            if not self.lives.dead and all(map(self.lives.is_over, BOTH)) and self.failure is None:
                return
            self.clock.advance(self.rng.choice((0.0, 0.0, 0.001, 0.02)))
            self.lives.turn()
            if self.failure is None and self.rng.random() < self.ends:
                self.lives.end_somehow()
                if self._is_final():
                    return
                self.lives.start()
            elif self.lives.see():
                if self._is_final():
                    return
                self.lives.start()
            self.check()
        raise AssertionError(f"not at the end after {STEPS_MAX} steps")

    def _is_final(self) -> bool:
        """Whether the failure of the last life is one after which the supervisor does not start it again."""
        if isinstance(self.failure, RetriableError | UnreachableError):
            self.lives.failure = None
        return self.failure is not None

    def _producer(self, settings: object) -> FakeProducer:
        self.producers.append(FakeProducer(self.kafka, settings))  # type: ignore[arg-type]
        return self.producers[-1]

    def _bury_producers(self, name: str) -> None:
        if name == "pump":
            for producer in self.producers:
                producer.die()
            self.producers.clear()

    def check(self) -> None:
        """What holds after every step; what holds at every store stands in tests/harness/watched.py."""
        row = self.banks.row
        produced = row.measured(Stage.PRODUCE, Measure.RECORDS)
        claim(
            produced <= row.measured(Stage.CONVERT, Measure.RECORDS) + row.may_be_repeated(), "produced out of nothing"
        )
        if "pump" not in self.lives.dead:
            untold = self.banks.pump._delivery._doubtful
            claim(not untold, f"{untold} records may be there twice, and a pump that dies now has not told it")

    def check_end(self) -> None:
        """What holds once it is over."""
        values = self.kafka.values()
        wanted = {
            value
            for number in set(range(self.total)) - self.dropped - self.bad - self.refused
            for value in self._made_of(number)
        }
        claim(set(values) == wanted, f"missing: {sorted(wanted - set(values))[:10]}")
        claim(self.store.next == self.total, f"{self.store.next} of {self.total} is stored")
        letters = {int(value) for value in self.kafka.letters()}
        claim(letters == self.lettered, f"no letter of {sorted(self.lettered - letters)[:10]}")
        if self.is_idempotent or not self.kafka.unkind.lose:
            bound = self.banks.row.may_be_repeated() + self.kafka.untold
            claim(len(values) - len(wanted) <= bound, f"{len(values) - len(wanted)} repeats, at most {bound} were told")
        if not self.lives.deaths and len(values) == len(wanted):
            stored = self.banks.row.measured(Stage.STORE, Measure.RECORDS) - len(self.refused)
            claim(stored == len(wanted), f"{stored} of {len(wanted)} records count as stored")
        if "keys" in self.kind:
            for (_, partition), log in self.kafka.plain_logs.items():
                keys = {b"%d" % (int(value) % KEYS) for _, value in log}
                strays = {key for key in keys if partition_of(key, PARTITIONS) != partition}
                claim(not strays, f"{strays} do not belong into partition {partition}")
        # Without idempotence nothing keeps the requests after a refused one from being stored before it.
        is_refused = bool(self.kafka.unkind.refuse or self.kafka.batch_max or self.refused)
        has_order = "keys" in self.kind or "partitions" in self.kind or self.kind == "records"
        if has_order and (self.is_idempotent or not is_refused):
            for log in self.kafka.plain_logs.values():
                firsts = list(dict.fromkeys((int(value), len(value)) for _, value in log))
                claim(firsts == sorted(firsts), "first occurrences are out of order")
        self._check_ledger()

    def _made_of(self, number: int) -> list[bytes]:
        value = b"%d" % number
        return [value + b" " * count for count in range(1, PIECES + 1)] if number in self.multiplied else [value]

    def _check_ledger(self) -> None:
        told = reported(self.banks.memory).ledger
        if told is None:
            return
        claim(told.records_in + told.added == told.records_out + told.dropped + told.skipped, told)
        claim((told.lost, told.doubled, told.left) == (0, 0, 0), told)
        # A kill after offsets were stored and before that is counted makes `repeated` of what was `in`.
        claim(told.records_in <= self.total, told)
        if not self.lives.deaths:
            claim((told.records_in, told.dropped) == (self.total, len(self.dropped)), told)
            claim(told.skipped == len(self.bad) + len(self.refused), told)
            refusals = self.banks.row.get(Word.REFUSALS)
            claim(refusals == len(self.refused), f"{refusals} of {len(self.refused)} are told")
            claim(self.banks.row.get(Word.LETTERS) >= len(self.lettered), "a letter for each bad record")
            claim(told.added == (PIECES - 1) * len(self.multiplied - self.dropped), told)
