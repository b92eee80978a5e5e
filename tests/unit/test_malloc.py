"""A child keeps the memory of its batches, and gives back what it has not needed again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from engine.exits import ExitCode
from engine.malloc import FIRST_TRIM_SECONDS, TRIM_SECONDS, Trim
from engine.supervisor.fork import fork

PIECES, PIECE_BYTES = 40_000, 1000
MB = 1_000_000


def test_it_is_due_soon_after_the_start_and_then_once_in_a_while() -> None:
    seconds = [0.0]
    trimmed: list[float] = []
    trim = Trim(lambda: seconds[0], lambda: trimmed.append(seconds[0]))
    for step in range(200):
        seconds[0] = float(step)
        trim.look()
    assert trimmed == [FIRST_TRIM_SECONDS + turn * TRIM_SECONDS for turn in range(4)]


def test_a_child_keeps_what_it_frees_and_gives_it_back_when_it_trims() -> None:
    def main(say: Callable[[str], None]) -> ExitCode:
        pieces = [bytes(PIECE_BYTES) for _ in range(PIECES)]
        full = resident_bytes()
        del pieces
        kept = resident_bytes()
        late = iter((0.0, FIRST_TRIM_SECONDS))
        Trim(lambda: next(late)).look()
        say(f"{full} {kept} {resident_bytes()}")
        return ExitCode.OK

    child = fork("trimming", main, ())
    os.waitpid(child.pid, 0)
    full, kept, left = map(int, child.last_words().split())
    assert full - kept < 10 * MB
    assert full - left > 30 * MB


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
