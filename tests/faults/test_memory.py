"""With `worker.memory.max`, memory stays below it whatever waits: sinks that are held, a broker that hangs.

Sources go at full rate, with records of 0 bytes to the broker's limit, mixed, and with empty ones. One source never
ends; its topic is kept short by the broker. The proportional memory of all processes is looked at from the start to
the end, and each look counts; then all is let go, and nothing is lost. The long form (tox -e faults) holds the sinks
for minutes.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from connectors.generator.bodies import Opaque
from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer
from tests.harness.measure import pss_bytes

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

MEMORY_MAX = 470_000_000
#: With its key, and what a batch has around it, just below a broker's default limit of 1,048,588 bytes.
LARGEST = 1_048_000
SEED = 5
WAYS = ("sleeps", "refuses")
PARTITIONS = 4
TEXT = "org.apache.kafka.connect.storage.StringConverter"
BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"
END_S = 400.0
BOUND = re.compile(r"^millrace_memory_bound_bytes (.*)$", re.MULTILINE)
#: How long sinks are held, for how long of that the broker hangs, and how many records wait: mixed, and empty.
FORMS = [
    pytest.param(6.0, 3.0, 800, 30_000, id="short"),
    pytest.param(180.0, 60.0, 15_000, 2_000_000, id="minutes", marks=pytest.mark.long),
]


class Watch:
    """The largest sum of memory that was seen, and what each process had then."""

    def __init__(self, run: Millrace) -> None:
        self._run = run
        self.samples = 0
        self.largest = 0
        self.roles: dict[str, int] = {}

    def look(self) -> None:
        """Take a sample."""
        roles = {role: pss_bytes([pid]) for role, pid in {**self._run.roles(), "supervisor": self._run.pid}.items()}
        self.samples += 1
        if sum(roles.values()) > self.largest:
            self.largest, self.roles = sum(roles.values()), roles


def pipeline(bootstrap: str, folder: Path, mixed: int, empty: int) -> None:
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": BYTES,
        "value.converter": BYTES,
        "offset.flush.interval.ms": 500,
        "worker.memory.max": MEMORY_MAX,
        "metrics.file": folder / "metrics.prom",
    }
    source = {
        "connector.class": "Generator",
        "key.converter": TEXT,
        "key": "sequence",
        "format": "bytes",
        "partitions": PARTITIONS,
        "seed": SEED,
    }
    sink = {
        "connector.class": "held_sink.HeldSinkConnector",
        "topics": "mixed,empty",
        "held": folder / "held",
    }
    connectors = {
        "mixed": {**source, "topic": "mixed", "size.min": 0, "size": LARGEST, "records": mixed},
        "empty": {**source, "topic": "empty", "size": 0, "records": empty},
        "flood": {**source, "topic": "flood", "size.min": 0, "size": LARGEST},
        **{way: {**sink, "file": folder / f"{way}.txt", "way": way} for way in WAYS},
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, connectors))


def pass_time(seconds: float, look: Callable[[], None]) -> None:
    """Look on for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        look()
        time.sleep(0.05)  # the length of the hold is what is tested


def taken(folder: Path, way: str) -> list[str]:
    """What a sink has noted: whole lines of topic, number and size."""
    path = folder / f"{way}.txt"
    return path.read_text("ascii").split("\n")[:-1] if path.exists() else []


def expected(mixed: int, empty: int) -> set[str]:
    """Every line there should be."""
    values = Opaque(SEED, LARGEST, 0).values(range(mixed), None)
    return {f"mixed {number} {len(value)}" for number, value in enumerate(values)} | {
        f"empty {number} 0" for number in range(empty)
    }


def has_all(folder: Path, way: str, wanted: set[str], watch: Watch) -> bool:
    """Whether a sink has everything; looks at memory too."""
    watch.look()
    lines = taken(folder, way)
    return len(lines) >= len(wanted) and wanted.issubset(lines)


@pytest.mark.parametrize(("held_s", "hang_s", "mixed", "empty"), FORMS)
def test_memory_stays_below_its_bound_while_nothing_can_be_delivered(
    held_s: float, hang_s: float, mixed: int, empty: int, tmp_path: Path
) -> None:
    with KafkaServer(tmp_path / "kafka", properties={"log.retention.check.interval.ms": "1000"}) as broker:
        for topic in ("mixed", "empty"):
            topics.create_topic(broker.bootstrap, topic, partitions=PARTITIONS)
        short = {"retention.bytes": str(32 << 20), "segment.bytes": str(16 << 20), "file.delete.delay.ms": "1000"}
        topics.create_topic(broker.bootstrap, "flood", partitions=PARTITIONS, config=short)
        pipeline(broker.bootstrap, tmp_path, mixed, empty)
        (tmp_path / "held").touch()
        plugins = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}
        with Millrace("run", "pipeline.toml", "--forever", "--json", folder=tmp_path, environment=plugins) as run:
            watch = Watch(run)
            pass_time(held_s - hang_s, watch.look)
            os.kill(broker.pid, signal.SIGSTOP)
            pass_time(hang_s, watch.look)
            os.kill(broker.pid, signal.SIGCONT)
            assert not any(taken(tmp_path, way) for way in WAYS), "a sink was not held"
            (tmp_path / "held").unlink()
            wanted = expected(mixed, empty)
            for way in WAYS:
                wait.until(partial(has_all, tmp_path, way, wanted, watch), f"all records at {way}", timeout_s=END_S)
            run.interrupt()
            assert run.wait() == 130, run.stderr
            report = run.report()
    told = {role: f"{size >> 20}" for role, size in watch.roles.items()}
    print(f"{watch.largest:,} of {MEMORY_MAX:,} bytes in {watch.samples} samples; MiB by process: {told}")
    print(report["totals"], run.stderr[-2000:])
    assert watch.largest < MEMORY_MAX, told
    assert report["totals"]["restarts"] == 0, run.stderr
    told_by_metric = BOUND.search((tmp_path / "metrics.prom").read_text())
    assert told_by_metric is not None
    assert watch.largest < float(told_by_metric[1]) <= MEMORY_MAX
