"""A fleet comes to what is ordered task by task, disturbs nothing that is so already, and tells when it is there."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.config.line import LineSpec
from engine.herder.model import Again, Hold, Run, Settled
from engine.shm import segment
from engine.shm.board import Board, State, Target, Word, board_bytes
from engine.supervisor.fleet import Fleet
from tests.unit.supervisor.specs import spec

ROWS = 4


class ScriptedLine:
    """A line that ends when the test says so."""

    def __init__(self, board: Board, of: LineSpec, index: int) -> None:
        self.spec = of
        self.row = board.row(index)
        self.index = index
        self.done: list[str] = []
        self.is_over = False

    def start(self) -> None:
        self.done.append("start")
        self.row.set(Word.STATE, State.RUNNING)

    def stop(self, *, is_followed: bool = False) -> None:
        step = "stop for a successor" if is_followed else "stop"
        if step not in self.done:
            self.done.append(step)

    def hold(self, *, is_held: bool) -> None:
        self.row.set(Word.TARGET, Target.PAUSE if is_held else Target.RUN)

    def close(self) -> None:
        self.done.append("close")

    def end(self) -> None:
        self.is_over = True


class Port:
    """A fleet and all lines that it has ever made."""

    def __init__(self) -> None:
        self.board = Board(segment.create("board", board_bytes(ROWS)))
        self.board.begin(1)
        self.made: list[ScriptedLine] = []
        self.forgotten: list[int] = []
        self.fleet = Fleet(self.board, self.make, self.forgotten.append)  # type: ignore[arg-type]  # scripted

    def make(self, of: LineSpec, index: int) -> ScriptedLine:
        line = ScriptedLine(self.board, of, index)
        self.made.append(line)
        return line

    def titles(self) -> list[str]:
        return [f"{row.identity.connector}/{row.identity.task}" for row in self.board.rows()]


@pytest.fixture
def port() -> Port:
    return Port()


def specs(count: int, name: str = "orders", **other: str) -> tuple[LineSpec, ...]:
    return tuple(replace(spec("source", name), task=task, task_config=other) for task in range(count))


def test_what_is_ordered_is_started_and_told_once(port: Port) -> None:
    port.fleet.run(Run("orders", 7, specs(2)))
    assert port.fleet.tick() == [Settled("orders", 7)]
    assert port.fleet.tick() == []
    assert [line.done for line in port.made] == [["start"], ["start"]]
    assert port.titles() == ["orders/0", "orders/1"]


def test_the_same_order_again_disturbs_nothing(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(2)))
    port.fleet.tick()
    port.fleet.run(Run("orders", 2, specs(2)))
    assert port.fleet.tick() == [Settled("orders", 2)]
    assert len(port.made) == 2
    assert all(line.done == ["start"] for line in port.made)


def test_a_line_that_knows_other_connectors_secrets_as_well_is_the_same(port: Port) -> None:
    port.fleet.run(Run("orders", 7, tuple(replace(one, secrets=("mine", "another's")) for one in specs(1))))
    port.fleet.tick()
    port.fleet.run(Run("orders", 8, tuple(replace(one, secrets=("mine",)) for one in specs(1))))
    assert port.fleet.tick() == [Settled("orders", 8)]
    assert [line.done for line in port.made] == [["start"]]


def test_another_configuration_waits_for_the_end_of_the_one_before_and_keeps_its_row(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(1)))
    port.fleet.tick()
    port.fleet.run(Run("orders", 2, specs(1, rate="5")))
    assert port.fleet.tick() == []
    (before,) = port.made
    assert before.done == ["start", "stop"]
    before.end()
    assert port.fleet.tick() == [Settled("orders", 2)]
    assert before.done[-1] == "close"
    assert port.made[1].index == before.index
    assert port.made[1].done == ["start"]


def test_tasks_that_are_not_ordered_any_more_give_their_rows_to_others(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(3)))
    port.fleet.tick()
    port.fleet.run(Run("orders", 2, specs(1)))
    port.fleet.tick()
    for line in port.made[1:]:
        line.end()
    assert port.fleet.tick() == [Settled("orders", 2)]
    assert port.titles() == ["orders/0"]
    assert port.forgotten == [1, 2]
    port.fleet.run(Run("copies", 3, specs(2, "copies")))
    port.fleet.tick()
    assert port.titles() == ["orders/0", "copies/0", "copies/1"]


def test_nothing_is_ordered_when_a_connector_is_deleted_and_it_may_come_again(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(1)))
    port.fleet.tick()
    port.fleet.run(Run("orders", 2, ()))
    assert port.fleet.tick() == []
    port.made[0].end()
    assert port.fleet.tick() == [Settled("orders", 2)]
    assert port.titles() == []
    port.fleet.run(Run("orders", 3, specs(1)))
    assert port.fleet.tick() == [Settled("orders", 3)]


def test_the_last_order_counts(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(1)))
    port.fleet.tick()
    port.fleet.run(Run("orders", 2, specs(1, rate="5")))
    port.fleet.tick()
    port.fleet.run(Run("orders", 3, specs(1, rate="6")))
    port.made[0].end()
    assert port.fleet.tick() == [Settled("orders", 3)]
    assert [line.spec.task_config for line in port.made] == [{}, {"rate": "6"}]


def test_a_task_is_started_again_alone_whether_it_runs_or_is_over(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(2)))
    port.fleet.tick()
    port.made[1].end()
    port.fleet.again(Again("orders", frozenset({0, 1})))
    port.fleet.tick()
    assert port.made[0].done == ["start", "stop for a successor"]
    assert [line.spec.task for line in port.made] == [0, 1, 1]
    port.made[0].end()
    port.fleet.tick()
    assert [line.spec.task for line in port.made] == [0, 1, 1, 0]
    assert port.made[3].done == ["start"]


def test_what_is_paused_stays_so_over_a_new_order(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(1), is_held=True))
    port.fleet.tick()
    assert port.made[0].row.get(Word.TARGET) == Target.PAUSE
    port.fleet.hold(Hold("orders", is_held=False))
    assert port.made[0].row.get(Word.TARGET) == Target.RUN


def test_a_task_that_is_started_again_while_it_is_paused_is_paused(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(1)))
    port.fleet.tick()
    port.fleet.hold(Hold("orders", is_held=True))
    port.fleet.again(Again("orders", frozenset({0})))
    port.fleet.tick()
    port.made[0].end()
    port.fleet.tick()
    assert port.made[1].row.get(Word.TARGET) == Target.PAUSE


def test_more_tasks_than_there_are_rows_is_told_and_what_runs_goes_on(port: Port) -> None:
    port.fleet.run(Run("orders", 1, specs(2)))
    port.fleet.tick()
    port.fleet.run(Run("copies", 2, specs(3, "copies")))
    (settled,) = port.fleet.tick()
    assert "worker.tasks.max" in settled.problem
    assert port.titles()[:2] == ["orders/0", "orders/1"]
    assert port.made[0].done == ["start"]
