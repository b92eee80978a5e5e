"""All lines of a worker: those that files named at the start, and those that are ordered while it runs.

    Run(name, generation, lines) ──► task by task: the same as runs ──► left alone
                                                   another, or none ──► stop ──► over ──► its successor, or none
                                     all as ordered ──► Settled

An order says what shall be; a later one for the same connector takes its place, whatever has been reached. A row of the
board stays with its task over all its lines, so that counters go on.

Used by: engine.boot, engine.supervisor.orders.
Not here: what a line goes through (line.py), who orders (orders.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from engine.config.line import LineSpec
from engine.herder.model import Again, Hold, Run, Settled
from engine.shm.board import Board, Identity
from engine.supervisor.line import Line

__all__ = ["Fleet", "MakeLine"]

logger = logging.getLogger("millrace.supervisor")

#: Makes the line of a specification that has the board's row of this index.
MakeLine = Callable[[LineSpec, int], Line]


class _Berth(Struct):
    """A task's place: its row, and the line that has it now."""

    index: int
    spec: LineSpec  # as it was ordered
    line: Line
    is_doomed: bool = False  # to be started again, whatever it is


class Fleet:
    """Makes lines, lets them go, and knows which are there."""

    def __init__(self, board: Board, make_line: MakeLine, forget: Callable[[int], None] = lambda index: None) -> None:
        """forget: called with the index of a row that another task may have from now on."""
        self._board = board
        self._make_line = make_line
        self._forget = forget
        self._berths: dict[str, dict[int, _Berth]] = {}  # by connector and task
        self.stirred: list[Line] = []  # lines that were ordered anything; whoever looks at them empties it
        self._orders: dict[str, Run] = {}  # the last of each connector
        self._open: set[str] = set()  # connectors whose order is not carried out yet
        self._held: set[str] = set()  # connectors that are paused

    @property
    def lines(self) -> list[Line]:
        """All of them, over or not."""
        return [berth.line for berths in self._berths.values() for berth in berths.values()]

    def add(self, specs: Sequence[LineSpec]) -> None:
        """Make the lines that a run begins with; they start when the supervisor does. Raises OSError, ValueError."""
        for spec in specs:
            self._berth(self._claim(spec), spec)

    def run(self, order: Run) -> None:
        """Let this be so, from the next tick on."""
        self._orders[order.name] = order
        self._open.add(order.name)
        self._hold(order.name, is_held=order.is_held)

    def hold(self, order: Hold) -> None:
        """Let the connector's lines pause, or go on."""
        self._hold(order.name, is_held=order.is_held)
        for berth in self._of(order.name):
            berth.line.hold(is_held=order.is_held)

    def again(self, order: Again) -> None:
        """Start tasks again, also those that have failed or come to their end."""
        for berth in self._of(order.name):
            if berth.spec.task in order.tasks:
                berth.is_doomed = True
                self._open.add(order.name)

    def tick(self) -> list[Settled]:
        """Go on with what is ordered; returns the orders that have been carried out since the last tick."""
        settled = []
        for name in sorted(self._open):
            order = self._orders.get(name)
            wanted = [berth.spec for berth in self._of(name)] if order is None else list(order.lines)
            is_held = name in self._held
            problem = ""
            try:
                is_done = self._come_closer(name, wanted, is_held=is_held)
            except (OSError, ValueError) as error:
                # No row is left for it: what runs already goes on.
                is_done, problem = True, str(error)
                logger.warning("%s: %s", name, problem)
            if is_done:
                self._open.discard(name)
                if order is not None:
                    settled.append(Settled(name, order.generation, problem))
                    if not order.lines:
                        del self._orders[name]
                        self._held.discard(name)
        return settled

    def _hold(self, name: str, *, is_held: bool) -> None:
        """Remember it, for lines that are still to come."""
        if is_held:
            self._held.add(name)
        else:
            self._held.discard(name)

    def _of(self, name: str) -> list[_Berth]:
        return list(self._berths.get(name, {}).values())

    def _come_closer(self, name: str, wanted: Sequence[LineSpec], *, is_held: bool) -> bool:
        """Do what can be done now; returns whether that was all. Raises OSError, ValueError."""
        by_task = {spec.task: spec for spec in wanted}
        is_done = True
        for berth in self._of(name):
            spec = by_task.pop(berth.spec.task, None)
            is_same = spec is not None and _is_same(spec, berth.spec)
            if is_same and not berth.is_doomed:
                berth.line.hold(is_held=is_held)
            elif not berth.line.is_over:
                berth.line.stop(is_followed=is_same)
                self.stirred.append(berth.line)
                is_done = False
            else:
                berth.line.close()
                if spec is None:
                    del self._berths[name][berth.spec.task]
                    if not self._berths[name]:
                        del self._berths[name]
                    self._board.free(berth.index)
                    self._forget(berth.index)
                else:
                    self._board.row(berth.index).renew()
                    self._start(berth.index, spec, is_held=is_held)
        for spec in by_task.values():
            self._start(self._claim(spec), spec, is_held=is_held)
        return is_done

    def _start(self, index: int, spec: LineSpec, *, is_held: bool) -> None:
        line = self._berth(index, spec).line
        line.start()
        line.hold(is_held=is_held)
        self.stirred.append(line)

    def _berth(self, index: int, spec: LineSpec) -> _Berth:
        berth = _Berth(index, spec, self._make_line(spec, index))
        self._berths.setdefault(spec.connector, {})[spec.task] = berth
        return berth

    def _claim(self, spec: LineSpec) -> int:
        return self._board.add(Identity(spec.connector, spec.task, spec.type, spec.plugin))


def _is_same(wanted: LineSpec, running: LineSpec) -> bool:
    """Whether a line needs no successor. The plan of a start knows all connectors' secrets, a later one its own's."""
    return replace(wanted, secrets=()) == replace(running, secrets=())
