"""The command `millrace`, with one step of the engine made deadly.

    python -c "..." POINT NTH,NTH FOLDER run pipeline.toml --json        (launched.command)

Before anything is forked the method that the point names is wrapped. A process of the point's bank counts its calls;
at the first NTH of its life it writes the mark FOLDER/0 and kills itself, in the restarted line the second NTH makes
the mark FOLDER/1, and so on until no NTH is left. A mark is made by one process only, however many tasks there are. A
cell whose marks are not all there at the end has failed.

Used by: cell.py.
Not here: which points there are (points.py).
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import setproctitle

from tests.matrix.points import POINTS, resolve

__all__ = ["Strike", "command", "main", "marks"]

ROOT = Path(__file__).parents[2]


def command(point: str, nths: Sequence[int], folder: Path) -> list[str]:
    """What starts it; the arguments of `millrace` follow."""
    folder.mkdir(parents=True, exist_ok=True)
    # This folder comes last in the path: the engine is the one that is tested, be it installed or not.
    run = "import sys; sys.path.append(sys.argv.pop(1)); from tests.matrix import launched; launched.main()"
    return [sys.executable, "-c", run, str(ROOT), point, ",".join(map(str, nths)), str(folder)]


def marks(folder: Path) -> int:
    """How many strikes were made."""
    return len(list(folder.iterdir()))


class Strike:
    """Counts calls in each process, and ends the process at the right one."""

    def __init__(self, bank: str, nths: Sequence[int], folder: Path) -> None:
        self._bank = bank
        self._nths = nths
        self._folder = folder
        self._pid = 0  # whose calls are counted
        self._calls = 0
        self._next = 0  # of the strikes, as this process knows; the marks decide
        self._is_of_bank = False

    def count(self) -> None:
        """A call more; does not return from the one that is struck."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._calls = 0
            self._next = marks(self._folder)
            self._is_of_bank = setproctitle.getproctitle().endswith(f" {self._bank}")
        if not self._is_of_bank:
            return
        self._calls += 1
        while self._next < len(self._nths) and self._calls >= self._nths[self._next]:
            if self._mark(self._next):
                os.kill(os.getpid(), signal.SIGKILL)
            self._next += 1  # another task was struck there

    def _mark(self, number: int) -> bool:
        try:
            os.close(os.open(self._folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def install(point: str, nths: Sequence[int], folder: Path) -> None:
    """Wrap the point's method. Raises LookupError or ImportError when it is not there."""
    of = POINTS[point]
    owner, name, method = resolve(of.target)
    setattr(owner, name, wrapped(method, Strike(of.bank, nths, folder), is_after=of.is_after))


def wrapped(method: Callable[..., Any], strike: Strike, *, is_after: bool) -> Callable[..., Any]:
    """The method, with the strike before or after each of its calls that returns."""

    @functools.wraps(method)
    def struck(*arguments: Any, **named: Any) -> Any:
        if not is_after:
            strike.count()
        answer = method(*arguments, **named)
        if is_after:
            strike.count()
        return answer

    return struck


def main() -> None:
    """Point, numbers and folder from the command line, then the command with what is left of it."""
    from engine import cli

    point, nths, folder = sys.argv[1:4]
    del sys.argv[1:4]
    install(point, [int(nth) for nth in nths.split(",")], Path(folder))
    cli.main()
