"""Many busy tasks at once: one sink with 1, 10 or 50 tasks on a topic of 50 partitions.

    records are in the log, in an open transaction   nobody can read them yet
    the side starts; all its tasks join the group    read_committed: they wait
    the transaction is committed                     all tasks have work at the same moment

So the rate is that of all tasks together, not of those that happened to be there first.
"""

from __future__ import annotations

from typing import ClassVar

from confluent_kafka import Producer
from msgspec import Struct

from bench.line.check import check_file
from bench.line.fill import LOG_LEVEL, produce_numbers
from bench.line.goals import Goal
from bench.line.records import TEXT
from bench.line.results import Result
from bench.line.sides import TEXT_CONVERTER, Job, Side
from bench.line.throughput import Place, file_size, sink_config
from bench.line.watch import watch
from tests.harness import topics, wait

__all__ = ["LINES", "BusyLine"]

PARTITIONS = 50
TRANSACTION_MS = 900_000  # the broker's upper bound
TRANSACTION_S = 60.0
JOINED_S = 180.0
LOOK_S = 0.2
STEADY_S = 1.0  # as long as all tasks must be there without a change


class BusyLine(Struct, frozen=True):
    """One number of tasks."""

    name: str
    title: str
    tasks: int

    goals: ClassVar[tuple[Goal, ...]] = ()

    def prepare(self, place: Place) -> None:
        """Nothing: each run has a topic and a transaction of its own."""

    def run(self, side: Side, place: Place, number: int) -> Result:
        """One run, measured and then checked."""
        name = f"{self.name}-{side.name}-{number}"
        file = place.folder / f"{name}.txt"
        topics.create_topic(place.bootstrap, name, partitions=PARTITIONS)
        producer = _produce_hidden(place.bootstrap, name, place.records)
        converter = {"value.converter": TEXT_CONVERTER, "consumer.override.isolation.level": "read_committed"}
        pid = side.begin(Job(name, sink_config(name, file, converter, self.tasks)))
        self._wait_until_all_joined(place.bootstrap, f"connect-{name}")
        producer.commit_transaction(TRANSACTION_S)
        curve = watch(lambda: file_size(file), place.records * (TEXT.bytes_each + 1), pid, side.log_tail)
        side.end()
        check_file(file, TEXT, place.records, PARTITIONS)
        file.unlink()
        topics.delete_topic(place.bootstrap, name)
        return Result(
            line=self.name,
            side=side.name,
            round=number,
            records=place.records,
            tasks=self.tasks,
            rate_per_s=curve.rate(place.records),
            cpu_us_per_record=curve.cpu_us(place.records),
            peak_pss_mb=curve.pss_bytes_max / 1e6,
        )

    def _wait_until_all_joined(self, bootstrap: str, group: str) -> None:
        def all_joined() -> bool:
            members = topics.group_members(bootstrap, group)
            busy = [member for member, partitions in members.items() if partitions]
            return len(busy) == self.tasks and sum(map(len, members.values())) == PARTITIONS

        wait.until(
            all_joined, f"{self.tasks} tasks in {group}", timeout_s=JOINED_S, look_every_s=LOOK_S, steady_s=STEADY_S
        )


def _produce_hidden(bootstrap: str, topic: str, records: int) -> Producer:
    """A producer whose open transaction holds all records; committing it lets readers see them."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": topic,
            "transaction.timeout.ms": TRANSACTION_MS,
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": LOG_LEVEL,
        }
    )
    producer.init_transactions(TRANSACTION_S)
    producer.begin_transaction()
    produce_numbers(producer, topic, TEXT, records, PARTITIONS)
    return producer


LINES = tuple(BusyLine(f"busy-{tasks}", f"{tasks} busy task{'s' * (tasks > 1)}", tasks) for tasks in (1, 10, 50))
