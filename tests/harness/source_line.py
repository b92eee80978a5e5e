"""A source's two banks in this process, on a real broker: real producer, real store, records from a list.

    source = SourceLine(bootstrap, folder, [numbered(0, topic), numbered(1, topic), ...])
    failure = source.run()         one life, to its end
    source.stored                  how many records the store says are done with

Used by: tests/kafka.
Not here: a fake Kafka (fake_kafka.py), the command (engine.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.api.errors import ConnectError
from engine.api.record import SourceRecord
from engine.api.task import RecordMetadata, SourceTask
from engine.clock import SystemClock
from engine.config.clients import producer_settings
from engine.config.line import Timing
from engine.config.worker import read_worker, ring_bytes
from engine.kafka.producer import BatchProducer
from engine.offsets.store import OffsetStore, encode_part
from engine.pump.delivery import Delivery
from tests.harness.banks import SourceBanks, line_spec

__all__ = ["AnsweredRecords", "Records", "SourceLine", "numbered"]

LIMIT_S = 30.0
BROKER_S = 10.0
SOURCE = {"source": "records"}


class Records(SourceTask):
    """Polls the records it was made with, so many at once, from the stored offset on."""

    def __init__(self, records: Sequence[SourceRecord], at_once: int, between: Callable[[int], None]) -> None:
        self._records = records
        self._at_once = at_once
        self._between = between
        self.calls: list[str | tuple[Any, RecordMetadata | None]] = []

    def start(self, config: Mapping[str, str]) -> None:
        self._next = (self.context.offset(SOURCE) or {"next": 0})["next"]

    def poll(self) -> Sequence[SourceRecord]:
        self._between(self._next)
        polled = self._records[self._next : self._next + self._at_once]
        self._next += len(polled)
        if self._next >= len(self._records):
            self.context.end()
        return polled

    def commit(self) -> None:
        self.calls.append("commit")


class AnsweredRecords(Records):
    """Hears of every record."""

    def commit_record(self, record: SourceRecord, metadata: RecordMetadata | None) -> None:
        self.calls.append((record.value, metadata))


class SourceLine:
    """A source line of this process on a real broker; each `run` is a life of it."""

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        records: Sequence[SourceRecord],
        *,
        at_once: int = 50,
        settings: Mapping[str, str] | None = None,
        task: type[Records] = Records,
        between: Callable[[int], None] = lambda _: None,
    ) -> None:
        """settings: of the producer, in Java's names. between: called before each poll with the next number."""
        self.records = list(records)
        worker = read_worker(
            {"bootstrap.servers": bootstrap, "key.converter": "x", "value.converter": "x"},
            file="worker.toml",
            is_strict=True,
            offsets_file=str(folder / "offsets"),
        )
        overrides = {f"producer.override.{key}": value for key, value in (settings or {}).items()}
        client = producer_settings({}, overrides, worker_config=worker, name="records", task=0)
        self.store = OffsetStore(folder / "offsets.millrace.db")
        spec = line_spec(
            "source",
            connector="records",
            kafka={**client.settings, "log_level": 2},
            record_bytes_max=client.record_bytes_max,
            ring_bytes=ring_bytes(max(worker.ring_bytes, 4 * (client.record_bytes_max + 8192))),
            store=str(folder / "offsets.millrace.db"),
            wants_commit_record=task is AnsweredRecords,
            timing=Timing(commit_interval=0.05, broker_timeout=BROKER_S),
        )
        clock = SystemClock()
        self.task: Records

        def make_task() -> SourceTask:
            self.task = task(self.records, at_once, between)
            return self.task

        def make_delivery() -> Delivery:
            return Delivery(
                BatchProducer,
                spec.kafka,
                wants_each=spec.wants_commit_record,
                timeout_seconds=BROKER_S,
                now_ns=clock.monotonic_ns,
            )

        self.banks = SourceBanks(spec, make_delivery, self.store, make_task, clock)

    def run(self) -> Exception | None:
        """Step both banks to the end; returns why either of them failed."""
        self.banks.start()
        task, pump = self.banks.task, self.banks.pump
        deadline = time.monotonic() + LIMIT_S
        while not (task.is_over and pump.is_over):
            assert time.monotonic() < deadline, "it does not come to an end"
            idle = 0.0 if task.is_over else task.step()
            try:
                idle = min(idle, pump.step())
            except ConnectError as error:
                pump.fail(error)
                break
            if idle > 0:
                time.sleep(0.001)  # as the processes wait for their bells
        pump.stop()
        task.stop()
        del self.banks.task, self.banks.pump  # and the client with them, before its broker is gone
        return pump.failure or task.failure

    @property
    def stored(self) -> int:
        """The offset in the store: how many records are done with."""
        return int((self.store.offsets("records").get(encode_part(SOURCE)) or {"next": 0})["next"])


def numbered(number: int, topic: str, value: bytes | None = None, **more: Any) -> SourceRecord:
    """The record of a number; its value is the number, unless it is told."""
    return SourceRecord(
        topic=topic,
        value=b"%d" % number if value is None and "null" not in more else value,
        source_partition=SOURCE,
        source_offset={"next": number + 1},
        **{key: given for key, given in more.items() if key != "null"},
    )
