"""A producer at a steady pace, in a process of its own: each value begins with its number and the moment it was made.

    python -m bench.line.paced BOOTSTRAP TOPIC RATE SECONDS

    00000042 8123456789012 ......     the number (8 digits), nanoseconds of the monotonic clock, padding

The monotonic clock is the same in all processes of a machine. Record n goes to partition n % 4.
"""

from __future__ import annotations

import sys
import time

from confluent_kafka import Producer

__all__ = ["PARTITIONS", "read_stamp"]

PARTITIONS = 4
VALUE_BYTES = 146
REST_S = 0.0002
FLUSH_S = 30.0


def read_stamp(line: bytes) -> tuple[int, int]:
    """The number of a record and when it was made, in nanoseconds of the monotonic clock."""
    number, stamp, _ = line.split(b" ", 2)
    return int(number), int(stamp)


def main(bootstrap: str, topic: str, rate: int, seconds: int) -> None:
    """Produce rate * seconds records, each when its moment has come."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "enable.idempotence": True})
    start = time.monotonic()
    number = 0
    while number < rate * seconds:
        due = min(int((time.monotonic() - start) * rate) + 1, rate * seconds)
        while number < due:
            stamped = b"%08d %d " % (number, time.monotonic_ns())
            producer.produce(topic, stamped.ljust(VALUE_BYTES, b"."), partition=number % PARTITIONS)
            number += 1
        producer.poll(0)
        time.sleep(REST_S)
    left = producer.flush(FLUSH_S)
    assert left == 0, f"{left} records were not acknowledged within {FLUSH_S} s"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
