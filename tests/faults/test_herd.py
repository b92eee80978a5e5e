"""Many tasks that fail together come back without hammering anybody: attempts at the broker's port are counted.

The worst outage: whatever listens at the broker's port takes each connection and closes it at once; and every process
of the run is killed when it begins, so that every task starts again in the middle of it. A short form with 20 tasks
and 6 s runs on CI; the long one has 100 tasks and 40 s.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import pytest

from engine.supervisor.pacer import STARTS_PER_SECOND
from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

TEXT = "org.apache.kafka.connect.storage.StringConverter"
TOPIC = "numbers"
RATE = 500
#: What docs/reliability.md states: of each task, whatever it was doing; and of tasks that start again meanwhile.
ATTEMPTS_PER_TASK = 10
ATTEMPTS_PER_START = 5
BACK_S = 300.0
METRICS = "metrics.prom"
COMMITTED = re.compile(r'^millrace_records_total\{.*stage="commit".*\} (\S+)$', re.MULTILINE)


class ClosingPort:
    """Takes connections at a port and closes them at once, noting when."""

    def __init__(self, port: int) -> None:
        self.at_s: list[float] = []
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def by_second(self) -> list[int]:
        """How many came in each second since the first."""
        seconds = Counter(int(at - self.at_s[0]) for at in self.at_s)
        return [seconds[second] for second in range(max(seconds) + 1)]

    def _take(self) -> None:
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            self.at_s.append(time.monotonic())
            taken.close()


def pipeline(bootstrap: str, folder: Path, tasks: int) -> None:
    """Half of the tasks write numbers into a topic without end, the others read them."""
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 500,
        "task.processes": 1,
        "ring.bytes": 65536 * 4,
        "worker.tasks.max": tasks,
    }
    half = {"tasks.max": tasks // 2}
    source = {
        "connector.class": "Generator",
        "topic": TOPIC,
        "rate": RATE,
        "format": "text",
        "size": 40,
        "partitions": tasks // 2,
        **half,
    }
    sink = {"connector.class": "NullSink", "topics": TOPIC, **half}
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"numbers": source, "drop": sink}))


@pytest.mark.parametrize(
    ("tasks", "away_s"),
    [pytest.param(10, 5.0, id="10"), pytest.param(100, 40.0, id="100", marks=pytest.mark.long)],
)
def test_tasks_that_fail_together_come_back_within_a_stated_bound_of_attempts(
    tasks: int, away_s: float, broker: KafkaServer, tmp_path: Path
) -> None:
    pipeline(broker.bootstrap, tmp_path, tasks)
    topics.create_topic(broker.bootstrap, TOPIC, partitions=tasks // 2)
    arguments = ("run", "pipeline.toml", "--forever", "--json", "--metrics-file", METRICS)
    with Millrace(*arguments, folder=tmp_path) as millrace:
        wait.until(lambda: lines_of(millrace) == tasks, f"{tasks} processes", timeout_s=BACK_S)
        wait.until(lambda: committed(tmp_path / METRICS) > 0, "commits", timeout_s=BACK_S)
        broker.kill9()
        with ClosingPort(broker.port) as port:
            for role, pid in millrace.roles().items():
                if role.endswith(" both"):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(away_s)  # the length of the outage is what is tested
        attempts = port.by_second()
        print(f"{tasks} tasks, {away_s:g} s: attempts by second {attempts}, {sum(attempts)} in all")
        broker.start()
        began_s, before = time.monotonic(), committed(tmp_path / METRICS)
        wait.until(lambda: lines_of(millrace) == tasks, f"{tasks} processes again", timeout_s=BACK_S)
        wait.until(lambda: committed(tmp_path / METRICS) > before + RATE, "commits again", timeout_s=BACK_S)
        print(f"all {tasks} at work {time.monotonic() - began_s:.1f} s after the broker was back")
        millrace.interrupt()
        assert millrace.wait(BACK_S) == 130, millrace.stderr
        report = millrace.report()
    assert len(port.at_s) >= tasks, "not all tasks have met the outage"
    assert max(attempts) <= ATTEMPTS_PER_TASK * tasks + ATTEMPTS_PER_START * STARTS_PER_SECOND
    assert report["findings"] == []
    assert {report["totals"][side]["lost"] for side in ("sources", "sinks")} == {0}
    assert sum(topics.end_offsets(broker.bootstrap, TOPIC).values()) >= report["totals"]["sources"]["records_out"]
    restarted = [task for connector in report["connectors"] for task in connector["tasks"] if task["restarts"]]
    assert len(restarted) == tasks


def committed(metrics: Path) -> float:
    """How many records the sinks have committed."""
    text = metrics.read_text() if metrics.exists() else ""
    return sum(float(count) for count in COMMITTED.findall(text))


def lines_of(millrace: Millrace) -> int:
    """How many tasks have a process."""
    return sum(role.endswith(" both") for role in millrace.roles())
