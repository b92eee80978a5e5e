"""Both banks of a line in one process, over the real rings, stepped by a test.

    line = SinkBanks(spec, make_consumer, make_task, clock)
    line.start(); line.step(); line.crash(); line.start() ...

A life begins with a fresh channel, as the supervisor makes one, and ends in order or by `crash`: whatever the banks
held in their objects is gone. The board's row stays over all lives.

Used by: tests/simulation (on a virtual clock, with a fake Kafka), tests/kafka (on a real one).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from msgspec.structs import replace

from converters.byte_array import ByteArrayConverter
from engine.api.batch import SinkBatch
from engine.api.converter import Decoded, Encoded, Failure
from engine.api.errors import DataError, RetriableError
from engine.api.record import TopicPartition
from engine.api.schema import Schema
from engine.api.task import SinkTask, SourceTask
from engine.api.transform import Transform
from engine.clock import Clock
from engine.config.line import LineSpec, PluginSpec
from engine.kafka.consumer import Member
from engine.ledger import sink, source
from engine.ledger.entries import ledger_bytes
from engine.pump.consumer_port import ConsumerPort
from engine.pump.delivery import Delivery
from engine.pump.letters import DeadLetters
from engine.pump.lost import Notes
from engine.pump.sink import SinkPumpBank
from engine.pump.source import SourcePumpBank, StorePort
from engine.shm import segment
from engine.shm.board import Board, Identity, Phase, Row, StageWord, Target, Word, board_bytes
from engine.shm.channel import Channel, PumpSide, StageSide, TaskSide
from engine.shm.levels import LevelTable
from engine.stage.bank import StageBank
from engine.stage.main import make_bank
from engine.stages.convert import Converters
from engine.stages.transform import Step
from engine.stages.work import Stages
from engine.task.crew import Crew
from engine.task.sink import SinkTaskBank
from engine.task.source import SourceTaskBank
from tests.harness.steps import Crash, Steps
from tests.harness.watched import WatchedBoard, WatchedPage, WatchedPumpSide, WatchedStageSide, WatchedTaskSide

__all__ = ["CollectingSink", "LineMemory", "SinkBanks", "SourceBanks", "VirtualClock", "line_spec", "no_levels"]

Place = tuple[str, int]
Account = TypeVar("Account", sink.TaskAccount, sink.PumpAccount, source.PumpAccount)
NOTHING = PluginSpec("none:None")
PID = 1  # any process id: the banks only look whether there is one


def no_levels() -> LevelTable:
    """A table that nobody has written."""
    return LevelTable(memoryview(bytearray(64)))


class VirtualClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def monotonic_ns(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * 1e9)


def has_ledger() -> bool:
    """Whether simulated lines keep a ledger; MILLRACE_LEDGER=off: no, so that all else is tested alone."""
    return os.environ.get("MILLRACE_LEDGER") != "off"


def line_spec(type: str, **more: Any) -> LineSpec:
    """A line's specification with nothing in it that only processes need."""
    given: dict[str, Any] = {
        "connector": "numbers",
        "task": 0,
        "type": type,
        "plugin": "none",
        "task_path": "none:None",
        "task_config": {},
        "key_converter": NOTHING,
        "value_converter": NOTHING,
        "header_converter": NOTHING,
        "kafka": {},
        "ring_bytes": 64 * 1024,
    }
    return LineSpec(**{**given, **more})


