"""A wall clock that is set by hours, forward and back, under a run: nothing is lost, nothing restarts, nothing hangs.

The clock is set for the processes of the run alone, by a library that is loaded before all others (clock/wall_clock.c):
it also keeps waits as the kernel does when the clock is set meanwhile. The broker goes by the machine's own clock.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
SOURCE = Path(__file__).parent / "clock" / "wall_clock.c"
HOUR_S = 3600
#: What the clock is set by, one after the other, against what it was at first.
SETTINGS_S = (5 * HOUR_S, -7 * HOUR_S, 26 * HOUR_S, -1 * HOUR_S)
RATE = 2_000
PAUSE_S = 1.0
RECORDS = int(RATE * PAUSE_S * (len(SETTINGS_S) + 1))
END_S = 90.0
#: The time that a stop has by default, and the last two steps of the ladder.
STOPS_S = 20.0


class WallClock:
    """Of the processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler (cc) here to make a wall clock that can be set")
        library = folder / "wall_clock.so"
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self._file = folder / "wall_clock"
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(self._file)}

    def set_by(self, seconds: int) -> None:
        """From now on it is that far from the machine's own."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))


def pipeline(bootstrap: str, topic: str, folder: Path) -> None:
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 300,
    }
    source = {
        "connector.class": "Generator",
        "topic": topic,
        "format": "sequence",
        "records": RECORDS,
        "rate": RATE,
        "partitions": 4,
    }
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "consumer.override.group.id": f"connect-{topic}",
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"numbers": source, "copy": sink}))


@pytest.mark.long
def test_a_source_whose_clock_is_ahead_of_what_the_broker_takes_fails_and_says_so(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    clock = WallClock(tmp_path)
    pipeline(kafka.bootstrap, topic, tmp_path)
    out = tmp_path / "out.txt"
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, environment=clock.environment) as run:
        wait.until(lambda: lines(out) > 0, "first lines", timeout_s=END_S)
        clock.set_by(26 * HOUR_S)
        assert run.wait(END_S) == 1, run.stderr
    assert "INVALID_TIMESTAMP" in run.stderr
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait(END_S) == 0, run.stderr
    assert set(map(int, out.read_bytes().split())) == set(range(RECORDS))


@pytest.mark.long
def test_an_idle_sink_whose_clock_is_set_back_gets_what_comes_and_stops_in_its_time(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    clock = WallClock(tmp_path)
    pipeline(kafka.bootstrap, topic, tmp_path)
    out = tmp_path / "out.txt"
    with Millrace("run", "pipeline.toml", "--forever", folder=tmp_path, environment=clock.environment) as run:
        wait.until(lambda: lines(out) == RECORDS, "all lines", timeout_s=END_S)
        clock.set_by(-7 * HOUR_S)
        time.sleep(PAUSE_S)  # until the client sleeps on the clock that was set
        topics.produce(kafka.bootstrap, topic, ["late"])
        wait.until(lambda: lines(out) == RECORDS + 1, "a late line", timeout_s=END_S)
        clock.set_by(-14 * HOUR_S)
        time.sleep(PAUSE_S)
        run.interrupt()
        assert run.wait(STOPS_S) == 130, run.stderr


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.long  # a thread of librdkafka with nothing to do sleeps, as docs/reliability.md says: some runs fail
def test_a_wall_clock_that_jumps_both_ways_costs_nothing(kafka: Kafka, tmp_path: Path) -> None:
    topic = f"jumps-{tmp_path.name}"
    topics.create_topic(kafka.bootstrap, topic, config={"message.timestamp.after.max.ms": str(2**63 - 1)})
    clock = WallClock(tmp_path)
    pipeline(kafka.bootstrap, topic, tmp_path)
    out = tmp_path / "out.txt"
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, environment=clock.environment) as run:
        wait.until(lambda: lines(out) > 0, "first lines", timeout_s=END_S)
        for seconds in SETTINGS_S:
            clock.set_by(seconds)
            time.sleep(PAUSE_S)  # of work under that clock
        assert run.wait(END_S) == 0, run.stderr
        report = run.report()
    assert sorted(map(int, out.read_bytes().split())) == list(range(RECORDS))
    assert report["totals"]["restarts"] == 0, run.stderr
    assert sum(topics.end_offsets(kafka.bootstrap, topic).values()) == RECORDS
