"""Whatever process of a run is killed, a user is told, nothing is left behind, and the next run starts at once.

Beside it: two workers, which must not get into each other's way. The long tests (tox -e faults) kill what is left:
the other bank of either line, and all processes at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
VICTIMS = [
    "numbers/0 task",
    "copy pump",
    *(pytest.param(victim, marks=pytest.mark.long) for victim in ("numbers/0 pump", "copy task")),
]
PARTITIONS = 4
RECORDS = 12_000
RATE = 5_000
#: A run whose supervisor is gone leaves nothing behind for longer.
LEFT_BEHIND_S = 15.0
#: From the start of a run to its first line, however the one before ended: far below a group's session.
FIRST_LINE_S = 8.0


def pipeline(
    kafka: Kafka,
    topic: str,
    folder: Path,
    *,
    records: int | None = RECORDS,
    rate: int = RATE,
    worker: Mapping[str, object] | None = None,
    sink: Mapping[str, object] | None = None,
) -> None:
    """Numbers through the topic into out.txt; the sink's group is the topic's own."""
    folder.mkdir(exist_ok=True)
    own = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 300,
        **(worker or {}),
    }
    bound = {} if records is None else {"records": records}
    source = {
        "connector.class": "Generator",
        "topic": topic,
        "rate": rate,
        "format": "sequence",
        "partitions": PARTITIONS,
        **bound,
    }
    copy = {"connector.class": "FileStreamSink", "topics": topic, "file": folder / "out.txt", **(sink or {})}
    (folder / "pipeline.toml").write_text(pipeline_toml(own, {"numbers": source, f"copy-{topic}": copy}))


def numbers(folder: Path) -> list[int]:
    out = folder / "out.txt"
    return [int(line) for line in out.read_bytes().split(b"\n")[:-1]] if out.exists() else []


def check_complete(seen: Sequence[int], bound: int) -> None:
    assert set(seen) == set(range(RECORDS))
    for partition in range(PARTITIONS):
        firsts = list(dict.fromkeys(number for number in seen if number % PARTITIONS == partition))
        assert firsts == sorted(firsts)
    assert len(seen) - RECORDS <= bound


def start(folder: Path, *arguments: str) -> Millrace:
    return Millrace("run", "pipeline.toml", "--json", *arguments, folder=folder)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_of_a_line_that_is_killed_is_named_and_its_line_started_again(
    victim: str, kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    victim = victim.replace("copy", f"copy-{topic}/0")
    pipeline(kafka, topic, tmp_path)
    with start(tmp_path) as run:
        wait.until(lambda: len(numbers(tmp_path)) > 500, "lines")
        run.kill9(victim)
        assert run.wait() == 0, run.stderr
        report = run.report()
        assert not run.roles()
    name, bank = victim.split()
    assert f"{name}: {bank} process ended by SIGKILL; starting it again" in run.stderr
    reasons = [task["reason"] for one in report["connectors"] for task in one["tasks"] if task["restarts"]]
    assert reasons == [f"{bank} process ended by SIGKILL"]
    check_complete(numbers(tmp_path), report["totals"]["repeated_at_most"])


def test_a_line_in_one_process_that_is_killed_is_started_again(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    pipeline(kafka, topic, tmp_path, worker={"task.processes": 1})
    with start(tmp_path) as run:
        wait.until(lambda: len(numbers(tmp_path)) > 500, "lines")
        run.kill9("numbers/0 both")
        run.kill9(f"copy-{topic}/0 both")
        assert run.wait() == 0, run.stderr
        report = run.report()
    assert report["totals"]["restarts"] == 2, run.stderr
    check_complete(numbers(tmp_path), report["totals"]["repeated_at_most"])


def test_control_and_display_that_are_killed_cost_the_data_nothing(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    pipeline(kafka, topic, tmp_path, rate=RATE // 3)  # a busy machine takes its time to bring control back
    with start(tmp_path, "--metrics-file", str(tmp_path / "metrics.prom"), "--progress") as run:
        wait.until(lambda: len(numbers(tmp_path)) > 500, "lines")
        old = run.kill9("control")
        run.kill9("display")
        run.wait_for("control", other_than=old)
        assert run.wait() == 0, run.stderr
        report = run.report()
        assert not run.roles()
    assert "control ended" in run.stderr
    assert "display ended" in run.stderr
    assert report["totals"]["restarts"] == 0
    assert len(numbers(tmp_path)) == RECORDS
    told = {
        (sample.labels["connector"], sample.labels["task"], sample.labels["stage"]): sample.value
        for family in text_string_to_metric_families((tmp_path / "metrics.prom").read_text())
        for sample in family.samples
        if sample.name == "millrace_records_total"
    }
    source, sink = ("numbers", "0"), (f"copy-{topic}", "0")
    assert [told[*source, stage] for stage in ("poll", "acknowledge", "store")] == [RECORDS] * 3
    assert [told[*sink, stage] for stage in ("consume", "put", "commit")] == [RECORDS] * 3


def test_a_supervisor_that_is_killed_leaves_nothing_behind_and_the_next_run_starts_at_once(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka, topic, tmp_path)
    with start(tmp_path, "--metrics-file", str(tmp_path / "metrics.prom"), "--progress") as run:
        wait.until(lambda: len(numbers(tmp_path)) > 500, "lines")
        run.kill9_supervisor()
        before = len(numbers(tmp_path))
        with start(tmp_path) as second:
            started_at = time.monotonic()
            wait.until(lambda: len(numbers(tmp_path)) > before + 2000, "lines of the next run")
            took_s = time.monotonic() - started_at
            wait.until(lambda: not run.roles(), "end of all that the first run has left", timeout_s=LEFT_BEHIND_S)
            assert second.wait() == 0, second.stderr
            report = second.report()
    assert took_s < FIRST_LINE_S, f"{took_s:.1f} s; {second.stderr}"
    check_complete(numbers(tmp_path), report["totals"]["repeated_at_most"])


@pytest.mark.long
def test_all_processes_killed_at_once_leave_no_lock_and_no_session_to_wait_for(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka, topic, tmp_path)
    with start(tmp_path):
        wait.until(lambda: len(numbers(tmp_path)) > 500, "lines")
    # Leaving the block has killed every process of it.
    before = len(numbers(tmp_path))
    with start(tmp_path) as second:
        started_at = time.monotonic()
        wait.until(lambda: len(numbers(tmp_path)) > before + 2000, "lines of the next run")
        took_s = time.monotonic() - started_at
        assert second.wait() == 0, second.stderr
        report = second.report()
    assert took_s < FIRST_LINE_S, f"{took_s:.1f} s; {second.stderr}"
    check_complete(numbers(tmp_path), report["totals"]["repeated_at_most"])


@pytest.mark.long  # the second one waits for 12 s; the lock itself is in tests/unit/offsets/test_lock.py
def test_a_second_worker_on_the_same_store_is_refused_and_the_first_undisturbed(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka, topic, tmp_path, records=None)
    with start(tmp_path, "--forever") as first:
        wait.until(lambda: len(numbers(tmp_path)) > 500, "lines")
        with start(tmp_path) as second:
            assert second.wait() == 4, second.stderr
        assert "another Millrace worker uses the store" in second.stderr
        assert str(tmp_path / "offsets") in second.stderr
        assert second.stdout == ""
        after = len(numbers(tmp_path))
        wait.until(lambda: len(numbers(tmp_path)) > after, "more lines")
        first.interrupt()
        assert first.wait() == 130, first.stderr
        report = json.loads(first.stdout)
    assert report["totals"]["restarts"] == 0
    seen = numbers(tmp_path)
    for partition in range(PARTITIONS):
        here = [number for number in seen if number % PARTITIONS == partition]
        assert here == list(range(partition, partition + PARTITIONS * len(here), PARTITIONS))


def test_two_workers_whose_sinks_share_a_group_share_its_partitions(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    # A member hears of the other one by its heartbeats, and gives partitions up in a second round of them.
    sink = {"consumer.override.group.id": f"shared-{topic}", "consumer.override.heartbeat.interval.ms": 500}
    pipeline(kafka, topic, one, records=None, sink=sink)
    pipeline(kafka, topic, two, records=None, sink=sink)
    with start(one, "--forever") as first:
        wait.until(lambda: len(numbers(one)) > 500, "lines")
        with start(two, "--forever") as second:
            wait.until(lambda: len(numbers(two)) > 500, "lines of the second")
            wait.until(
                lambda: sorted(map(len, topics.group_members(kafka.bootstrap, f"shared-{topic}").values())) == [2, 2],
                "a fair share",
            )
            here, there = len(numbers(one)), len(numbers(two))
            wait.until(lambda: len(numbers(one)) > here + 500 and len(numbers(two)) > there + 500, "both at work")
            second.interrupt()
            assert second.wait() == 130, second.stderr
        here = len(numbers(one))
        wait.until(
            lambda: {number % PARTITIONS for number in numbers(one)[here:]} == set(range(PARTITIONS)),
            "all partitions with the first again",
        )
        first.interrupt()
        assert first.wait() == 130, first.stderr
    for run in (first, second):
        report = json.loads(run.stdout)
        assert report["totals"]["restarts"] == 0, run.stderr
        assert "FENCED" not in run.stderr
