"""The pipeline file of a cell: numbers at a rate into a topic, a topic into a file, or both in one run.

Used by: cell.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.harness.engine import pipeline_toml
from tests.matrix.cells import Cell
from tests.matrix.faults import SESSION_MS
from tests.matrix.verify import PARTITIONS

__all__ = ["COPY", "NUMBERS", "OUT", "write"]

#: Names of the connectors.
NUMBERS, COPY = "numbers", "copy"
OUT = "out.txt"
CONVERTERS = {
    "string": {"value.converter": "org.apache.kafka.connect.storage.StringConverter"},
    "json": {
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "false",
    },
}
#: What the generator makes for each.
BODIES: Mapping[str, Mapping[str, object]] = {"string": {"format": "text", "size": 100}, "json": {"format": "orders"}}
#: Records in one put: many puts for a fault to fall between.
PUT_RECORDS = 50
#: A line may come back so often without progress: an outage of brokers is longer than a few of its lives.
RESTARTS_MAX = 50


def write(
    folder: Path,
    cell: Cell,
    place: Mapping[str, str],
    topic: str,
    group: str,
    *,
    records: int,
    seconds: float,
    flush_ms: int,
) -> None:
    """Write pipeline.toml; place: the worker's keys for it; seconds: how long the records are to take."""
    worker = {
        **place,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        **CONVERTERS[cell.form],
        "offset.flush.interval.ms": flush_ms,
        "offset.storage.file.filename": folder / "offsets",
        "restart.max": RESTARTS_MAX,
        "restart.backoff.ms": 100,
        "restart.backoff.max.ms": 1000,
    }
    rate = records / seconds
    connectors = {}
    if cell.has_source:
        connectors[NUMBERS] = _source(cell, topic, records, rate)
    if cell.has_sink:
        connectors[COPY] = _sink(cell, topic, group, rate, folder / OUT)
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, connectors))


def _source(cell: Cell, topic: str, records: int, rate: float) -> dict[str, object]:
    return {
        "connector.class": "Generator",
        "tasks.max": cell.tasks,
        "topic": topic,
        "records": records,
        "rate": rate,
        "partitions": PARTITIONS,
        **BODIES[cell.form],
    }


def _sink(cell: Cell, topic: str, group: str, rate: float, out: Path) -> dict[str, object]:
    sink = {
        "connector.class": "FileStreamSink",
        "tasks.max": cell.tasks,
        "topics": topic,
        "file": out,
        "consumer.override.group.id": group,
    }
    if cell.fault == "frozen":
        sink["consumer.override.session.timeout.ms"] = SESSION_MS
        sink["consumer.override.heartbeat.interval.ms"] = SESSION_MS // 4
    if not cell.has_source:
        # What lies there already would be read in a moment.
        sink |= {
            "connector.class": "paced_sink.PacedFileSinkConnector",
            "rate": rate / cell.tasks,
            "consumer.override.max.poll.records": PUT_RECORDS,
        }
    return sink
