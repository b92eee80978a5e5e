"""A task bank that is over has closed its transforms and stopped its task, each once, however it came to its end.

But for one whose lease is over: it does not even that.

The bank runs as in its process, by `serve`; its pump is a side of the channel that nobody is at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.api.batch import SinkBatch
from engine.api.record import SourceRecord
from engine.api.task import SinkTask, SourceTask
from engine.api.transform import AnyRecord, Transform
from engine.bank import Bank, Stopper, serve
from engine.clock import SystemClock
from engine.config.line import LineSpec
from engine.exits import ExitCode
from engine.offsets.store import OffsetStore, encode_part
from engine.shm.acts import Act, act_of
from engine.shm.board import Row, Word
from engine.shm.channel import PumpSide
from engine.shm.frame import Assigned, Stored, encode
from engine.shm.lease import Fenced
from engine.stages.transform import Step
from engine.stages.work import Stages
from engine.task.sink import SinkTaskBank
from engine.task.source import SourceTaskBank
from tests.harness.banks import LineMemory, line_spec, no_levels, plain_converters

#: What the task raises an error in.
WAYS = ["nothing", "start", "work", "stop"]


class Calls(Transform):
    """Counts how often it is closed."""

    def __init__(self, *, raises: bool = False) -> None:
        self._raises = raises
        self.closed = 0

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return record

    def close(self) -> None:
        self.closed += 1
        if self._raises:
            raise OSError("closing failed")


class Failing:
    """What the tasks of either kind have in common: they fail where they are told, and count their ends."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.stopped = 0
        self.row: Row | None = None
        self.acts: list[Act] = []  # what the board said, where the task was

    def start(self, config: Mapping[str, str]) -> None:
        self.reach("start")

    def stop(self) -> None:
        self.stopped += 1
        self.reach("stop")

    def reach(self, place: str) -> None:
        if self.row is not None:
            self.acts.append(act_of(self.row, "task"))
        if self.way == place:
            raise ZeroDivisionError(place)


class Source(Failing, SourceTask):
    def poll(self) -> Sequence[SourceRecord]:
        self.reach("work")
        self.context.end()
        return []


class Sink(Failing, SinkTask):
    def open(self, partitions: object) -> None:
        self.reach("work")

    def put(self, batch: SinkBatch) -> None:
        pass


class Once(Stopper):
    """Asks to stop after the bank has had its chance to work."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self) -> bool:
        self.looks += 1
        return self.looks > 2


def serve_one(
    type: str, way: str, chain: Sequence[Transform], fence: Callable[[], None] = lambda: None
) -> tuple[ExitCode, Failing]:
    """One life of a task bank, to its end; returns how it went and what was served."""
    spec: LineSpec = line_spec(type)
    memory = LineMemory(spec)
    side, pump_side = memory.begin()
    memory.row.set(Word.PUMP_PID, 0)  # nobody takes anything or answers
    stages = Stages([Step(transform) for transform in chain], plain_converters())
    given: Any = (stages, side, memory.row, SystemClock())
    task: Source | Sink
    make: Callable[[], Bank]
    if type == "source":
        task = Source(way)
        task.row = memory.row
        make = partial(SourceTaskBank, spec, task, *given)
    else:
        task = Sink(way)
        task.row = memory.row
        make = partial(SinkTaskBank, spec, task, *given)
        assign(pump_side)
    return serve(make, side.bell, Once(), lambda _: None, fence, no_levels()), task


def assign(side: PumpSide) -> None:
    assert side.data_writer().write(encode(Assigned([("t", 0, 1, 0)])))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("type", ["source", "sink"])
def test_transforms_are_closed_once_and_the_task_stopped_once(type: str, way: str) -> None:
    chain = [Calls(), Calls()]
    code, task = serve_one(type, way, chain)
    assert [step.closed for step in chain] == [1, 1]
    assert task.stopped == 1
    assert code == (ExitCode.ERROR if way in ("start", "work") else ExitCode.OK)


@pytest.mark.parametrize("type", ["source", "sink"])
def test_a_transform_that_does_not_close_keeps_no_other_from_it(type: str) -> None:
    chain = [Calls(), Calls(raises=True), Calls()]
    code, task = serve_one(type, "nothing", chain)
    assert [step.closed for step in chain] == [1, 1, 1]
    assert task.stopped == 1
    assert code == ExitCode.OK


@pytest.mark.parametrize("type", ["source", "sink"])
def test_a_bank_whose_lease_is_over_ends_as_it_is(type: str) -> None:
    def fence() -> None:
        raise Fenced("stood still")

    chain = [Calls()]
    code, task = serve_one(type, "nothing", chain, fence)
    assert code == ExitCode.FENCED
    assert task.stopped == chain[0].closed == 0


@pytest.mark.parametrize(("type", "work"), [("source", Act.POLL), ("sink", Act.OPEN)])
def test_the_board_says_which_call_of_the_task_is_going_on(type: str, work: Act) -> None:
    _, task = serve_one(type, "nothing", [])
    assert task.acts == [Act.START, work, Act.STOP]


class Noting(Transform):
    """Notes what the board says while it is called."""

    def __init__(self) -> None:
        self.row: Row | None = None
        self.acts: list[Act] = []

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        assert self.row is not None
        self.acts.append(act_of(self.row, "task"))
        return record


class Waiting(SourceTask):
    """Waits by the context, and gives a record."""

    poll_seconds = 2.5

    def __init__(self, row: Row) -> None:
        self._row = row
        self.beats: list[int] = []

    def start(self, config: object) -> None:
        pass

    def poll(self) -> Sequence[SourceRecord]:
        self.beats.append(self._row.get(Word.TASK_BEAT_NS))
        self.context.wait(0.01)
        self.beats.append(self._row.get(Word.TASK_BEAT_NS))
        self.context.end()
        return [SourceRecord(topic="t", value=b"x", source_partition={}, source_offset={})]


def test_a_source_that_waits_by_its_context_shows_that_it_lives_and_declares_what_it_waits_by_itself() -> None:
    memory = LineMemory(line_spec("source"))
    side, _ = memory.begin()
    task, noting = Waiting(memory.row), Noting()
    noting.row = memory.row
    chain = [Step(noting)]
    bank = SourceTaskBank(line_spec("source"), task, Stages(chain, plain_converters()), side, memory.row, SystemClock())
    bank.start()
    assert memory.row.get(Word.POLL_MS) == 2500
    bank.step()
    assert task.beats[0] < task.beats[1]
    assert noting.acts == [Act.TRANSFORM]
    assert act_of(memory.row, "task") == Act.CONVERT


class Told(SourceTask):
    """Asks, when it is told to commit, what is stored."""

    def start(self, config: object) -> None:
        self.answers = [self.context.offset({"a": 1})]

    def poll(self) -> None:
        self.context.wait(0.001)

    def commit(self) -> None:
        self.answers.append(self.context.offset({"a": 1}))


def test_a_source_is_told_at_each_commit_what_is_stored_by_then(tmp_path: Path) -> None:
    spec = line_spec("source", connector="told", store=str(tmp_path / "store.db"))
    store = OffsetStore(spec.store)
    memory, task = LineMemory(spec), Told()
    side, pump_side = memory.begin()
    bank = SourceTaskBank(spec, task, Stages([], plain_converters()), side, memory.row, SystemClock())
    bank.start()
    for number in (1, 2):
        store.write("told", [(encode_part({"a": 1}), encode_part({"n": number}))])
        assert pump_side.down.write(encode(Stored(number)))
        bank.step()
    store.close()
    assert task.answers == [None, {"n": 1}, {"n": 2}]
