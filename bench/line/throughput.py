"""The lines that move all records as fast as they can: topic -> file, and file -> topic.

A sink's progress is the size of its file, a source's the end offsets of its topic; both are looked at from outside, the
same way for both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__
from msgspec import Struct

from bench.line.check import check_file, check_topic
from bench.line.fill import fill_file, fill_topic, fill_topic_full
from bench.line.goals import Goal
from bench.line.records import CHAINED_MAP, CHAINED_STRUCT, ENVELOPE, JSON, MAP, STRUCT, TEXT, Form
from bench.line.results import CPU, MEMORY, RATE, Result
from bench.line.sides import CONNECT, TEXT_CONVERTER, Job, Side
from bench.line.watch import Curve, watch
from tests.harness import topics
from tests.harness.registry import SchemaRegistry

__all__ = ["JSON_CONVERTER", "LINES", "PARTITIONS", "Place", "ThroughputLine", "end_of", "file_size", "sink_config"]

PARTITIONS = 4
PSS_MB_TO_REACH = 200.0
JSON_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"
ASK_S = 20.0
READ_S = 30.0
READ_AT_ONCE = 20_000
SCHEMALESS = {"value.converter": JSON_CONVERTER, "value.converter.schemas.enable": "false"}
WITH_ENVELOPE = {"value.converter": JSON_CONVERTER, "value.converter.schemas.enable": "true"}
TRANSFORMS = "org.apache.kafka.connect.transforms"
THREE_TRANSFORMS = {
    "transforms": "insert,replace,mask",
    "transforms.insert.type": f"{TRANSFORMS}.InsertField$Value",
    "transforms.insert.static.field": "shop",
    "transforms.insert.static.value": "north",
    "transforms.replace.type": f"{TRANSFORMS}.ReplaceField$Value",
    "transforms.replace.exclude": "note",
    "transforms.replace.renames": "quantity:count",
    "transforms.mask.type": f"{TRANSFORMS}.MaskField$Value",
    "transforms.mask.fields": "customer",
}
TUNED_PRODUCER = {
    "producer.override.linger.ms": "5",
    "producer.override.batch.size": "1048576",
    "producer.override.max.in.flight.requests.per.connection": "5",
}


class Place(Struct):
    """Where a benchmark runs: a broker, a folder for files, how many records, and who ends what is started here."""

    bootstrap: str
    folder: Path
    records: int
    servers: ExitStack
    _registry: SchemaRegistry | None = None

    def registry(self) -> SchemaRegistry:
        """A schema registry, started when it is asked for first."""
        if self._registry is None:
            self._registry = self.servers.enter_context(SchemaRegistry(self.folder / "registry"))
        return self._registry


class ThroughputLine(Struct, frozen=True):
    """One line of the table."""

    name: str
    title: str
    topic: str  # a sink's input; a source makes a topic for each run
    sent: Form  # as the value lies in the topic or the file
    printed: Form  # as it must come out
    fill: Callable[[str, str, Form, int, int], None] | None  # None: this line is a source
    steps: dict[str, str]  # keys of its converter and transforms
    rate_to_reach: float  # times Connect's
    cpu_to_reach: float

    @property
    def goals(self) -> tuple[Goal, ...]:
        """Of the rate, the CPU and the memory."""
        return (
            Goal(RATE, self.rate_to_reach, CONNECT, is_least=True),
            Goal(CPU, self.cpu_to_reach, CONNECT),
            Goal(MEMORY, PSS_MB_TO_REACH),
        )

    def prepare(self, place: Place) -> None:
        """Have the input there: filled once, read by all runs."""
        if self.fill is None:
            if not _lines_file(place).exists():
                fill_file(_lines_file(place), self.sent, place.records)
            return
        if self.topic not in AdminClient({"bootstrap.servers": place.bootstrap}).list_topics(timeout=ASK_S).topics:
            topics.create_topic(place.bootstrap, self.topic, partitions=PARTITIONS)
            self.fill(place.bootstrap, self.topic, self.sent, place.records, PARTITIONS)

    def run(self, side: Side, place: Place, number: int) -> Result:
        """One run, measured and then checked. Raises AssertionError when a record is not where it should be."""
        name = f"{self.name}-{side.name}-{number}"
        curve = self._sink(side, place, name) if self.fill else self._source(side, place, name)
        return Result(
            line=self.name,
            side=side.name,
            round=number,
            records=place.records,
            rate_per_s=curve.rate(place.records),
            cpu_us_per_record=curve.cpu_us(place.records),
            peak_pss_mb=curve.pss_bytes_max / 1e6,
        )

    def _sink(self, side: Side, place: Place, name: str) -> Curve:
        file = place.folder / f"{name}.txt"
        pid = side.begin(Job(name, sink_config(self.topic, file, self.steps), is_bounded=True))
        total = place.records * (self.printed.bytes_each + 1)
        curve = watch(lambda: file_size(file), total, pid, side.log_tail)
        side.end()
        check_file(file, self.printed, place.records, PARTITIONS)
        file.unlink()
        return curve

    def _source(self, side: Side, place: Place, name: str) -> Curve:
        topics.create_topic(place.bootstrap, name, partitions=PARTITIONS)
        done = end_of(place.bootstrap, name)
        pid = side.begin(Job(name, source_config(name, _lines_file(place))))
        curve = watch(done, place.records, pid, side.log_tail)
        side.end()
        check_topic(_values(place.bootstrap, name, place.records), self.printed, place.records)
        topics.delete_topic(place.bootstrap, name)
        return curve


def sink_config(topic: str, file: Path, steps: dict[str, str], tasks: int = 1) -> dict[str, str]:
    """Kafka Connect's file sink. steps: the keys of its converter and transforms."""
    return {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
        "tasks.max": str(tasks),
        "topics": topic,
        "file": str(file),
        **steps,
    }


