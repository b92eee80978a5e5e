"""The floor of the age lines: librdkafka's consumer alone, its values written to a file, with nothing beside it.

    python -m bench.line.bare BOOTSTRAP TOPIC FILE

What a record is late here it is by the broker, the client and the machine; only what a side adds is its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from confluent_kafka import Consumer, Message

__all__ = ["main"]

SETTINGS = {"auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.queue.backoff.ms": 5}
WAIT_S = 1.0
RECORDS_MAX = 2_000


def main(bootstrap: str, topic: str, file: Path) -> None:
    """Read until killed; each batch is in the file before the next is asked for."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"bare-{topic}", **SETTINGS})
    consumer.subscribe([topic])
    with file.open("ab", buffering=0) as out:
        while True:
            first = consumer.poll(WAIT_S)
            if first is None:
                continue
            messages = [first, *consumer.consume(RECORDS_MAX - 1, 0)]
            out.write(b"".join((message.value() or b"") + b"\n" for message in messages if not Message.error(message)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
