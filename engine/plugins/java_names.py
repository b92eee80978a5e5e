"""Kafka Connect's own plugins by the Java names that people's files hold, and what answers to them here.

    org.apache.kafka.connect.file.FileStreamSourceConnector  ──►  FileStreamSourceConnector, by its entry point
    org.apache.kafka.connect.transforms.Cast$Value           ──►  CastValue

Used by: engine.plugins.catalog.
Not here: simple names and names without suffix, which are the same rule for everybody's plugins (catalog.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["NOT_BUILT", "OURS", "is_kafka_class", "rest_name", "simple_name"]

_KAFKA = "org.apache.kafka."
_CONNECT = "org.apache.kafka.connect."
_PROVIDERS = "org.apache.kafka.common.config.provider."

_TRANSFORMS = f"{_CONNECT}transforms."
#: Transforms that Java has as two nested classes each, one of the key and one of the value.
_KEY_OR_VALUE = (
    "Cast", "ExtractField", "Flatten", "HeaderFrom", "HoistField", "InsertField", "MaskField", "ReplaceField",
    "SetSchemaMetadata", "TimestampConverter",
)  # fmt: skip
_TRANSFORMS_OF_ALL = ("DropHeaders", "Filter", "InsertHeader", "RegexRouter", "TimestampRouter", "ValueToKey")
_PREDICATES = ("HasHeaderKey", "RecordIsTombstone", "TopicNameMatches")

#: Java's full names of what Millrace has, to the names of the classes here.
OURS: Mapping[str, str] = {
    **{f"{_TRANSFORMS}{name}${part}": f"{name}{part}" for name in _KEY_OR_VALUE for part in ("Key", "Value")},
    **{f"{_TRANSFORMS}{name}": name for name in _TRANSFORMS_OF_ALL},
    **{f"{_TRANSFORMS}predicates.{name}": name for name in _PREDICATES},
    f"{_CONNECT}file.FileStreamSourceConnector": "FileStreamSourceConnector",
    f"{_CONNECT}file.FileStreamSinkConnector": "FileStreamSinkConnector",
    f"{_CONNECT}storage.StringConverter": "StringConverter",
    f"{_CONNECT}json.JsonConverter": "JsonConverter",
    f"{_CONNECT}converters.ByteArrayConverter": "ByteArrayConverter",
    **{
        f"{_CONNECT}converters.{name}Converter": f"{name}Converter"
        for name in ("Boolean", "Double", "Float", "Integer", "Long", "Short")
    },
    "io.confluent.connect.avro.AvroConverter": "AvroConverter",
    "io.confluent.connect.json.JsonSchemaConverter": "JsonSchemaConverter",
    "io.confluent.connect.protobuf.ProtobufConverter": "ProtobufConverter",
    f"{_CONNECT}storage.SimpleHeaderConverter": "SimpleHeaderConverter",
    f"{_PROVIDERS}FileConfigProvider": "FileConfigProvider",
    f"{_PROVIDERS}DirectoryConfigProvider": "DirectoryConfigProvider",
    f"{_PROVIDERS}EnvVarConfigProvider": "EnvVarConfigProvider",
}

#: Kafka Connect's built-in plugins that Millrace lacks, by kind: full Java names.
NOT_BUILT: Mapping[str, tuple[str, ...]] = {
    "connector": (
        *(f"{_CONNECT}mirror.Mirror{name}Connector" for name in ("Source", "Checkpoint", "Heartbeat")),
        *(f"{_CONNECT}tools.{name}Connector" for name in ("MockSource", "MockSink", "SchemaSource")),
        *(f"{_CONNECT}tools.{name}Connector" for name in ("VerifiableSource", "VerifiableSink")),
    ),
    "converter": (),
    "header_converter": (),
    "transform": (),
    "predicate": (),
    "config_provider": (),
}


def is_kafka_class(name: str) -> bool:
    """Whether this is the full name of a Java class of Kafka's own."""
    return name.startswith(_KAFKA)


def rest_name(path: str, aliases: Iterable[str]) -> str:
    """How REST calls a class: by Java's name where it is one of Kafka Connect's, for those who know it."""
    return next(filter(OURS.__contains__, aliases), path.replace(":", "."))


def simple_name(java_name: str) -> str:
    """The name without its package: `Cast$Value`, `RegexRouter`."""
    return java_name.rpartition(".")[2]
