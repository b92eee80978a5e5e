"""What two tasks of a sink have put of one partition adds up at the end, however it went from one to the other.

A task that is frozen, or does not let go in time, may put on what its ring holds while the next owner puts the same.
"""

from __future__ import annotations

import os

import pytest

from engine.api.batch import Run
from engine.ledger.entries import Ledger, ledger_bytes
from engine.ledger.reckoning import findings
from engine.ledger.sink import PumpAccount, TaskAccount
from engine.shm import segment
from engine.shm.board import Board, Identity, State, Word, board_bytes
from tests.harness.banks import line_spec

PLACE = ("numbers", 0)


class Worker:
    """A board and a ledger for two tasks of one sink."""

    def __init__(self) -> None:
        descriptor = segment.create("board", board_bytes(2))
        self.board = Board(descriptor)
        self.board.begin(1)
        os.close(descriptor)
        self.memory = segment.create("ledger", ledger_bytes(2))
        for task in range(2):
            self.board.add(Identity("copy", task, "sink", "none"))
            self.board.row(task).set(Word.STATE, State.DONE)

    def task(self, number: int) -> Owner:
        return Owner(self, number)

    def findings(self) -> list[str]:
        return findings(self.board, Ledger(self.memory, self.board))


class Owner:
    """Both accounts of one task."""

    def __init__(self, worker: Worker, number: int) -> None:
        spec = line_spec("sink", task=number, ledger=worker.memory)
        pump, task = PumpAccount.of(spec, worker.board, number), TaskAccount.of(spec, worker.board, number)
        assert pump is not None
        assert task is not None
        self.pump, self.task = pump, task

    def take(self, start: int) -> None:
        self.pump.assigned({PLACE: start})
        self.task.opened([PLACE])

    def consume(self, begin: int, end: int) -> None:
        self.pump.framed([_run(begin, end)], end - begin)

    def put(self, begin: int, end: int) -> None:
        self.task.putting([_run(begin, end)], None, end - begin)

    def commit(self, offset: int) -> None:
        self.pump.committed(PLACE, offset)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_a_task_that_puts_on_after_another_has_its_partition_makes_no_finding(worker: Worker) -> None:
    frozen, other = worker.task(0), worker.task(1)
    frozen.take(0)
    frozen.consume(0, 100)
    frozen.put(0, 60)
    other.take(50)  # the group has given the partition away; what is committed is 50
    other.consume(50, 100)
    other.put(50, 100)
    frozen.put(60, 70)  # it wakes, and has not heard of that yet
    other.commit(100)
    assert worker.findings() == []


@pytest.mark.parametrize(("put_until", "told"), [(100, []), (99, ["1 record missing (offset 99)"])])
def test_a_partition_that_was_let_go_of_in_order_is_compared_over_both(
    put_until: int, told: list[str], worker: Worker
) -> None:
    first, second = worker.task(0), worker.task(1)
    first.take(0)
    first.consume(0, 60)
    first.put(0, 60)
    first.pump.let_go([PLACE])
    second.take(60)
    second.consume(60, 100)
    second.put(60, put_until)
    second.commit(100)
    assert [finding.split(" of ")[0].removeprefix("copy: ") for finding in worker.findings()] == told


def _run(begin: int, end: int) -> Run:
    return Run(*PLACE, 1, end - begin, begin, end - 1)
