"""A process that was stopped (SIGSTOP) beyond its session does nothing more when it wakes, and nothing is lost.

Alone, it is killed where it stands and its line is started again. With the whole worker it wakes to find its lease
over: meanwhile another member of the group has got its partitions. Records are counted by their numbers, the repeated
ones against the report's bound. The long tests (tox -e faults) stop what is left.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from engine.offsets.store import OffsetStore
from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
PARTITIONS = 4
RECORDS = 30_000
RATE = 4_000
BATCH = 500  # a source's, and so the most of a put
#: Short, and longer than a busy machine keeps a supervisor from its turn.
SHORT_LEASE = {"task.lease.ms": 3000}
#: A broker takes 6 s and more by default.
SESSION = {"consumer.override.session.timeout.ms": 8000, "consumer.override.heartbeat.interval.ms": 1000}
#: Of storing and committing; shorter than a run is stopped.
INTERVAL_MS = 8_000
VICTIMS = [
    "numbers/0 pump",
    *(pytest.param(victim, marks=pytest.mark.long) for victim in ("numbers/0 task", "copy pump", "copy task")),
]


def pipeline(
    kafka: Kafka,
    topic: str,
    folder: Path,
    worker: Mapping[str, object],
    sink: Mapping[str, object] | None = None,
    records: int = RECORDS,
) -> None:
    """Numbers through the topic into out.txt; the sink's group is the topic's own."""
    own = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 300,
        **worker,
    }
    source = {
        "connector.class": "Generator",
        "topic": topic,
        "rate": RATE,
        "records": records,
        "format": "sequence",
        "partitions": PARTITIONS,
        "batch.size": BATCH,
    }
    copy = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "consumer.override.max.poll.records": BATCH,
        **(sink or {}),
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(own, {"numbers": source, f"copy-{topic}": copy}))


def start(folder: Path) -> Millrace:
    return Millrace("run", "pipeline.toml", "--json", folder=folder)


def numbers(folder: Path) -> list[int]:
    out = folder / "out.txt"
    return [int(line) for line in out.read_bytes().split(b"\n")[:-1]] if out.exists() else []


def check(seen: Sequence[int], report: Mapping[str, Any], records: int = RECORDS) -> None:
    """All are there, what came twice is within the bound, and the ledger adds up."""
    lost = set(range(records)).difference(seen)
    assert not lost, f"{len(lost)} lost, the first {sorted(lost)[:5]}"
    repeated = sum(count - 1 for count in Counter(seen).values())
    totals = report["totals"]
    print(f"{repeated} repeated, the report says at most {totals['repeated_at_most']}; {totals}")
    assert repeated <= totals["repeated_at_most"]
    assert report["findings"] == []
    assert totals["sources"]["lost"] == totals["sinks"]["lost"] == 0
    assert totals["sources"]["records_in"] == totals["sources"]["records_out"] == records


def restarts(report: Mapping[str, Any]) -> dict[str, int]:
    return {f"{one['name']}/{task['task']}": task["restarts"] for one in report["connectors"] for task in one["tasks"]}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_process_that_is_stopped_beyond_its_lease_is_killed_and_its_line_started_again(
    victim: str, kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    is_sink = victim.startswith("copy")
    victim = victim.replace("copy", f"copy-{topic}/0")
    pipeline(kafka, topic, tmp_path, SHORT_LEASE)
    with start(tmp_path) as run:
        # A sink may begin when the source has long been at work.
        empty = dict.fromkeys(range(PARTITIONS), 0)
        wait.until(lambda: (len(numbers(tmp_path)) if is_sink else more(kafka, topic, empty)) > 1000, "records")
        pid = run.wait_for(victim)
        os.kill(pid, signal.SIGSTOP)
        run.wait_for(victim, other_than=pid)
        assert run.wait() == 0, run.stderr
        report = run.report()
    name, bank = victim.split()
    told = rf"{re.escape(name)}: {bank} process stood still for 3\.\d s, the lease is 3 s; starting it again"
    assert re.search(told, run.stderr), run.stderr
    assert sum(restarts(report).values()) == restarts(report)[name] == 1
    check(numbers(tmp_path), report)


@pytest.mark.long
def test_a_line_in_one_process_that_is_stopped_is_killed_and_started_again(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka, topic, tmp_path, {**SHORT_LEASE, "task.processes": 1})
    with start(tmp_path) as run:
        for victim in ("numbers/0 both", f"copy-{topic}/0 both"):
            wait.until(lambda: len(numbers(tmp_path)) > 1000, "lines")
            pid = run.wait_for(victim)
            os.kill(pid, signal.SIGSTOP)
            run.wait_for(victim, other_than=pid)
        assert run.wait() == 0, run.stderr
        report = run.report()
    assert set(restarts(report).values()) == {1}
    check(numbers(tmp_path), report)


@pytest.mark.long
def test_a_supervisor_that_is_stopped_alone_ends_its_lines_by_their_leases_and_starts_them_when_it_wakes(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka, topic, tmp_path, SHORT_LEASE)
    with start(tmp_path) as run:
        wait.until(lambda: len(numbers(tmp_path)) > 1000, "lines")
        run.signal(signal.SIGSTOP)
        wait.until(lambda: not run.roles(), "end of all processes of lines")
        run.signal(signal.SIGCONT)
        assert run.wait() == 0, run.stderr
        report = run.report()
    assert set(restarts(report).values()) == {1}
    check(numbers(tmp_path), report)


def test_a_worker_that_wakes_after_others_got_its_partitions_writes_stores_and_commits_nothing(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    records = 2 * RECORDS
    worker = {"offset.flush.interval.ms": INTERVAL_MS, "task.lease.ms": INTERVAL_MS - 1000}
    pipeline(kafka, topic, tmp_path, worker, SESSION, records)
    group = f"connect-copy-{topic}"
    with start(tmp_path) as run:
        wait.until(lambda: len(numbers(tmp_path)) > 1000, "lines")
        os.kill(run.wait_for(f"copy-{topic}/0 task"), signal.SIGSTOP)
        written = numbers(tmp_path)
        ends = topics.end_offsets(kafka.bootstrap, topic)
        wait.until(lambda: more(kafka, topic, ends) > 4 * BATCH, "records that the task could put when it wakes")
        pids = list(run.roles().values())
        for pid in (*pids, run.pid):
            os.kill(pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        stored = stored_offsets(tmp_path)
        taken = take_over(kafka, topic, group)
        committed = topics.group_offsets(kafka.bootstrap, group)
        ends = topics.end_offsets(kafka.bootstrap, topic)
        wait.until(lambda: time.monotonic() - stopped_at > INTERVAL_MS / 1000, "time to store and to commit")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        wait.until(lambda: not run.roles(), "end of all that has woken")
        assert len(numbers(tmp_path)) <= len(written) + BATCH, "no more than the put it stood still in"
        assert topics.group_offsets(kafka.bootstrap, group) == committed
        assert stored_offsets(tmp_path) == stored
        left = more(kafka, topic, ends)
        print(f"{left} records left librdkafka's queue; the other member took {len(taken)}")
        run.signal(signal.SIGCONT)
        assert run.wait() == 0, run.stderr
        report = run.report()
    assert set(restarts(report).values()) == {1}, run.stderr
    assert "the whole worker stood still for" in run.stderr
    check([*taken, *numbers(tmp_path)], report, records)


def stored_offsets(folder: Path) -> object:
    store = OffsetStore(folder / "offsets.millrace.db")
    try:
        return store.offsets("numbers")
    finally:
        store.close()


def more(kafka: Kafka, topic: str, ends: Mapping[int, int]) -> int:
    """Records that have come into the topic since it had these ends."""
    return sum(topics.end_offsets(kafka.bootstrap, topic).values()) - sum(ends.values())


def take_over(kafka: Kafka, topic: str, group: str) -> list[int]:
    """Be a member of the group that gets all partitions, reads some records of each and commits them."""
    settings = {"bootstrap.servers": kafka.bootstrap, "group.id": group, "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "partition.assignment.strategy": "range"})
    consumer.subscribe([topic])
    taken: dict[int, list[int]] = {}
    ends: dict[int, int] = {}

    def has_some_of_each() -> bool:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            partition, offset, value = message.partition(), message.offset(), message.value()
            assert partition is not None and offset is not None and value is not None
            taken.setdefault(partition, []).append(int(value))
            ends[partition] = offset + 1
        return len(taken) == PARTITIONS and min(map(len, taken.values())) > 100

    wait.until(has_some_of_each, "records of all partitions", look_every_s=0)
    consumer.commit(offsets=[TopicPartition(topic, *at) for at in ends.items()], asynchronous=False)
    consumer.close()
    return [number for read in taken.values() for number in read]