class LineMemory:
    """A line's row of a board of its own, and its channel, which is made anew for each life."""

    def __init__(self, spec: LineSpec, steps: Steps | None = None, *, is_in_ledger: bool = True) -> None:
        """steps: of the banks, which are watched then in all that they store; None: they are not."""
        self._spec = spec
        self.is_in_ledger = is_in_ledger and has_ledger()
        self._steps = steps
        descriptor = segment.create("board", board_bytes(1))
        self.board = Board(descriptor) if steps is None else WatchedBoard(descriptor, steps, spec.type)
        self.board.begin(1)
        self.row: Row = self.board.row(self.board.add(Identity(spec.connector, spec.task, spec.type, spec.plugin)))
        os.close(descriptor)  # mapped, it lives on
        self.ledger = segment.create("ledger", ledger_bytes(1))
        self.channel: Channel | None = None
        self._ledger_writers: dict[int, str] = {}
        self.is_away: Callable[[], bool] = lambda: False  # what the converters need, asked for each column
        self.bad: Collection[bytes] = ()  # what they never convert
        self.deadly: Collection[bytes] = ()  # of what their process dies

    def begin(self) -> tuple[TaskSide, PumpSide]:
        """A fresh channel's two sides, for a new life."""
        self.end()
        self.channel = Channel.create("line", self._spec.ring_bytes, self._spec.stage_processes)
        for word in (Word.TASK_PHASE, Word.PUMP_PHASE):
            self.row.set(word, Phase.FORKED)
        for word in (Word.TASK_PID, Word.PUMP_PID):
            self.row.set(word, PID)
        for number in range(self._spec.stage_processes):
            self.row.stage_set(number, StageWord.PID, PID)
        if self._steps is not None:
            return WatchedTaskSide(self.channel, self._steps), WatchedPumpSide(self.channel, self._steps)
        return TaskSide(self.channel), PumpSide(self.channel)

    def stage_banks(self, spec: LineSpec, chain: Sequence[Step], clock: Clock) -> list[StageBank]:
        """The stage processes of a life that has begun."""
        assert self.channel is not None, "no life"
        banks = []
        for number in range(spec.stage_processes):
            is_checked = spec.ledger >= 0
            if self._steps is None:
                side = StageSide(self.channel, number, is_checked=is_checked)
            else:
                side = WatchedStageSide(self.channel, number, self._steps, is_checked=is_checked)
            banks.append(make_bank(spec, self.stages(chain), side, self.row, clock, number))
        return banks

    def stages(self, chain: Sequence[Step]) -> Stages:
        """What a task or one of its stage processes works with."""
        return Stages(chain, plain_converters(self.is_away, self.bad, self.deadly))

    def crew(self, spec: LineSpec, side: TaskSide) -> Crew | None:
        """The stage processes as the task has them; None: there are none."""
        return Crew(side.stage_ends(is_checked=spec.ledger >= 0), self.row) if spec.stage_processes else None

    def unwatched(self) -> AbstractContextManager[None]:
        """What happens within is no bank's that is watched, and none dies of it."""
        return nullcontext() if self._steps is None else self._steps.by("")

    def watched(self, account: Account | None) -> Account | None:
        """The account, its page of the ledger watched."""
        if account is not None and self._steps is not None:
            account._page = WatchedPage(account._page, self._steps, self._ledger_writers)
        return account

    @property
    def stage_processes(self) -> int:
        """How many the line has."""
        return self._spec.stage_processes

    def with_ledger(self, spec: LineSpec) -> LineSpec:
        """The specification with this line's ledger, unless it is to have none."""
        return replace(spec, ledger=self.ledger) if self.is_in_ledger else spec

    def end(self) -> None:
        """Give the channel back."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def __del__(self) -> None:
        os.close(self.ledger)
        self.end()  # a session makes thousands of lines, and a process may have a thousand descriptors

    def aim(self, target: Target) -> None:
        """Tell the banks what to become."""
        self.row.set(Word.TARGET, target)


def plain_converters(
    is_away: Callable[[], bool] = lambda: False, bad: Collection[bytes] = (), deadly: Collection[bytes] = ()
) -> Converters:
    """Bytes as they are. is_away: whether a column's middle cannot be converted now. bad: what never can.

    deadly: what ends the process.
    """
    converters = Needy(is_away), Needy(is_away, bad, deadly), ByteArrayConverter()
    for converter in converters:
        converter.configure(converter.config.parse({}), is_key=False)
    return Converters(*converters)


class Needy(ByteArrayConverter):
    """Needs something outside that may be away, as a schema registry is, and is fed what it cannot take."""

    def __init__(
        self, is_away: Callable[[], bool], bad: Collection[bytes] = (), deadly: Collection[bytes] = ()
    ) -> None:
        self._is_away = is_away
        self._bad = bad
        self._deadly = deadly

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        found = super().from_connect(topic, values, schemas)
        return Encoded(found.payloads, [*found.failures, *self._failures(values)])

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        found = super().to_connect(topic, payloads)
        return Decoded(found.values, found.schemas, [*found.failures, *self._failures(payloads)])

    def _failures(self, values: Sequence[Any]) -> list[Failure]:
        count = len(values)
        if self._deadly and any(value in self._deadly for value in values):
            raise Crash("a deadly one")
        away = [Failure(count // 2, RetriableError("it is away"))] if count and self._is_away() else []
        if not self._bad:
            return away
        return away + [Failure(at, DataError("a bad one")) for at, value in enumerate(values) if value in self._bad]


class SinkBanks:
    """A sink's two banks."""

    def __init__(
        self,
        spec: LineSpec,
        make_consumer: Callable[[Member], ConsumerPort],
        make_task: Callable[[], SinkTask],
        clock: Clock,
        wait: Callable[[float], object] | None = None,
        chain: Sequence[Transform] = (),
        notes: Notes | None = None,
        memory: LineMemory | None = None,
    ) -> None:
        """wait: what happens while a revocation waits for the task; None: the task steps."""
        self._notes = notes
        self._spec = spec
        self._chain = [Step(transform) for transform in chain]
        self._make_consumer = make_consumer
        self._make_task = make_task
        self._clock = clock
        self._wait = wait or (lambda _: self.task.step())
        self.task: SinkTaskBank
        self.pump: SinkPumpBank
        self.stages: list[StageBank] = []
        self.memory = memory or LineMemory(spec)
        self.make_letters: Callable[[Row], DeadLetters] | None = None  # of each life; None: nobody wants dead letters
        self.may_hear: Callable[[], bool] = lambda: True  # whether the pump can, while the task waits within a call
        self._spec = self.memory.with_ledger(spec)
        self.row = self.memory.row

    def start(self) -> None:
        """Begin a life."""
        self.make()
        self.pump.start()
        self.task.start()

    def make(self) -> None:
        """A life's banks over a fresh channel, not started."""
        task_side, pump_side = self.memory.begin()
        board = self.memory.board
        self.task = SinkTaskBank(
            self._spec,
            self._make_task(),
            self.memory.stages(self._chain),
            task_side,
            self.row,
            self._clock,
            self.memory.watched(sink.TaskAccount.of(self._spec, board, 0)),
            self.memory.crew(self._spec, task_side),
        )
        self.stages = self.memory.stage_banks(self._spec, self._chain, self._clock)
        self.pump = SinkPumpBank(
            self._spec,
            self._make_consumer,
            pump_side,
            self.row,
            self._clock,
            self._wait,
            self.memory.watched(sink.PumpAccount.of(self._spec, board, 0)),
            self._notes,
        )
        if self.make_letters is not None:
            self.pump.letters = self.make_letters(self.row)
        self.task.reporter.sleep = self._sleep

    def _sleep(self, seconds: float) -> None:
        """What the task does while it waits within a call."""
        if isinstance(self._clock, VirtualClock):
            self._clock.advance(seconds)
        if not self.may_hear():
            return
        with self.memory.unwatched():  # the pump does it, in the middle of what the task does
            self.pump.hear()

    def step(self, patience: float = 0.0) -> None:
        """Let each bank do a piece of work."""
        if not self.pump.is_over:
            self.pump.step(patience)
        for stage in self.stages:
            stage.step()
        if not self.task.is_over:
            self.task.step()

    def stop(self, *, leave: bool = True, steps_max: int = 100_000) -> None:
        """End this life in order."""
        self.memory.aim(Target.STOP)
        for _ in range(steps_max):
            if self.task.is_over and self.pump.is_over:
                break
            self.step()
        assert self.task.is_over and self.pump.is_over
        self.task.stop()
        self.pump.stop(leave=leave)

    def crash(self) -> None:
        """End this life as KILL does: nothing is told to anybody."""
        del self.task, self.pump
        self.stages = []
        self.row.write_off()


