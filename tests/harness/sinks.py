"""Tasks of one sink on a real Kafka, all stepped in turn by the test's own process.

    sinks = Sinks(bootstrap)
    line = sinks.add(topic); sinks.until(lambda: ..., "what"); sinks.drain()

Used by: tests/kafka/test_sink_pump.py, tests/kafka/test_lost_ranges.py.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from engine.clock import SystemClock
from engine.config.line import Subscription, Timing
from engine.kafka.consumer import GroupConsumer
from engine.pump.lost import Notes
from engine.shm.board import Phase, Target, Word
from tests.harness import topics
from tests.harness.banks import CollectingSink, SinkBanks, line_spec

__all__ = ["BROKER_S", "Sinks", "has_partitions", "numbers"]

LIMIT_S = 30.0
BROKER_S = 10.0


class Sinks:
    """Tasks of one sink, all stepped in turn by this process."""

    def __init__(self, bootstrap: str, notes: Notes | None = None) -> None:
        """notes: of the worker's store; None: there is none."""
        self.notes = notes
        self.bootstrap = bootstrap
        self.group = f"connect-{uuid.uuid4().hex[:8]}"
        self.lines: list[SinkBanks] = []
        self.records: list[tuple[str, int, int, bytes | None]] = []

    def add(self, *topics: str, settings: dict[str, Any] | None = None, **more: Any) -> SinkBanks:
        """Start a task more. settings: of its client; more: of its line, or `member`, the number of its member."""
        task = len(self.lines)
        kafka = {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.group,
            "group.instance.id": f"{self.group}-{more.pop('member', task)}",
            "fetch.queue.backoff.ms": 5,
            "heartbeat.interval.ms": 500,
            "isolation.level": "read_uncommitted",
            "partition.assignment.strategy": "range",
            **(settings or {}),
        }
        spec = line_spec(
            "sink",
            **{
                "task": task,
                "kafka": kafka,
                "subscription": Subscription(topics=topics),
                "timing": Timing(commit_interval=0.2, broker_timeout=BROKER_S, revocation_timeout=5.0),
                "ring_bytes": 1024 * 1024,
                **more,
            },
        )
        line = SinkBanks(
            spec,
            lambda member: GroupConsumer(spec.kafka, member, spec.start_at, BROKER_S),
            lambda: CollectingSink(self.records),
            SystemClock(),
            notes=self.notes,
        )
        self.lines.append(line)
        line.start()
        return line

    def until(self, is_so: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> float:
        """Step all lines until something is so; returns how long (seconds) it took."""
        begin = time.monotonic()
        while not is_so():
            assert time.monotonic() - begin < limit_s, f"not within {limit_s} s: {what}"
            for line in self.lines:
                line.step(0.005)
        return time.monotonic() - begin

    def drain(self) -> None:
        """Step all lines until their group has committed all there is."""
        for line in self.lines:
            line.memory.aim(Target.DRAIN)
        self.until(lambda: all(line.row.get(Word.PUMP_PHASE) == Phase.COMPLETE for line in self.lines), "complete")

    def remove(self, line: SinkBanks, *, leave: bool) -> None:
        """End a task in order."""
        self.lines.remove(line)
        line.stop(leave=leave)

    def close(self) -> None:
        """Let all lines leave their group."""
        for line in self.lines:
            line.pump.stop(leave=True)

    def offsets(self) -> dict[tuple[str, int], int]:
        """What the group has committed."""
        return topics.group_offsets(self.bootstrap, self.group)


def numbers(count: int) -> list[bytes]:
    """Values 0 to count - 1."""
    return [b"%d" % number for number in range(count)]


def has_partitions(line: SinkBanks, count: int) -> Callable[[], bool]:
    """Whether the task has so many partitions."""
    return lambda: len(line.task.assignment()) == count
