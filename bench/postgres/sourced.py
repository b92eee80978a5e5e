"""A source of PostgreSQL's into a topic, watched, and what is in the topic then.

Used by: changes.py, snapshot.py, polling.py, orders.py.
Not here: what the topic has to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from bench.line.sides import Job, MillraceSide
from bench.line.throughput import JSON_CONVERTER, PARTITIONS, end_of
from bench.line.watch import Curve, watch
from tests.harness import topics

__all__ = ["captured", "into_topic", "messages"]

READ_S = 30.0
READ_AT_ONCE = 20_000
AS_JSON = {
    "key.converter": JSON_CONVERTER,
    "key.converter.schemas.enable": "false",
    "value.converter": JSON_CONVERTER,
    "value.converter.schemas.enable": "false",
}


def captured(
    bootstrap: str, folder: Path, url: str, *, name: str, table: str, records: int, keys: Mapping[str, str]
) -> tuple[str, Curve]:
    """Have PostgresSource read a table; returns the topic, and how it went.

    name: of the connector, its slot and the topic's prefix. keys: more of the connector's.
    """
    topic = f"{name}.public.{table}"
    config = {
        "connector.class": "PostgresSource",
        "connection.url": url,
        "table.include.list": f"public\\.{table}",
        "topic.prefix": name,
        "slot.name": name,
        **keys,
    }
    return topic, into_topic(bootstrap, folder, name=name, topic=topic, records=records, config=config)


def into_topic(
    bootstrap: str, folder: Path, *, name: str, topic: str, records: int, config: Mapping[str, str]
) -> Curve:
    """Make a topic, and run a connector until so many records are in it; returns how it went."""
    topics.create_topic(bootstrap, topic, partitions=PARTITIONS)
    done = end_of(bootstrap, topic)
    side = MillraceSide(bootstrap, folder / name)
    try:
        pid = side.begin(Job(name, {**AS_JSON, **config}, is_bounded=True))
        curve = watch(done, records, pid, side.log_tail)
        side.end()
    finally:
        side.close()
    return curve


def messages(bootstrap: str, topic: str) -> Iterator[Any]:
    """Everything in a topic, partition by partition. Raises AssertionError where one does not reach its end."""
    reader: Any = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-check", "enable.auto.commit": False})
    for partition, end in topics.end_offsets(bootstrap, topic).items():
        reader.assign([TopicPartition(topic, partition, 0)])
        left = end
        while left:
            batch = reader.consume(min(READ_AT_ONCE, left), READ_S)
            assert batch, f"partition {partition} ends {left} records before {end}"
            left -= len(batch)
            yield from batch
    reader.close()
