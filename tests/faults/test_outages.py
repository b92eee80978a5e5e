"""A broker that is away costs time and nothing else: the run goes on by itself, in bounded memory and with few words.

Killed and started again, for 3 s. The long tests (tox -e faults) stop it like a machine that hangs as well (SIGSTOP:
connections stay open, nobody answers), take as long as it takes in earnest, 10 and 15 s, and stop runs and kill pumps
meanwhile.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer
from tests.harness.measure import pss_bytes

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

AWAY_S = {"killed": 10.0, "stopped": 15.0}
#: How the broker is away, for how long, and how many records a run has: more than it moves before that.
OUTAGES = [
    pytest.param("killed", 3.0, 30_000, id="killed"),
    pytest.param("stopped", 3.0, 30_000, id="stopped", marks=pytest.mark.long),
    *(pytest.param(way, away_s, 60_000, id=f"{way}-long", marks=pytest.mark.long) for way, away_s in AWAY_S.items()),
]
RECORDS = 60_000
RATE = 10_000
PARTITIONS = 4
RUN_S = 120.0
TEXT = "org.apache.kafka.connect.storage.StringConverter"
ENDING_S = 15.0
#: What one process of a line may take, whatever it waits for.
CHILD_BYTES = 120 * 1024 * 1024
#: Lines that a whole run may log, with an outage in it.
LOG_LINES = 60


def pipeline(bootstrap: str, folder: Path, records: int = RECORDS) -> None:
    """Numbers through the topic `numbers` into out.txt."""
    own = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 500,
    }
    source = {
        "connector.class": "Generator",
        "topic": "numbers",
        "records": records,
        "rate": RATE,
        "format": "text",
        "size": 1000,
        "partitions": PARTITIONS,
    }
    sink = {"connector.class": "FileStreamSink", "topics": "numbers", "file": folder / "out.txt"}
    (folder / "pipeline.toml").write_text(pipeline_toml(own, {"numbers": source, "copy": sink}))


@contextmanager
def outage(broker: KafkaServer, way: str) -> Iterator[None]:
    """The broker is away within."""
    if way == "killed":
        broker.kill9()
        yield
        broker.start()
    else:
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(broker.pid, signal.SIGCONT)


def numbers(folder: Path) -> list[int]:
    out = folder / "out.txt"
    return [int(line[:12]) for line in out.read_bytes().splitlines()] if out.exists() else []


def check_complete(folder: Path, bound: int, records: int = RECORDS) -> None:
    """All are there, first occurrences in order per partition, repeated no more than the report says."""
    seen = numbers(folder)
    lost = set(range(records)).difference(seen)
    assert not lost, f"{len(lost)} lost, the first {sorted(lost)[:5]}"
    for partition in range(PARTITIONS):
        firsts = list(dict.fromkeys(number for number in seen if number % PARTITIONS == partition))
        assert firsts == sorted(firsts), f"partition {partition} is out of order"
    repeated = sum(count - 1 for count in Counter(seen).values())
    assert repeated <= bound, f"{repeated} repeated, the report says at most {bound}"


def pass_time(seconds: float, look: Callable[[], None]) -> None:
    """Look on for as long as the outage lasts."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        look()
        time.sleep(0.1)  # the length of an outage is what is tested


@pytest.mark.parametrize(("way", "away_s", "records"), OUTAGES)
def test_a_broker_that_comes_back_finds_the_run_waiting_and_nothing_lost(
    way: str, away_s: float, records: int, broker: KafkaServer, tmp_path: Path
) -> None:
    topics.create_topic(broker.bootstrap, "numbers", partitions=PARTITIONS)
    pipeline(broker.bootstrap, tmp_path, records)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait.until(lambda: len(numbers(tmp_path)) > 2000, "lines")
        largest: dict[str, int] = {}

        def look() -> None:
            for role, pid in run.roles().items():
                largest[role] = max(largest.get(role, 0), pss_bytes([pid]))

        with outage(broker, way):
            pass_time(away_s, look)
            told = run.stderr
        assert run.wait(RUN_S) == 0, run.stderr
        report = run.report()
    print(f"{way}: {largest}, {len(run.stderr.splitlines())} lines, {report['totals']}\n{run.stderr}")
    check_complete(tmp_path, report["totals"]["repeated_at_most"], records)
    assert report["totals"]["restarts"] <= 2, run.stderr
    assert max(largest.values()) < CHILD_BYTES, largest
    assert len(run.stderr.splitlines()) < LOG_LINES, run.stderr
    if way == "killed":
        assert broker.bootstrap in told, "the log does not say what is waited for"


@pytest.mark.long
@pytest.mark.parametrize("way", AWAY_S)
def test_a_run_that_is_stopped_while_the_broker_is_away_ends_in_time_and_the_next_does_the_rest(
    way: str, broker: KafkaServer, tmp_path: Path
) -> None:
    topics.create_topic(broker.bootstrap, "numbers", partitions=PARTITIONS)
    pipeline(broker.bootstrap, tmp_path)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait.until(lambda: len(numbers(tmp_path)) > 2000, "lines")
        with outage(broker, way):
            pass_time(1.0, lambda: None)
            run.signal(signal.SIGTERM)
            asked_at = time.monotonic()
            assert run.wait() == 143, run.stderr
            took_s = time.monotonic() - asked_at
            assert not run.roles()
        print(f"{way}: {took_s:.1f} s\n{run.stderr}{run.stdout}")
        assert run.report()["state"] == "STOPPED"
    assert took_s < ENDING_S, run.stderr
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait(RUN_S) == 0, run.stderr
        report = run.report()
    check_complete(tmp_path, report["totals"]["repeated_at_most"])


@pytest.mark.long
def test_a_pump_that_dies_while_the_broker_is_away_is_started_again_until_it_is_back(
    broker: KafkaServer, tmp_path: Path
) -> None:
    topics.create_topic(broker.bootstrap, "numbers", partitions=PARTITIONS)
    pipeline(broker.bootstrap, tmp_path)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait.until(lambda: len(numbers(tmp_path)) > 2000, "lines")
        with outage(broker, "killed"):
            run.kill9("numbers/0 pump")
            run.kill9("copy/0 pump")
            pass_time(AWAY_S["killed"], lambda: None)
        assert run.wait(RUN_S) == 0, run.stderr
        report = run.report()
    print(report["totals"], run.stderr)
    check_complete(tmp_path, report["totals"]["repeated_at_most"])
