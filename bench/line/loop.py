"""What a few lines do that read Avro from a topic, one record after the other: librdkafka's consumer and fastavro.

    python -m bench.line.loop BOOTSTRAP TOPIC FILE REGISTRY

Each value becomes a dict and is dropped; FILE is told how many there were (tally.py). REGISTRY is asked once.
"""

from __future__ import annotations

import io
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer

from bench.line.bare import SETTINGS
from bench.line.tally import Tally

__all__ = ["main"]

WAIT_S = 0.1
ASK_S = 20.0
RECORDS_MAX = 2_000
HEADER_BYTES = 5  # a zero, and the schema's id


def main(bootstrap: str, topic: str, file: Path, registry: str) -> None:
    """Read until killed."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"loop-{file.name}", **SETTINGS})
    consumer.subscribe([topic])
    tally = Tally(file)
    read = fastavro.schemaless_reader
    schema: Any = None
    while True:
        payloads = [message.value() or b"" for message in consumer.consume(RECORDS_MAX, WAIT_S)]
        if not payloads:
            continue
        if schema is None:
            schema = _schema(registry, int.from_bytes(payloads[0][1:HEADER_BYTES], "big"))
        values: list[Any] = [read(io.BytesIO(payload[HEADER_BYTES:]), schema, None) for payload in payloads]
        tally.add(len(values), sum(value["id"] for value in values))


def _schema(registry: str, number: int) -> Any:
    with urllib.request.urlopen(f"{registry}/schemas/ids/{number}", timeout=ASK_S) as answer:
        return fastavro.parse_schema(json.loads(json.load(answer)["schema"]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
