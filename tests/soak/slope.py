"""Whether a figure grows: a straight line by least squares, how sure its slope is, and what is said of it.

    figure │      .:        .:       .:       a saw: each restart begins small
           │   .:'       .:'      .:'
           └─────────┬────────┬────────► time
              cycle     cycle    cycle        the line goes through one mean for each cycle of restarts

Neighbouring samples of a saw are not independent, and a line through all of them would look far surer than it is: so
it goes through means of whole cycles, in each of which every process was restarted once.

Used by: tests.soak.run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from msgspec import Struct

__all__ = ["Slope", "means_of_cycles", "slope"]

#: Fewer means than this have no error to speak of.
POINTS_MIN = 3
#: Of standard errors; a true slope is farther away once in 20 times.
SURE = 2.0

Verdict = Literal["nil", "grows", "not sure"]


class Slope(Struct, frozen=True):
    """A figure's line over the run."""

    mean: float
    per_hour: float
    error_per_hour: float  # standard error
    growth: float  # over the time looked at
    growth_error: float
    limit: float  # what it may grow in that time and still count as nil
    verdict: Verdict


def slope(points: Sequence[tuple[float, float]], limit: float) -> Slope:
    """The line through (second, figure) and whether it rises by more than `limit` from the first to the last.

    "grows" when it does for sure, "nil" when it does not for sure, else "not sure".
    """
    times = [time for time, _ in points]
    figures = [figure for _, figure in points]
    if len(points) < POINTS_MIN:
        return Slope(fmean(figures), 0, math.inf, 0, math.inf, limit, "not sure")
    middle, mean = fmean(times), fmean(figures)
    spread = sum((time - middle) ** 2 for time in times)
    rise = sum((time - middle) * (figure - mean) for time, figure in points) / spread
    residues = sum((figure - mean - rise * (time - middle)) ** 2 for time, figure in points)
    error = math.sqrt(residues / (len(points) - 2) / spread)
    span = times[-1] - times[0]
    growth, growth_error = rise * span, error * span
    verdict: Verdict = "not sure"
    if growth - SURE * growth_error > limit:
        verdict = "grows"
    elif growth + SURE * growth_error <= limit:
        verdict = "nil"
    return Slope(mean, rise * 3600, error * 3600, growth, growth_error, limit, verdict)


def means_of_cycles(samples: Sequence[tuple[int, float, float]], *, left_out: int = 0) -> list[tuple[float, float]]:
    """The mean second and figure of each cycle of (cycle, second, figure).

    left_out: so many first ones do not count; nor does the last one, which may have been cut short.
    """
    cycles: dict[int, list[tuple[float, float]]] = {}
    for cycle, time, figure in samples:
        cycles.setdefault(cycle, []).append((time, figure))
    return [
        (fmean(time for time, _ in cycle), fmean(figure for _, figure in cycle))
        for number, cycle in sorted(cycles.items())
        if left_out <= number < samples[-1][0]
    ]
