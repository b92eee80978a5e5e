"""A hundred lines whose every life fails in an outage start again no faster than stated, and all of them come back.

The lines are the real ones; their processes are numbers that a virtual clock lets end.
"""

from __future__ import annotations

import os
from random import Random

from msgspec.structs import replace

from engine.exits import ExitCode
from engine.shm import segment
from engine.shm.board import Board, Identity, Phase, State, Word, board_bytes
from engine.shm.channel import Channel
from engine.supervisor.fork import Child
from engine.supervisor.line import Line
from engine.supervisor.pacer import STARTS_PER_SECOND, Pacer
from tests.unit.supervisor.specs import spec

LINES = 100
SECOND_NS = 1_000_000_000
TICK_NS = SECOND_NS // 50
OUTAGE_NS = 40 * SECOND_NS
LIFE_NS = 10 * SECOND_NS  # until it has found out that no broker answers
RETRY_STATUS = int(ExitCode.RETRY) << 8  # as waitpid has it


class SteppedClock:
    """Time as the test has it."""

    def __init__(self) -> None:
        self.now_ns = SECOND_NS

    def monotonic_ns(self) -> int:
        return self.now_ns


class Herd:
    """Lines of one worker over processes that are numbers."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.starts_ns: list[int] = []
        self.born_ns: dict[int, int] = {}  # by pid
        self._descriptor = segment.create("board", board_bytes(LINES))
        board = Board(self._descriptor)
        board.begin(1)
        pacer = Pacer(Random(7))
        one = replace(spec("source"), processes=1)
        rows = [board.row(board.add(Identity("orders", task, "source", "none"))) for task in range(LINES)]
        self.lines = [Line(one, task, row, self.fork, self.clock, pacer) for task, row in enumerate(rows)]

    def fork(self, _spec: object, index: int, _channel: Channel, _bank: str) -> Child:
        self.starts_ns.append(self.clock.now_ns)
        pid = len(self.starts_ns)
        self.born_ns[pid] = self.clock.now_ns
        row = self.lines[index].row
        for phase in (Word.TASK_PHASE, Word.PUMP_PHASE):
            row.set(phase, Phase.READY)
        words, writing = os.pipe()
        os.close(writing)
        return Child(pid, "both", words)

    def step(self, *, is_away: bool) -> None:
        """A tick of the supervisor; while the broker is away lives end after LIFE_NS."""
        self.clock.now_ns += TICK_NS
        for line in self.lines:
            for pid in list(line.pids()):
                if is_away and self.clock.now_ns - self.born_ns[pid] >= LIFE_NS:
                    line.reaped(pid, RETRY_STATUS)
            line.row.set(Word.TASK_BEAT_NS, self.clock.now_ns)  # the numbers are real processes to who asks for a stack
            line.tick()

    def close(self) -> None:
        for line in self.lines:
            line.close()
        os.close(self._descriptor)


def test_a_hundred_lines_that_fail_together_for_forty_seconds_start_again_within_the_bound() -> None:
    herd = Herd()
    for line in herd.lines:
        line.start()
    begun = len(herd.starts_ns)
    while herd.clock.now_ns < OUTAGE_NS:
        herd.step(is_away=True)
    while herd.clock.now_ns < 2 * OUTAGE_NS:
        herd.step(is_away=False)
    restarts = herd.starts_ns[begun:]
    most = max(sum(at <= other < at + SECOND_NS for other in restarts) for at in restarts)
    assert most <= STARTS_PER_SECOND + 1  # a tick may come to two turns at once
    assert all(line.state == State.RUNNING for line in herd.lines)
    assert all(line.row.get(Word.RESTARTS) >= 1 for line in herd.lines)
    herd.close()


def test_no_line_is_left_behind_by_those_before_it() -> None:
    herd = Herd()
    for line in herd.lines:
        line.start()
    while herd.clock.now_ns < OUTAGE_NS:
        herd.step(is_away=True)
    counts = [line.row.get(Word.RESTARTS) for line in herd.lines]
    assert max(counts) - min(counts) <= 2
    herd.close()
