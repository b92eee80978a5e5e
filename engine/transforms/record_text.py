"""Records and schemas as Kafka Connect prints them in its messages.

    Schema{rec:STRUCT}
    SourceRecord{sourcePartition=null, sourceOffset=null} ConnectRecord{topic='a', kafkaPartition=null, key=null, ...}

Used by: engine.transforms.
Not here: values (engine.api.java_text).
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.api.java_text import text
from engine.api.record import Header, SinkRecord, SourceRecord
from engine.api.schema import Schema

__all__ = ["record_text", "schema_text"]

_SHOWN_MAX = 10_000  # characters; a message is no place for megabytes


def schema_text(schema: Schema | None) -> str:
    """A schema's name and type."""
    if schema is None:
        return "null"
    return f"Schema{{{schema.name}:{schema.type}}}" if schema.name is not None else f"Schema{{{schema.type}}}"


def record_text(record: SourceRecord | SinkRecord) -> str:
    """All of a record, up to 10,000 characters of it."""
    if isinstance(record, SinkRecord):
        origin = (
            f"SinkRecord{{kafkaOffset={record.offset}, timestampType={record.timestamp_type}, "
            f"originalTopic={record.original_topic}, originalKafkaPartition={record.original_partition}, "
            f"originalKafkaOffset={record.original_offset}}}"
        )
    else:
        places = (record.source_partition, record.source_offset)
        partition, offset = (text(None if place is None else {**place}) for place in places)
        origin = f"SourceRecord{{sourcePartition={partition}, sourceOffset={offset}}}"
    found = (
        f"{origin} ConnectRecord{{topic='{record.topic}', kafkaPartition={text(record.partition)}, "
        f"key={text(record.key, record.key_schema)}, keySchema={schema_text(record.key_schema)}, "
        f"value={text(record.value, record.value_schema)}, valueSchema={schema_text(record.value_schema)}, "
        f"timestamp={text(record.timestamp)}, headers=ConnectHeaders(headers={_headers_text(record.headers)})}}"
    )
    return found if len(found) <= _SHOWN_MAX else f"{found[:_SHOWN_MAX]}..."


def _headers_text(headers: Sequence[Header]) -> str:
    shown = ", ".join(
        f"ConnectHeader(key={key}, value={text(value, schema)}, schema={schema_text(schema)})"
        for key, value, schema in headers
    )
    return f"[{shown}]" if shown else ""
