"""However often a line is started again, nothing of its earlier lives is left: descriptors, memory, processes.

Every process of the run is looked at, the supervisor above all: it lives longest, and makes the rings and bells of each
life. A child is compared with the first one in its place, which would have inherited less.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.harness import wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.measure import descriptors, threads

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

TEXT = "org.apache.kafka.connect.storage.StringConverter"
VICTIMS = ("numbers/0 task", "numbers/0 pump", "copy/0 task", "copy/0 pump")
#: Of a pipe, socket or eventfd: a number that tells it from others of its kind.
NUMBER = re.compile(r"\[\d+\]$")
SAME_AGAIN_S = 60.0
COMMITTED = re.compile(r'^millrace_records_total\{.*stage="commit".*\} (\S+)$', re.MULTILINE)


def pipeline(bootstrap: str, topic: str, folder: Path) -> str:
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 200,
        "metrics.file": folder / "metrics.prom",
        "restart.max": 1000,
        "restart.backoff.ms": 1,
        "restart.backoff.max.ms": 10,
    }
    source = {"connector.class": "Generator", "topic": topic, "rate": 1000, "format": "sequence", "partitions": 4}
    sink = {"connector.class": "NullSink", "topics": topic, "consumer.override.group.id": f"connect-{topic}"}
    return pipeline_toml(worker, {"numbers": source, "copy": sink})


def held(run: Millrace) -> Counter[str]:
    """What each process has open, by kind, and how many threads; processes without a role are counted as such."""
    roles = {**run.roles(), "supervisor": run.pid}
    found = Counter({"other processes": len(set(run.pids()) - set(roles.values()))})
    for role, pid in roles.items():
        found[f"{role}: threads"] = threads(pid)
        found.update(f"{role}: {NUMBER.sub('', what)}" for what in descriptors(pid).values())
    return +found


@pytest.mark.parametrize("restarts", [2 * len(VICTIMS), pytest.param(200, marks=pytest.mark.long)])
def test_a_line_that_is_started_again_and_again_leaves_nothing_behind(
    restarts: int, kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").write_text(pipeline(kafka.bootstrap, topic, tmp_path))
    with Millrace("run", "pipeline.toml", "--forever", "--json", folder=tmp_path) as run:
        wait.until(lambda: committed(tmp_path / "metrics.prom") > 0, "commits", timeout_s=SAME_AGAIN_S)
        first = steady(run)
        for victim in itertools.islice(itertools.cycle(VICTIMS), restarts):
            run.wait_for(victim, other_than=run.kill9(victim))
        # Clients open and close connections as they please: what is left is there to stay.
        assert again(run, first) == first
        run.interrupt()
        assert run.wait() == 130, run.stderr
        report = run.report()
    print(f"{report['totals']['restarts']} restarts; held before and after: {sum(first.values())}")
    assert report["totals"]["restarts"] == restarts
    assert not report["findings"]


def again(run: Millrace, first: Counter[str]) -> Counter[str]:
    """What it holds when that is what it held at first, or at the end of a long wait."""
    seen: list[Counter[str]] = []

    def is_same() -> bool:
        seen.append(held(run))
        return seen[-1] == first

    with contextlib.suppress(TimeoutError):
        wait.until(is_same, "same as at first", timeout_s=SAME_AGAIN_S)
    return seen[-1]


def steady(run: Millrace) -> Counter[str]:
    """What it holds, once that has been the same for a while: clients open their connections one by one."""
    seen: list[Counter[str]] = [Counter()]

    def is_same() -> bool:
        seen.append(held(run))
        return seen[-1] == seen[-2]

    wait.until(is_same, "steady state", timeout_s=SAME_AGAIN_S, look_every_s=0.2, steady_s=2.0)
    return seen[-1]


def committed(metrics: Path) -> float:
    """How many records the sink has committed."""
    text = metrics.read_text() if metrics.exists() else ""
    return sum(float(count) for count in COMMITTED.findall(text))
