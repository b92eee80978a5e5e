"""Whatever dies, nothing is lost: generated records come through a real topic into a file, complete, first occurrences
in order per partition, and what came twice is no more than the report's bound.

The task process, the pump and the supervisor of either line are killed, and the broker is killed and started again,
at moments that a seed picks. MILLRACE_FAULT_RECORDS and MILLRACE_FAULT_SEEDS widen it (tox -e faults: 1,000,000
records, 20 seeds).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

RECORDS = int(os.environ.get("MILLRACE_FAULT_RECORDS", "200000"))
SEEDS = range(int(os.environ.get("MILLRACE_FAULT_SEEDS", "1")))
PARTITIONS = 4
RUN_S = 180.0
#: Records a second: slow enough that every kill meets a run that is at work.
RATE = RECORDS / 12
TEXT = "org.apache.kafka.connect.storage.StringConverter"
VICTIMS = ("numbers/0 task", "numbers/0 pump", "copy/0 task", "copy/0 pump", "supervisor", "broker")


def pipeline(bootstrap: str, topic: str, folder: Path) -> str:
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 500,
        "offset.storage.file.filename": folder / "offsets",
        "restart.max": 50,
    }
    source = {
        "connector.class": "Generator",
        "topic": topic,
        "records": RECORDS,
        "rate": RATE,
        "format": "text",
        "size": 100,
        "partitions": PARTITIONS,
        "batch.size": 500,
    }
    sink = {"connector.class": "FileStreamSink", "topics": topic, "file": folder / "out.txt"}
    return pipeline_toml(worker, {"numbers": source, "copy": sink})


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_whatever_is_killed(seed: int, broker: KafkaServer, tmp_path: Path) -> None:
    rng = random.Random(seed)
    topics.create_topic(broker.bootstrap, "numbers", partitions=PARTITIONS)
    (tmp_path / "pipeline.toml").write_text(pipeline(broker.bootstrap, "numbers", tmp_path))
    victims = [*VICTIMS, *rng.choices(VICTIMS[:4], k=2)]
    rng.shuffle(victims)
    run = start(tmp_path)
    try:
        wait.until(lambda: size(tmp_path) > 0, "first line", timeout_s=RUN_S)
        for victim in victims:
            time.sleep(rng.uniform(0.2, 1.5))  # the moment of the fault is what the seed picks
            run = strike(victim, run, broker, tmp_path)
        code = run.wait(RUN_S)
        report = run.report()
        assert code == 0, run.stderr
    finally:
        run.close()
    bound = report["totals"]["repeated_at_most"]
    numbers = [int(line[:12]) for line in (tmp_path / "out.txt").read_bytes().splitlines()]
    check(numbers, bound, f"seed {seed}, victims {victims}")


def start(folder: Path) -> Millrace:
    return Millrace("run", "pipeline.toml", "--json", folder=folder)


def strike(victim: str, run: Millrace, broker: KafkaServer, folder: Path) -> Millrace:
    """Kill one; what does not come back by itself is started again. Returns the run that goes on."""
    if not run.is_running:
        return run
    if victim == "broker":
        broker.kill9()
        broker.start()
    elif victim == "supervisor":
        run.kill9_supervisor()
        return start(folder)
    elif (pid := run.roles().get(victim)) is not None:
        os.kill(pid, 9)
    return run


def size(folder: Path) -> int:
    out = folder / "out.txt"
    return out.stat().st_size if out.exists() else 0


def check(numbers: Sequence[int], bound: int, told: str) -> None:
    lost = set(range(RECORDS)).difference(numbers)
    assert not lost, f"{len(lost)} lost, the first {sorted(lost)[:5]} ({told})"
    for partition in range(PARTITIONS):
        first = list(dict.fromkeys(number for number in numbers if number % PARTITIONS == partition))
        assert first == sorted(first), f"partition {partition} is out of order ({told})"
    repeated = sum(count - 1 for count in Counter(numbers).values())
    print(f"{told}: {len(numbers)} lines, {repeated} repeated, the report says at most {bound}")
    assert repeated <= bound, f"{repeated} repeated, the report says at most {bound} ({told})"
