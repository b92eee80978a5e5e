"""A converter that cannot convert now makes its task wait: shown as such, tried again, and nothing is lost.

Wherever it converts: beside the connector, or in stage processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from engine.api.batch import Run
from engine.api.record import SourceRecord
from engine.api.task import SourceTask
from engine.shm import frame
from engine.shm.board import Target, Word
from engine.shm.frame import Assigned, End, SinkFrame, SourceFrame
from engine.shm.waits import Cause, waits_of
from engine.task.sink import SinkTaskBank
from engine.task.source import SourceTaskBank
from tests.harness.banks import CollectingSink, LineMemory, VirtualClock, line_spec

#: Longer than any pause between two tries.
LONG_S = 20.0

pytestmark = pytest.mark.parametrize("stages", [0, 2])


class Thrice(SourceTask):
    """Three records in one poll, for two topics, and no more."""

    def start(self, config: object) -> None:
        pass

    def poll(self) -> Sequence[SourceRecord]:
        self.context.end()
        return [
            SourceRecord(topic=topic, value=value, source_partition={"a": 1}, source_offset={"n": number})
            for number, (topic, value) in enumerate([("t", b"0"), ("u", b"1"), ("u", b"2")])
        ]


class World:
    """A task bank whose converters need something that may be away."""

    def __init__(self, type: str, stages: int) -> None:
        self.is_away = True
        self.clock = VirtualClock()
        spec = line_spec(type, stage_processes=stages)
        self.memory = LineMemory(spec)
        self.memory.is_away = lambda: self.is_away
        side, self.pump = self.memory.begin()
        self.memory.aim(Target.RUN)
        self.row = self.memory.row
        self.row.set(Word.PUMP_PID, 1)
        given: Any = (self.memory.stages([]), side, self.row, self.clock, None, self.memory.crew(spec, side))
        self.put: list[Any] = []
        self.bank: SinkTaskBank | SourceTaskBank
        if type == "sink":
            self.bank = SinkTaskBank(spec, CollectingSink(self.put), *given)
        else:
            self.bank = SourceTaskBank(spec, Thrice(), *given)
        self.bank.start()
        self.stages = self.memory.stage_banks(spec, [], self.clock)

    def steps(self, count: int = 5) -> None:
        for _ in range(count):
            self.clock.advance(LONG_S)
            self.bank.step()
            for stage in self.stages:
                stage.step()

    def waits(self) -> list[Cause]:
        return [wait.cause for wait in waits_of(self.row)]

    def frames(self) -> list[SourceFrame | End]:
        reader = self.pump.data_reader()
        found = []
        while (message := reader.read()) is not None:
            found.append(frame.decode_source(bytes(message)))
            reader.release()
        return found


def test_a_sinks_frame_waits_and_is_put_whole_once_it_can_be_converted(stages: int) -> None:
    world = World("sink", stages)
    writer = world.pump.data_writer()
    assert writer.write(frame.encode(Assigned([("t", 0, 1, 0)])))
    run = Run("t", 0, 1, 3, 0, 2)
    assert writer.write(frame.encode(SinkFrame([run], 3, [b"a", b"b", b"c"], None, None, 1)))
    world.steps()
    assert world.put == []
    assert world.waits() == [Cause.CONVERT]
    assert world.bank.failure is None
    world.is_away = False
    world.steps()
    assert [value for _, _, _, value in world.put] == [b"a", b"b", b"c"]
    assert world.waits() == []


def test_partitions_can_be_given_up_meanwhile(stages: int) -> None:
    world = World("sink", stages)
    writer = world.pump.data_writer()
    assert writer.write(frame.encode(Assigned([("t", 0, 1, 0)])))
    assert writer.write(frame.encode(SinkFrame([Run("t", 0, 1, 1, 0, 0)], 1, [b"a"], None, None, 1)))
    world.steps()
    assert world.pump.down.write(frame.encode(frame.Revoke(1, [("t", 0, 1)])))
    world.is_away = False
    world.steps()
    assert world.put == []
    assert world.waits() == []


def test_a_sources_poll_waits_and_goes_on_where_it_was(stages: int) -> None:
    world = World("source", stages)
    world.steps()
    assert world.waits() == [Cause.CONVERT]
    assert world.frames() == []
    world.is_away = False
    world.steps()
    frames = world.frames()
    values = [value for one in frames if isinstance(one, SourceFrame) for value in one.values]
    assert values == [b"0", b"1", b"2"]
    assert isinstance(frames[-1], End)
    assert frames[-1].is_complete
    assert world.waits() == []


def test_a_source_that_is_stopped_meanwhile_ends_without_the_rest_which_is_polled_again(stages: int) -> None:
    world = World("source", stages)
    world.steps()
    assert world.waits() == [Cause.CONVERT]
    world.memory.aim(Target.STOP)
    world.steps()
    (end,) = world.frames()
    assert isinstance(end, End)
    assert end.polled == 0
    assert not end.is_complete
    assert world.bank.failure is None
