"""Whatever dies, nothing is lost: generated records come through a real topic into a file, complete, first occurrences
in order per partition, and what came twice is no more than the report's bound.

The task process, the pump and the stage processes of either line and the supervisor are killed, and the broker is
killed and started again, at moments that a seed picks. Each of them is struck in every run: a strike waits for its
victim, and a run that is over before the last one is a failure. MILLRACE_FAULT_RECORDS and MILLRACE_FAULT_SEEDS widen
it: 200,000 records and one seed else, 1,000,000 and 20 with `tox -e faults`.
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
RATE = RECORDS / 15
#: From one strike to the next.
PAUSE_S = (0.1, 1.0)
TEXT = "org.apache.kafka.connect.storage.StringConverter"
STAGES = 2
STAGE_VICTIMS = ("numbers/0 stage 0", "numbers/0 stage 1", "copy/0 stage 0", "copy/0 stage 1")
VICTIMS = ("numbers/0 task", "numbers/0 pump", "copy/0 task", "copy/0 pump", "supervisor", "broker")


def pipeline(bootstrap: str, topic: str, folder: Path, stages: int) -> str:
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
    own = {"stage.processes": stages}
    return pipeline_toml(worker, {"numbers": {**source, **own}, "copy": {**sink, **own}})


@pytest.mark.parametrize("stages", [0, pytest.param(STAGES, marks=pytest.mark.long)])
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_whatever_is_killed(seed: int, stages: int, broker: KafkaServer, tmp_path: Path) -> None:
    rng = random.Random(seed)
    topics.create_topic(broker.bootstrap, "numbers", partitions=PARTITIONS)
    (tmp_path / "pipeline.toml").write_text(pipeline(broker.bootstrap, "numbers", tmp_path, stages))
    wanted = [*VICTIMS, *(STAGE_VICTIMS if stages else ())]
    victims = [*wanted, *rng.choices(VICTIMS[:4], k=2)]
    rng.shuffle(victims)
    struck: list[str] = []
    run = start(tmp_path)
    try:
        wait.until(lambda: size(tmp_path) > 0, "first line", timeout_s=RUN_S)
        for victim in victims:
            time.sleep(rng.uniform(*PAUSE_S))  # the moment of the fault is what the seed picks
            run = strike(victim, run, broker, tmp_path)
            struck.append(victim)
        assert set(struck) == set(wanted)
        code = run.wait(RUN_S)
        report = run.report()
        assert code == 0, run.stderr
    finally:
        run.close()
    bound = report["totals"]["repeated_at_most"]
    numbers = [int(line[:12]) for line in (tmp_path / "out.txt").read_bytes().splitlines()]
    check(numbers, bound, f"seed {seed}, struck {struck}")


def start(folder: Path) -> Millrace:
    return Millrace("run", "pipeline.toml", "--json", folder=folder)


def strike(victim: str, run: Millrace, broker: KafkaServer, folder: Path) -> Millrace:
    """Kill one, once it is there; what does not come back by itself is started again. Returns the run that goes on.

    Raises AssertionError when the run is over, or was over before the victim was gone.
    """
    assert run.is_running, f"the run was over before its {victim} was struck; its log:\n{run.stderr}"
    if victim == "broker":
        broker.kill9()
        broker.start()
    elif victim == "supervisor":
        run.kill9_supervisor()
        return start(folder)
    else:
        pid = run.kill9(victim)
        wait.until(lambda: run.roles().get(victim) != pid, f"end of {victim}")
        assert run.is_running, f"the run was over when its {victim} was struck; its log:\n{run.stderr}"
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
