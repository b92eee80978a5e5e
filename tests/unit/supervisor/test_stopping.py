"""A supervisor that is told to stop says so on the board, where control reads it."""

from __future__ import annotations

import signal

from engine.clock import SystemClock
from engine.shm import segment
from engine.shm.board import Board, HeaderWord, board_bytes
from engine.supervisor.line import Line
from engine.supervisor.loop import Supervisor


class NoLines:
    """A fleet of none."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.stirred: list[Line] = []


def test_from_the_first_signal_on_the_board_says_that_it_stops() -> None:
    board = Board(segment.create("board", board_bytes(1)))
    board.begin(1)
    supervisor = Supervisor(board, NoLines(), (), SystemClock(), is_bulk=False)
    assert board.header[HeaderWord.IS_STOPPING] == 0
    supervisor._obey(signal.SIGTERM)
    assert board.header[HeaderWord.IS_STOPPING] == 1
