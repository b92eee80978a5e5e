"""A producer at a steady pace, in a process of its own: each value begins with its number and the moment it was made.

    python -m bench.line.paced BOOTSTRAP TOPIC RATE SECONDS

    00000042 8123456789012 ......     the number (8 digits), nanoseconds of the monotonic clock, padding

The monotonic clock is the same in all processes of a machine. Records come in beats of a millisecond, each beat in one
partition, the partitions in turn: what a producer without keys does (KIP-480's sticky partitioner). Spread over the
partitions one by one, 10,000 a second would be as many requests, since this client sends each partition's by itself:
then they wait for one of the five that may be in flight, and what is measured is that queue (ages of 2.6 ms with a bare
consumer on an idle machine, 0.8 this way).

The producer is not idempotent: with idempotence librdkafka (2.16) sends no more of a partition while five of its
records are on their way, and its thread asks again and again, without a pause, whether they have arrived. At 10,000 a
second that took 38 % of a core instead of 11 %, of the cores that are measured, and most while the broker was late: a
bare consumer's slowest hundredth came after 6 to 98 ms, and after 1 to 5 without. The bench checks the records and
their order all the same.
"""

from __future__ import annotations

import sys
import time

from confluent_kafka import Producer

__all__ = ["PARTITIONS", "VALUE_BYTES", "partition_of", "read_stamp"]

PARTITIONS = 4
VALUE_BYTES = 146
BEATS_PER_S = 1_000
FLUSH_S = 30.0


def read_stamp(line: bytes) -> tuple[int, int]:
    """The number of a record and when it was made, in nanoseconds of the monotonic clock."""
    number, stamp, _ = line.split(b" ", 2)
    return int(number), int(stamp)


def partition_of(number: int, rate: int) -> int:
    """Where record `number` goes at `rate` records a second."""
    return number * BEATS_PER_S // rate % PARTITIONS


def main(bootstrap: str, topic: str, rate: int, seconds: int) -> None:
    """Produce rate * seconds records, each when its moment has come."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
    start = time.monotonic()
    number = 0
    for beat in range(1, BEATS_PER_S * seconds + 1):
        time.sleep(max(0.0, start + beat / BEATS_PER_S - time.monotonic()))
        while number < beat * rate // BEATS_PER_S:
            stamped = b"%08d %d " % (number, time.monotonic_ns())
            producer.produce(topic, stamped.ljust(VALUE_BYTES, b"."), partition=partition_of(number, rate))
            number += 1
        producer.poll(0)
    left = producer.flush(FLUSH_S)
    assert left == 0, f"{left} records were not acknowledged within {FLUSH_S} s"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
