"""Main of the display: look, draw, wait; at TERM once more, and leave the last picture on the screen.

    board ──► Watch ──► Look ──► picture ──► Screen ──► standard error

Light on purpose: the supervisor imports it before it forks; rich is imported in the child alone.

Used by: engine.boot.
Not here: whether there is a terminal (the caller decides), what is shown (picture.py), log lines (engine.logs).
"""

from __future__ import annotations

import signal

from engine.clock import Clock, SystemClock
from engine.exits import ExitCode
from engine.shm.board import Board

__all__ = ["run"]

#: Often enough to look alive, seldom enough to cost a hundredth of a core.
DRAW_SECONDS = 0.25
_TERM = {signal.SIGTERM}


def run(board_descriptor: int, clock: Clock | None = None) -> ExitCode:
    """Draw until TERM."""
    # From the first line on: TERM ends a wait below, and never tears a picture.
    signal.pthread_sigmask(signal.SIG_BLOCK, _TERM)
    from rich.console import Console  # noqa: PLC0415  after the fork: no other process draws

    from engine.display.picture import lines_of  # noqa: PLC0415
    from engine.display.screen import Screen  # noqa: PLC0415
    from engine.display.watch import Watch  # noqa: PLC0415

    console = Console(stderr=True)
    screen = Screen(console.file.fileno(), can_move=not console.is_dumb_terminal)
    watch = Watch(Board(board_descriptor), clock or SystemClock())
    while signal.sigtimedwait(_TERM, DRAW_SECONDS) is None:
        screen.draw(lines_of(watch.look(), console))
    screen.leave(lines_of(watch.last_look(), console))
    return ExitCode.OK
