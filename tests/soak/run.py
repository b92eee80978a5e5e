"""A run at a load in which one process after the other is killed: nothing grows, and everything comes.

    generator, 2 tasks ──► topic, kept short ──► keeping sink, 2 tasks
          │ killed in turn: task and pump of either task 0; all of task 1, supervisor and control live on
          └ the end is known beforehand: the number of records that the rate makes in that time

Used by: tests.soak.__main__, test_soak.py.
Not here: what counts as growth (slope.py), what is looked at (samples.py).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer
from tests.soak.samples import look
from tests.soak.slope import Slope, means_of_cycles, slope

__all__ = ["Sample", "Settings", "Soak", "soak"]

PARTITIONS = 4
TASKS = 2
BYTES = 100
TEXT = "org.apache.kafka.connect.storage.StringConverter"
VICTIMS = ("numbers/0 task", "keep/0 task", "numbers/0 pump", "keep/0 pump")
FOLLOWED = ("control", "numbers/1 task", "numbers/1 pump", "keep/1 task", "keep/1 pump")
PLUGINS = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}
#: What a figure may grow in the time looked at, by how its name begins: less than one of anything for each restart.
LIMITS = {"memory": 4_000_000, "store": 500_000}
COUNT_LIMIT = 1.0
#: Part of the cycles at the start in which caches, and the store's log, are still filling.
WARM = 1 / 7
#: The last strike comes so long before the end at the soonest.
SPARE_S = 5.0
#: How long the end may take behind the time that the rate makes it.
END_S = 300.0
#: Of a topic's partitions: read long before it is deleted, and nothing of it fills a disk.
SHORT = {"retention.bytes": str(256 << 20), "segment.bytes": str(16 << 20), "file.delete.delay.ms": "1000"}
BROKER = {"log.retention.check.interval.ms": "1000"}


class Settings(Struct, frozen=True):
    """How long and how hard."""

    minutes: float
    strike_every_s: float = 60.0
    look_every_s: float = 10.0
    load: float = 0.7  # part of the rate that was found to be the most
    rate_max: float | None = None  # records a second, whatever that part is
    measure_s: float = 10.0  # of looking for the most


class Sample(Struct, frozen=True):
    """What was seen at a moment."""

    seconds: float
    restarts: int  # before it
    figures: dict[str, float]


class Soak(Struct, frozen=True):
    """What was seen."""

    settings: Settings
    full_rate_per_s: float
    rate_per_s: float
    seconds: float
    restarts: int
    back_s_max: float  # from a kill to the next process in its place
    records: int
    came_again: int  # at the sink, by its own count
    report: dict[str, Any]  # totals of the command's own
    slopes: dict[str, Slope]
    samples: list[Sample]

    def with_verdict(self, verdict: str) -> list[str]:
        """Names of figures of which this is said."""
        return [name for name, line in self.slopes.items() if line.verdict == verdict]


class _Watch:
    """Samples and strikes while the run goes."""

    def __init__(self, run: Millrace, folder: Path, settings: Settings) -> None:
        self._run = run
        self._folder = folder
        self._settings = settings
        self._followed = {role: run.wait_for(role) for role in FOLLOWED} | {"supervisor": run.pid}
        self.samples: list[Sample] = []
        self.restarts = 0
        self.back_s_max = 0.0

    def go(self, began: float, seconds: float, tell: Callable[[str], None]) -> None:
        """Look and strike for so long from `began` on; whoever is struck is back before the next look."""
        victims = itertools.cycle(VICTIMS)
        look_at = time.monotonic() - began
        strike_at = look_at + self._settings.strike_every_s / 2
        while (now := time.monotonic() - began) < seconds:
            if now >= strike_at:
                self._strike(next(victims), tell)
                # From when it was back: a machine that has no time for it is not given less and less.
                strike_at = max(strike_at, time.monotonic() - began) + self._settings.strike_every_s
            elif now >= look_at:
                figures = look(self._run, self._folder, self._followed)
                self.samples.append(Sample(now, self.restarts, figures))
                look_at = now + self._settings.look_every_s
            else:
                time.sleep(min(look_at, strike_at) - now)

    def _strike(self, victim: str, tell: Callable[[str], None]) -> None:
        struck_at = time.monotonic()
        pid = self._run.kill9(victim)
        self._run.wait_for(victim, other_than=pid)
        back_s = time.monotonic() - struck_at
        self.restarts += 1
        self.back_s_max = max(self.back_s_max, back_s)
        last = {name: round(value) for name, value in self.samples[-1].figures.items() if " of " not in name}
        tell(f"restart {self.restarts}: {victim} back after {back_s:.2f} s; {last}")


def soak(folder: Path, settings: Settings, tell: Callable[[str], None]) -> Soak:
    """One run on a broker of its own. Raises AssertionError when it ends other than well, or a record is missing."""
    with KafkaServer(folder / "kafka", properties=BROKER, is_measured=settings.rate_max is None) as broker:
        full = _full_rate(broker.bootstrap, folder / "full", settings.measure_s)
        rate = min(full * settings.load, settings.rate_max or full)
        tell(f"at most {full:,.0f} records a second; going at {rate:,.0f}")
        return _soak(broker.bootstrap, folder / "work", settings, full, rate, tell)


def _soak(
    bootstrap: str, folder: Path, settings: Settings, full: float, rate: float, tell: Callable[[str], None]
) -> Soak:
    seconds = settings.minutes * 60
    records = int(rate * seconds)
    _prepare(bootstrap, folder, "numbers", {"rate": rate, "records": records})
    began = time.monotonic()
    with Millrace("run", "pipeline.toml", "--json", folder=folder, environment=PLUGINS) as run:
        watch = _Watch(run, folder, settings)
        # The rate makes it last at least so long: whoever is struck is there to be struck.
        watch.go(began, seconds - SPARE_S, tell)
        code = run.wait(END_S + seconds)
        assert code == 0, run.stderr[-10_000:]
        report = run.report()
    came_again = _check(folder, records, report, watch.restarts)
    return Soak(
        settings=settings,
        full_rate_per_s=full,
        rate_per_s=rate,
        seconds=time.monotonic() - began,
        restarts=watch.restarts,
        back_s_max=watch.back_s_max,
        records=records,
        came_again=came_again,
        report=report["totals"],
        slopes=_slopes(watch.samples),
        samples=watch.samples,
    )


def _full_rate(bootstrap: str, folder: Path, seconds: float) -> float:
    """Records a second that come through when nothing holds the source back."""
    _prepare(bootstrap, folder, "full", {})
    with Millrace("run", "pipeline.toml", "--forever", folder=folder, environment=PLUGINS) as run:
        wait.until(lambda: all(_kept(folder)), "records of all partitions")
        began, first = time.monotonic(), sum(_kept(folder))
        time.sleep(seconds)  # it is the length of the measurement
        rate = (sum(_kept(folder)) - first) / (time.monotonic() - began)
        run.interrupt()
        run.wait()
    topics.delete_topic(bootstrap, "full")
    return rate


def _kept(folder: Path) -> list[int]:
    """How many records of each partition the sink has, each counted once."""
    numbers = [_read(folder, partition)[0] for partition in range(PARTITIONS)]
    return [number // PARTITIONS for number in numbers]


def _read(folder: Path, partition: int) -> tuple[int, int]:
    """What the sink has kept of a partition: the next number, and how many came again."""
    file = folder / "kept" / str(partition)
    number, again = file.read_text().split() if file.exists() else (partition, 0)
    return int(number), int(again)


def _prepare(bootstrap: str, folder: Path, topic: str, source: Mapping[str, object]) -> None:
    topics.create_topic(bootstrap, topic, partitions=PARTITIONS, config=SHORT)
    kept = folder / "kept"
    kept.mkdir(parents=True)
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 1000,
        "metrics.file": folder / "metrics.prom",
        # Where restarts come fast on a machine that is busy, one may come before any progress.
        "restart.max": 10_000,
    }
    connectors = {
        "numbers": {
            "connector.class": "Generator",
            "topic": topic,
            "format": "text",
            "size": BYTES,
            "partitions": PARTITIONS,
            "tasks.max": TASKS,
            **source,
        },
        "keep": {
            "connector.class": "keeping_sink.KeepingSinkConnector",
            "topics": topic,
            "tasks.max": TASKS,
            "folder": kept,
            "step": PARTITIONS,
        },
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, connectors))


def _check(folder: Path, records: int, report: Mapping[str, Any], restarts: int) -> int:
    """Every number has come to the sink, by its own count and by the ledger; returns how many came again."""
    assert _kept(folder) == [len(range(partition, records, PARTITIONS)) for partition in range(PARTITIONS)]
    repeated = sum(_read(folder, partition)[1] for partition in range(PARTITIONS))
    totals = report["totals"]
    assert totals["restarts"] == restarts, totals
    assert not report["findings"]
    for side in ("sources", "sinks"):
        assert totals[side]["lost"] == 0, totals
    assert totals["sources"]["records_in"] == records, totals
    assert repeated <= totals["repeated_at_most"], totals
    return repeated


def _slopes(samples: list[Sample]) -> dict[str, Slope]:
    cycles = samples[-1].restarts // len(VICTIMS)
    left_out = max(1, round(cycles * WARM))
    found = {}
    for name in samples[0].figures:
        points = means_of_cycles(
            [(of.restarts // len(VICTIMS), of.seconds, of.figures[name]) for of in samples], left_out=left_out
        )
        limit = next((limit for begin, limit in LIMITS.items() if name.startswith(begin)), COUNT_LIMIT)
        if points:
            found[name] = slope(points, limit)
    return found
