"""The worker that faults are done to: eight tasks of four connectors under a fixed load, seen from three sides.

    steady source ──► topic LOAD ──► steady sink ──► steady.txt        faulty source ──► topic OWN
                          └────────► faulty sink ──► faulty.txt

    board     states and counters, mapped as the worker's processes map it
    REST      read all the time by a thread, which keeps the slowest answer
    log       the pauses that the policy gives

Used by: tests.faults_in_numbers.
Not here: the faults (faults.py).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from engine.shm.board import Board, Measure, Row, Stage, State, Word
from tests.harness import topics, wait
from tests.harness.engine import Millrace
from tests.harness.server import free_ports

__all__ = ["KILL_S", "LEASE_S", "Bed", "Reader"]

TEXT = "org.apache.kafka.connect.storage.StringConverter"
PLUGINS = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}
PARTITIONS = 4
#: A stuck task is killed after so long: later than it is told, sooner than in earnest.
KILL_S = 8.0
#: So long a process may be stopped.
LEASE_S = 6.0
#: What a task may have, so that the machine lives through one that eats all there is.
MEMORY_BYTES = 256 * 1024 * 1024
READ_EVERY_S = 0.05
READ_S = 60.0
CONNECTORS = ("steady-source", "steady-sink", "faulty-source", "faulty-sink")


class Reader(threading.Thread):
    """Reads over REST what tools read, all the time."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._is_over = threading.Event()
        self.seconds: list[float] = []  # each answer took
        self.failures: list[str] = []

    def run(self) -> None:
        paths = [f"/connectors/{name}/status" for name in CONNECTORS]
        paths += ["/connectors?expand=status&expand=info", "/", "/connectors/faulty-sink/tasks/0/status"]
        with httpx.Client(base_url=self._url, timeout=READ_S) as client:
            turn = 0
            while not self._is_over.wait(READ_EVERY_S):
                began = time.perf_counter()
                try:
                    answer = client.get(paths[turn % len(paths)])
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                self.seconds.append(time.perf_counter() - began)
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code} {answer.text}")
                turn += 1

    def end(self) -> None:
        """Read no more."""
        self._is_over.set()
        self.join()