def source_config(topic: str, file: Path) -> dict[str, str]:
    """Kafka Connect's file source with a tuned producer."""
    return {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "tasks.max": "1",
        "topic": topic,
        "file": str(file),
        **TUNED_PRODUCER,
    }


def file_size(file: Path) -> int:
    """Bytes; 0 while there is no such file."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _lines_file(place: Place) -> Path:
    return place.folder / "lines.txt"


def end_of(bootstrap: str, topic: str) -> Callable[[], int]:
    """A function that asks the broker how many records the topic has."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, partition): latest for partition in range(PARTITIONS)}

    def ask() -> int:
        answers = admin.list_offsets(asked, request_timeout=ASK_S)
        return sum(future.result(ASK_S).offset for future in answers.values())

    ask()  # the first answer is the slowest: it is had before anything is measured
    return ask


def _values(bootstrap: str, topic: str, records: int) -> dict[int, list[bytes]]:
    """The values of each partition, `records` in all and what may be behind them."""
    reader: Any = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-check",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 5,
        }
    )
    values: dict[int, list[bytes]] = {}
    ends = topics.end_offsets(bootstrap, topic)
    for partition, end in ends.items():
        # One partition at a time: the batch is then of that partition alone, in order.
        found: list[bytes] = []
        values[partition] = found
        reader.assign([TopicPartition(topic, partition, 0)])
        while len(found) < end:
            batch = reader.consume(min(READ_AT_ONCE, end - len(found)), READ_S)
            assert batch, f"partition {partition} ends at {len(found)} of {end}"
            found += [message.value() for message in batch]
    reader.close()
    return values


LINES = (
    ThroughputLine(
        "sink-string", "topic -> file, String", "orders", TEXT, TEXT, fill_topic,
        {"value.converter": TEXT_CONVERTER}, 2.0, 0.5,
    ),
    ThroughputLine(
        "sink-full", "topic -> file, String, with key, timestamp and 2 headers", "orders-full", TEXT, TEXT,
        fill_topic_full, {"value.converter": TEXT_CONVERTER}, 1.6, 0.7,
    ),
    ThroughputLine(
        "sink-json", "topic -> file, JSON schemaless", "orders", JSON, MAP, fill_topic,
        SCHEMALESS, 2.0, 0.8,
    ),
    ThroughputLine(
        "sink-envelope", "topic -> file, JSON with envelope", "orders-envelope", ENVELOPE, STRUCT, fill_topic,
        WITH_ENVELOPE, 3.8, 0.5,
    ),
    ThroughputLine(
        "sink-json-chain", "topic -> file, JSON schemaless, InsertField + ReplaceField + MaskField", "orders", JSON,
        CHAINED_MAP, fill_topic, SCHEMALESS | THREE_TRANSFORMS, 2.5, 0.7,
    ),
    ThroughputLine(
        "sink-envelope-chain", "topic -> file, JSON with envelope, the same three", "orders-envelope", ENVELOPE,
        CHAINED_STRUCT, fill_topic, WITH_ENVELOPE | THREE_TRANSFORMS, 4.0, 0.5,
    ),
    ThroughputLine(
        "source-string", "file -> topic, String", "", TEXT, TEXT, None,
        {"value.converter": TEXT_CONVERTER}, 1.3, 0.75,
    ),
)  # fmt: skip
