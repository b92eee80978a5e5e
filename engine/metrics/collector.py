"""The board as Prometheus sees it: samples made when somebody asks, nothing kept in between.

    board ──► views ──► table ──► Metric families ──► prometheus_client's text ──► /metrics, or a file

Counters are read out of shared memory, so a scrape costs the tasks nothing, and a control process that was
started again goes on where the one before it was.

Used by: engine.control.
Not here: names and sentences (table.py), HTTP (engine.control.app).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from engine import __version__
from engine.clock import Clock, SystemClock
from engine.metrics.table import (
    PROCESS_LABELS,
    PROCESS_METRICS,
    RUN_METRICS,
    TASK_LABELS,
    TASK_METRICS,
    Metric,
    Samples,
)
from engine.metrics.views import RunView, facts_of
from engine.shm.board import Board

__all__ = ["BoardCollector", "exposition"]

#: What prometheus_client adds to a family's name by itself.
_SUFFIXES = {"counter": "_total", "info": "_info", "gauge": ""}


class BoardCollector(Collector):
    """Makes every family of the table out of one board, at each call anew."""

    def __init__(
        self,
        board: Board,
        *,
        workers: Mapping[str, int] | None = None,
        clock: Clock | None = None,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        """workers: pids of the processes that serve no task, by role. wall_seconds: seconds since 1970."""
        self._board = board
        self._workers = dict(workers or {})
        self._clock = clock or SystemClock()
        # Asked once: the start of a run does not move when somebody sets the machine's clock.
        self._wall_offset = wall_seconds() - self._clock.monotonic_ns() / 1e9

    def collect(self) -> Iterator[Family]:
        """Every family of the table, with what is so now."""
        return (family for family in self.pieces() if family is not None)

    def pieces(self) -> Iterator[Family | None]:
        """The same, a small piece of work at a time: whoever serves others as well does so between any two.

        None: there is no family to show for it yet.
        """
        now_ns = self._clock.monotonic_ns()
        run = RunView(self._board, __version__, now_ns, self._wall_offset + now_ns / 1e9)
        for metric in RUN_METRICS:
            yield _family(metric, (), [((), metric.read(run))])
        tasks = [((task.identity.connector, str(task.identity.task), task.identity.type), task) for task in run.tasks()]
        for metric in TASK_METRICS:
            yield _family(metric, TASK_LABELS, [(labels, metric.read(task)) for labels, task in tasks])
        processes = []
        for facts in facts_of(run, self._workers):
            processes.append(facts)
            yield None
        for metric in PROCESS_METRICS:
            found = [((facts.connector, facts.task, facts.process), metric.read(facts)) for facts in processes]
            yield _family(metric, PROCESS_LABELS, found)


def exposition(board: Board, *, workers: Mapping[str, int] | None = None) -> bytes:
    """Every metric in Prometheus' text format. workers: as of BoardCollector."""
    return generate_latest(BoardCollector(board, workers=workers))


def _family(metric: Metric, labels: tuple[str, ...], found: Iterable[tuple[tuple[str, ...], Samples]]) -> Family:
    """labels: names of those that each entry of `found` begins with."""
    family = Family(metric.name.removesuffix(_SUFFIXES[metric.type]), metric.sentence, metric.type)
    names = (*labels, *metric.labels)
    for values, samples in found:
        for own, value in samples:
            family.add_sample(metric.name, dict(zip(names, (*values, *own), strict=True)), value)
    return family