class Bed:
    """One worker, its load running."""

    def __init__(self, bootstrap: str, topic: str, folder: Path, rate: float, extra: Mapping[str, object]) -> None:
        """topic: the beginning of the topics' names. rate: records a second of each source. extra: worker's keys."""
        self.bootstrap = bootstrap
        self.folder = folder
        self.load, self.own = f"{topic}-load", f"{topic}-own"
        self._rate = rate
        for name in (self.load, self.own):
            topics.create_topic(bootstrap, name, partitions=PARTITIONS)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.faults = folder / "faults"
        self.faults.mkdir(parents=True)
        keys = {
            "bootstrap.servers": bootstrap,
            "key.converter": TEXT,
            "value.converter": TEXT,
            "offset.storage.file.filename": folder / "offsets",
            "offset.flush.interval.ms": 500,
            "listeners": self.url,
            "task.stall.kill.ms": int(KILL_S * 1000),
            "task.lease.ms": int(LEASE_S * 1000),
            "task.memory.max": MEMORY_BYTES,
            **extra,
        }
        (folder / "worker.properties").write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
        self.millrace = Millrace("standalone", "worker.properties", folder=folder, environment=PLUGINS)
        self.client = httpx.Client(base_url=self.url, timeout=READ_S)
        self._board: Board | None = None

    def start(self) -> None:
        """Make the connectors, and wait until records move through all tasks."""
        wait.until(self._is_serving, "REST")
        source = {"format": "sequence", "rate": self._rate, "partitions": PARTITIONS, "batch.size": 50}
        quick = {"consumer.override.fetch.max.wait.ms": 50}
        sinks = {
            name: {"topics": self.load, "file": self.folder / file, **quick}
            for name, file in (("steady-sink", "steady.txt"), ("faulty-sink", "faulty.txt"))
        }
        told = {"faults": self.faults}
        self._make("steady-source", "Generator", {"topic": self.load, **source})
        self._make("faulty-source", "faulty:FaultySourceConnector", {"topic": self.own, **source, **told})
        self._make("steady-sink", "FileStreamSink", sinks["steady-sink"])
        self._make("faulty-sink", "faulty:FaultySinkConnector", {**sinks["faulty-sink"], **told})
        descriptor = os.open(self.folder / "offsets.millrace.board", os.O_RDWR)
        self._board = Board(descriptor)
        os.close(descriptor)
        wait.until(lambda: len(self.rows()) == 8 and all(self.moved().values()), "records through all tasks")

    def close(self) -> None:
        """End the worker, whatever it does, and drop the topics."""
        self.client.close()
        self.millrace.close()
        for topic in (self.load, self.own):
            with contextlib.suppress(KafkaException):
                topics.delete_topic(self.bootstrap, topic)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Read over REST meanwhile."""
        reader = Reader(self.url)
        reader.start()
        try:
            yield reader
        finally:
            reader.end()

    def rows(self) -> dict[str, Row]:
        """Of all tasks, by title."""
        assert self._board is not None
        return {f"{of.connector}/{of.task}": row for row in self._board.rows() for of in [row.identity]}

    def moved(self) -> dict[str, int]:
        """Records of each task: of a source those that Kafka has, of a sink those that were put."""
        stages = {"source": Stage.ACKNOWLEDGE, "sink": Stage.PUT}
        return {title: row.measured(stages[row.identity.type], Measure.RECORDS) for title, row in self.rows().items()}

    def status(self, title: str) -> Mapping[str, Any]:
        """A task's, over REST."""
        name, _, number = title.partition("/")
        answer = self.client.get(f"/connectors/{name}/tasks/{number}/status")
        assert answer.status_code == 200, answer.text
        found: Mapping[str, Any] = answer.json()
        return found

    def restart(self, title: str) -> None:
        """Ask for a restart of a task."""
        name, _, number = title.partition("/")
        answer = self.client.post(f"/connectors/{name}/tasks/{number}/restart")
        assert answer.status_code == 204, answer.text

    def pause_s(self, title: str, since: int) -> float:
        """The pause before its last restart, as the log tells, from this many characters on; 0: it tells of none."""
        told = re.findall(rf"{title}: .*starting it again in (\d+) ms", self.millrace.stderr[since:])
        return int(told[-1]) / 1000 if told else 0.0

    def restarts(self, title: str) -> int:
        """That it has had."""
        return self.rows()[title].get(Word.RESTARTS)

    def is_running(self, title: str) -> bool:
        """Whether the board says that it runs, and is not stalled."""
        row = self.rows()[title]
        return row.get(Word.STATE) == State.RUNNING and not row.get(Word.STALL)

    def lost(self) -> dict[str, int]:
        """Stop the sources, let the sinks come to the end, end the worker; returns records lost, by connector."""
        for name in ("steady-source", "faulty-source"):
            assert self.client.put(f"/connectors/{name}/stop").status_code == 204
        values = {topic: self._values(topic) for topic in (self.load, self.own)}

        def written() -> dict[str, set[int]]:
            return {name: _numbers(self.folder / f"{name}.txt") for name in ("steady", "faulty")}

        wait.until(lambda: all(values[self.load] <= one for one in written().values()), "all records in the files")
        self.millrace.signal(signal.SIGTERM)
        self.millrace.wait()
        return {
            "steady-source": _gaps(values[self.load]),
            "faulty-source": _gaps(values[self.own]),
            **{f"{name}-sink": len(values[self.load] - there) for name, there in written().items()},
        }

    def _is_serving(self) -> bool:
        assert self.millrace.is_running, self.millrace.stderr
        try:
            return self.client.get("/").status_code == 200
        except httpx.TransportError:
            return False

    def _make(self, name: str, plugin: str, config: Mapping[str, object]) -> None:
        given = {key: str(value) for key, value in config.items()}
        body = {"name": name, "config": {"connector.class": plugin, "tasks.max": "2", **given}}
        answer = self.client.post("/connectors", json=body)
        assert answer.status_code == 201, answer.text

    def _values(self, topic: str) -> set[int]:
        """All numbers in a topic that nobody writes to any more."""
        ends = topics.end_offsets(self.bootstrap, topic)
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": f"{topic}-count", "enable.auto.commit": False}
        )
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        left = dict(ends)
        found: set[int] = set()

        def has_all() -> bool:
            for message in consumer.consume(10_000, 0.2):
                value, partition, offset = message.value(), message.partition(), message.offset()
                assert value is not None and partition is not None and offset is not None
                found.add(int(value))
                if offset + 1 >= ends[partition]:
                    left.pop(partition, None)
            return not any(left.values())

        wait.until(has_all, f"all of {topic}", timeout_s=60, look_every_s=0)
        consumer.close()
        return found


def _numbers(file: Path) -> set[int]:
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    return set(map(int, whole.split()))


def _gaps(found: set[int]) -> int:
    """Numbers that are missing of two stripes, each up to its last."""
    return sum(len(set(range(first, max(stripe) + 1, 2)) - stripe) for first, stripe in _stripes(found))


def _stripes(found: set[int]) -> list[tuple[int, set[int]]]:
    return [(first, {number for number in found if number % 2 == first} or {first}) for first in (0, 1)]
