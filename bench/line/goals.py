"""What a line is to reach, and when its rounds show it: then it may be claimed, and the line need not go on.

    rounds                1 2   3 4 5   6 7 8   9 ...
    that may say otherwise  -     0       1     2        fewer than there are whole threes of rounds

Were the true median just at the goal, each round were a coin: three of three agree with a given side once in 8 times,
five or six of six 7 times in 64. So a round that says otherwise costs more rounds, and the claim is worth the same.
What is missed is shown by the same rule.

Used by: the lines (throughput, latency, start, busy, registry), __main__.py, table.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from msgspec import Struct

from bench.line.results import Column, Result, figures, of, pairs
from bench.line.sides import MILLRACE

__all__ = ["ROUNDS_A_MISS", "Goal", "Verdict", "rounds_of"]

ROUNDS_A_MISS = 3


class Verdict(Struct, frozen=True):
    """What the rounds of a line say of one goal."""

    is_reached: bool  # by the median
    against: int  # rounds that say otherwise than the median
    rounds: int

    @property
    def is_shown(self) -> bool:
        """Whether what the median says may be claimed. Fewer than three rounds show nothing."""
        return self.against < self.rounds // ROUNDS_A_MISS


class Goal(Struct, frozen=True):
    """A bound on one figure of Millrace, in each round: the most it may be, or the least."""

    column: Column
    bound: float  # times the peer's figure of the same round; without a peer, the figure itself
    peer: str | None = None
    is_least: bool = False
    enough: float = 0.0  # a figure that will do, whatever the peer's is

    def verdict(self, results: Sequence[Result], line: str) -> Verdict | None:
        """What the rounds so far say; None without any that can be judged."""
        shares = self._shares(of(results, line, MILLRACE), of(results, line, self.peer or MILLRACE))
        if not shares:
            return None
        is_reached = self._is_reached(median(shares))
        against = sum(self._is_reached(share) != is_reached for share in shares)
        return Verdict(is_reached, against, len(shares))

    def _shares(self, ours: Sequence[Result], theirs: Sequence[Result]) -> list[float]:
        """Millrace's figure of each round as a share of what it was to be in that round."""
        if self.peer is None:
            return [our / self.bound for our in figures(ours, self.column)]
        return [our / max(self.bound * their, self.enough) for our, their in pairs(ours, theirs, self.column)]

    def _is_reached(self, share: float) -> bool:
        return share >= 1 if self.is_least else share <= 1


def rounds_of(line: str, goals: Sequence[Goal], results: Sequence[Result], least: int, most: int) -> Iterator[int]:
    """The numbers of a line's rounds, from 1: `least` of them, then more, up to `most`, while a goal is not decided.

    results: looked at before each further round; the caller adds to it.
    """
    for number in range(1, most + 1):
        if number > least:
            verdicts = [goal.verdict(results, line) for goal in goals]
            if all(verdict is None or verdict.is_shown for verdict in verdicts):
                return
        yield number