class SourceBanks:
    """A source's two banks."""

    def __init__(
        self,
        spec: LineSpec,
        make_delivery: Callable[[], Delivery],
        store: StorePort,
        make_task: Callable[[], SourceTask],
        clock: Clock,
        chain: Sequence[Transform] = (),
        memory: LineMemory | None = None,
    ) -> None:
        self._spec = spec
        self._chain = [Step(transform) for transform in chain]
        self._make_delivery = make_delivery
        self._store = store
        self._make_task = make_task
        self._clock = clock
        self.memory = memory or LineMemory(spec)
        self._spec = self.memory.with_ledger(spec)
        self.row = self.memory.row
        self.stages: list[StageBank] = []

    def start(self) -> None:
        """Begin a life."""
        self.make()
        self.pump.start()
        self.task.start()

    def make(self) -> None:
        """A life's banks over a fresh channel, not started."""
        task_side, pump_side = self.memory.begin()
        self.task = SourceTaskBank(
            self._spec,
            self._make_task(),
            self.memory.stages(self._chain),
            task_side,
            self.row,
            self._clock,
            source.TaskAccount.of(self._spec, self.row),
            self.memory.crew(self._spec, task_side),
        )
        self.stages = self.memory.stage_banks(self._spec, self._chain, self._clock)
        account = self.memory.watched(source.PumpAccount.of(self._spec, self.memory.board, 0))
        delivery = self._make_delivery()
        delivery.account = account
        self.pump = SourcePumpBank(self._spec, delivery, self._store, pump_side, self.row, self._clock, account=account)

    def crash(self) -> None:
        """End this life as KILL does."""
        del self.task, self.pump
        self.stages = []
        self.row.write_off()


class CollectingSink(SinkTask):
    """Remembers what was put, and what it has been told to make safe; one list over all lives."""

    def __init__(self, records: list[tuple[str, int, int, bytes | None]]) -> None:
        self.records = records
        self.opened: list[TopicPartition] = []
        self.closed: list[TopicPartition] = []
        self.batches: list[SinkBatch] = []

    def start(self, config: Mapping[str, str]) -> None:
        pass

    def open(self, partitions: Collection[TopicPartition]) -> None:
        self.opened.extend(partitions)

    def put(self, batch: SinkBatch) -> None:
        self.batches.append(batch)
        self.records.extend(zip(batch.topics, batch.partitions, batch.offsets, batch.values, strict=True))

    def close(self, partitions: Collection[TopicPartition]) -> None:
        self.closed.extend(partitions)


def values_by_partition(records: Sequence[tuple[str, int, int, bytes | None]]) -> dict[Place, list[bytes | None]]:
    """What was put, in order, by partition."""
    values: dict[Place, list[bytes | None]] = {}
    for topic, partition, _, value in records:
        values.setdefault((topic, partition), []).append(value)
    return values
