"""A picture at the bottom of a terminal on which other processes write log lines at the same time.

    ... log lines ...
    ▏                     the cursor waits here, on an empty line
    picture
    picture

Between two pictures the cursor stands above, not below: whoever writes a line writes it where it belongs, and
the next picture is drawn under it. Log lines clear what is below them (engine.logs), so that nothing of an
old picture stays beside them. The screen is left as it is whatever happens: no mode is switched that
a killed display would leave behind.

Used by: engine.display.main.
Not here: what the picture shows (picture.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["Screen"]

#: Terminals that know it show what lies between as one change.
BEGIN, END = "\x1b[?2026h\x1b[?25l", "\x1b[?25h\x1b[?2026l"
CLEAR_LINE, CLEAR_BELOW, NEXT = "\x1b[K", "\x1b[J", "\r\n"


class Screen:
    """Draws pictures over each other."""

    def __init__(self, descriptor: int, *, can_move: bool = True) -> None:
        """can_move: False for a terminal without a movable cursor, which gets the last picture only."""
        self._descriptor = descriptor
        self._can_move = can_move

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines, none wider than the terminal, fewer than it is high, in place of the last picture."""
        if self._can_move:
            self._write(f"{BEGIN}{_picture(lines)}\x1b[{len(lines)}A\r{END}" if lines else CLEAR_BELOW)

    def leave(self, lines: Sequence[str]) -> None:
        """Show the last picture, and go below it, past an empty line."""
        picture = _picture(lines) if self._can_move else NEXT + NEXT.join(lines)
        self._write(f"{picture}{NEXT}{NEXT}")

    def _write(self, text: str) -> None:
        # In one piece, so that no other process writes into it.
        rest = memoryview(text.encode())
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._can_move = False  # the terminal is gone; the run goes on


def _picture(lines: Sequence[str]) -> str:
    return "\r" + CLEAR_LINE + "".join(f"{NEXT}{line}{CLEAR_LINE}" for line in lines) + CLEAR_BELOW
