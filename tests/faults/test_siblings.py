"""A killed pump does not freeze its siblings: a sink of three tasks goes on. One that is waited for takes 42 s.

Nor does it disturb them: nothing is taken from them, and their records come on while those of the killed one wait.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from msgspec import Struct

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

TASKS = 3
PARTITIONS = 6
#: Two seconds are asked for; 1.9 to 2.1 were seen on the slowest machine, 42 without static members.
GOES_ON_S = 10.0
TEXT = "org.apache.kafka.connect.storage.StringConverter"
PLUGINS = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}


class Event(Struct, frozen=True):
    """Partitions have come to a task (open), or gone."""

    what: str
    pid: int
    partitions: frozenset[int]


Lines = list[int | Event]  # as they stand in the file, to which all tasks append


def test_a_sink_of_three_tasks_goes_on_when_a_pump_is_killed(kafka: KafkaServer | UserKafka, tmp_path: Path) -> None:
    topic = f"siblings-{tmp_path.name}"
    topics.create_topic(kafka.bootstrap, topic, partitions=PARTITIONS)
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": TEXT}
    source = {"connector.class": "Generator", "topic": topic, "rate": 3000, "format": "sequence", "partitions": 6}
    sink = {
        "connector.class": "telling_sink:TellingSinkConnector",
        "topics": topic,
        "consumer.override.group.id": f"connect-{topic}",
        "tasks.max": TASKS,
        "file": tmp_path / "out.txt",
    }
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {"numbers": source, "copy": sink}))
    with Millrace("run", "pipeline.toml", "--forever", folder=tmp_path, environment=PLUGINS) as run:
        wait.until(lambda: len(assigned(read(tmp_path))) == TASKS, "partitions at all tasks")
        wait.until(lambda: seen(read(tmp_path)) == set(range(PARTITIONS)), "records of all partitions")
        tasks = {task: run.roles()[f"copy/{task} task"] for task in range(TASKS)}
        run.kill9("copy/1 pump")
        killed_at = time.monotonic()
        before = len(read(tmp_path))
        # A record made after the kill, of every partition: all tasks are at work again.
        last = max(numbers(read(tmp_path)))
        wait.until(lambda: seen(read(tmp_path), after=last + 1000) == set(range(PARTITIONS)), "all partitions again")
        took_s = time.monotonic() - killed_at
        now = {task: run.roles()[f"copy/{task} task"] for task in range(TASKS)}
    lines = read(tmp_path)
    print(f"all partitions were read again after {took_s:.2f} s")
    assert took_s < GOES_ON_S, f"it took {took_s:.1f} s; its log:\n{run.stderr}"
    assert [task for task in tasks if now[task] == tasks[task]] == [0, 2], run.stderr
    killed = assigned(lines[:before])[tasks[1]]
    untold = [line for line in lines[before:] if isinstance(line, Event) and line.pid in (tasks[0], tasks[2])]
    assert untold == [], f"partitions have come or gone at siblings; {run.stderr}"
    assert Event("open", now[1], killed) in lines, "the killed one has got other partitions than it had"
    back = lines.index(Event("open", now[1], killed))
    # In the order of the file, which is nobody's speed: made after the kill, and there before the killed one's go on.
    came = seen(lines[before:back], after=last)
    print(f"until the killed one's partitions were given back {back - before} lines came, of partitions {sorted(came)}")
    assert came >= set(range(PARTITIONS)) - killed


def read(folder: Path) -> Lines:
    out = folder / "out.txt"
    return [_line(text) for text in out.read_text().split("\n")[:-1]] if out.exists() else []


def _line(text: str) -> int | Event:
    if text.isdigit():
        return int(text)
    what, pid, *partitions = text.split()
    return Event(what, int(pid), frozenset(map(int, partitions)))


def numbers(lines: Lines) -> list[int]:
    return [line for line in lines if isinstance(line, int)]


def seen(lines: Lines, after: int = -1) -> set[int]:
    """The partitions of records with higher numbers."""
    return {number % PARTITIONS for number in numbers(lines) if number > after}


def assigned(lines: Lines) -> dict[int, frozenset[int]]:
    """The partitions of each task that has some, by its pid."""
    found: dict[int, frozenset[int]] = {}
    for line in lines:
        if isinstance(line, Event):
            had = found.get(line.pid, frozenset())
            found[line.pid] = had | line.partitions if line.what == "open" else had - line.partitions
    return {pid: partitions for pid, partitions in found.items() if partitions}
