"""Fill topics and files with the benchmark's records, before anything is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from confluent_kafka import Producer

from bench.line.records import Form, full_key, full_timestamp_ms
from engine.kafka.direct import Direct
from engine.shm.frame import Payloads

__all__ = ["fill_file", "fill_topic", "fill_topic_full", "produce_arrays", "produce_numbers"]

CHUNK = 10_000
QUEUE_RECORDS_MAX = 400_000
ROOM_S = 0.05
FLUSH_S = 120.0
LOG_LEVEL = 2  # of syslog: errors come as exceptions; waiting for a fresh coordinator is no news


def fill_file(file: Path, form: Form, records: int) -> None:
    """Write the records as lines, in order."""
    with file.open("wb") as out:
        for start in range(0, records, CHUNK):
            numbers = range(start, min(start + CHUNK, records))
            out.write(b"\n".join(map(form.write, numbers)) + b"\n")


def fill_topic(bootstrap: str, topic: str, form: Form, records: int, partitions: int) -> None:
    """Values only. Returns when all are acknowledged."""
    produce_numbers(_producer(bootstrap), topic, form, records, partitions)


def fill_topic_full(bootstrap: str, topic: str, form: Form, records: int, partitions: int) -> None:
    """With a key, a timestamp of its own and two headers on every record."""
    producer = _producer(bootstrap)
    for number in range(records):
        if number % CHUNK == 0:
            _wait_for_room(producer)
        producer.produce(
            topic,
            form.write(number),
            full_key(number),
            partition=number % partitions,
            timestamp=full_timestamp_ms(number),
            headers=[("trace", b"%016d" % number), ("origin", b"bench")],
        )
    _flush(producer)


def produce_numbers(producer: Producer, topic: str, form: Form, records: int, partitions: int) -> None:
    """Hand all records to a producer that may be in a transaction, and wait until they are acknowledged."""
    for partition, values in _chunks(form.write, records, partitions):
        _wait_for_room(producer)
        taken = producer.produce_batch(topic, [{"value": value} for value in values], partition=partition)
        assert taken == len(values), f"{taken} of {len(values)} records were taken for {topic}"
    _flush(producer)


def produce_arrays(bootstrap: str, topic: str, batches: Iterable[Payloads], partitions: int) -> int:
    """Hand over values as the arrays that a pump sends, the partitions in turn; returns how many, all acknowledged."""
    producer = _producer(bootstrap)
    direct = Direct.of(producer)
    assert direct is not None, "records cannot go to this client as an array"
    done = 0
    for turn, values in enumerate(batches):
        _wait_for_room(producer)
        code = direct.send(topic, values, None, turn % partitions)
        assert code == 0, f"librdkafka refuses a record for {topic} with its code {code}"
        done += len(values)
    _flush(producer)
    return done


def _producer(bootstrap: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "batch.size": 500_000,
            "enable.idempotence": True,
            "log_level": LOG_LEVEL,
            "queue.buffering.max.messages": 1_000_000,
        }
    )


def _chunks(write: Callable[[int], bytes], records: int, partitions: int) -> Iterator[tuple[int, list[bytes]]]:
    # A chunk for each partition in turn, so that the partitions grow together.
    for start in range(0, records, CHUNK * partitions):
        for partition in range(partitions):
            numbers = range(start + partition, min(start + CHUNK * partitions, records), partitions)
            if numbers:
                yield partition, list(map(write, numbers))


def _wait_for_room(producer: Producer) -> None:
    while len(producer) > QUEUE_RECORDS_MAX:
        producer.poll(ROOM_S)


def _flush(producer: Producer) -> None:
    left = producer.flush(FLUSH_S)
    assert left == 0, f"{left} records were not acknowledged within {FLUSH_S} s"
