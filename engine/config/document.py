"""docs/config.md, out of the declarations: `python -m engine.config.document` prints it.

Used by: a person who changed a key; a test holds the file fresh.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import NODEFAULT, Meta

from engine.api.config import Key, keys_of
from engine.config.clients import consumer_settings, producer_settings
from engine.config.clients_java import IGNORED, REFUSED, RENAMED, RENAMED_OF
from engine.config.clients_table import OWNED
from engine.config.connector_keys import ConnectorConfig, SinkKeys, SourceKeys
from engine.config.tls import TlsKeys
from engine.config.worker import DISTRIBUTED, WITHOUT_EFFECT
from engine.config.worker_keys import WorkerConfig

__all__ = ["document"]

_HEAD = """# Configuration

Printed by `python -m engine.config.document` from the declarations; do not edit it by hand.

A pipeline is one TOML file with a `[worker]` and a `[connectors.NAME]` table for each connector, or Kafka Connect's own
files: a worker's `.properties`, and a `.properties` or `.json` for each connector. Keys are the same everywhere. In
TOML `"a.b" = 1`, `a.b = 1` and a table `[worker.a]` with `b = 1` mean the key `a.b`; lists and numbers need no quotes.

In TOML a key that nobody knows is an error. In Kafka Connect's files it is a warning, as Kafka Connect has it.
Everything that is wrong in all files is reported at once, with file, connector, key, value and what was expected;
secrets are shown as `[hidden]`.

Values may stand elsewhere: `${provider:path:key}` is replaced by what the worker's config provider of that name
answers. `FileConfigProvider`, `DirectoryConfigProvider` and `EnvVarConfigProvider` are Kafka's, by these names or
Java's full ones.

Keys of connectors, converters and transforms themselves are described with each of them, see [connectors](connectors/).
"""

_CLIENTS = """## Settings of the Kafka clients

`producer.X` and `consumer.X` of the worker are for the clients of all connectors, `producer.override.X` and
`consumer.override.X` of a connector for its own. As in Kafka Connect, keys of the worker without a prefix
(`security.protocol`) reach neither.

`admin.X` and `admin.override.X` are for the client that makes a dead letter topic. It has, as in Kafka Connect, the
worker's `security.*`, `sasl.*` and `ssl.*` without a prefix, over them `admin.X` of the worker, over them
`admin.override.X` of the connector. Where none of them says `security.protocol`, all else is as the letters' producer
has it.

X is a name of Java's clients or of librdkafka; what both know by one name means Java's. A name that neither knows is an
error. Where Java has no equal in librdkafka the setting is refused with what to use instead, or, if it changes nothing
here, warned about.

- `sasl.jaas.config` with Java's `PlainLoginModule` or `ScramLoginModule` is read as `sasl.username` and
  `sasl.password`. Other login modules are refused.
- Truststores: PEM (`ssl.truststore.type=PEM`), as file or inline. Keystores: PEM or PKCS12. JKS is refused with the
  command that converts it.
- Serializers and deserializers may be named if they are Kafka's for byte arrays or strings; they have nothing to do.
- `enable.idempotence` is on, which Kafka Connect's is not. `acks` other than `all`, `retries=0`, or more than 5
  requests in flight switch it off, with a warning; one request is in flight then, unless the setting says otherwise.
- `delivery.timeout.ms` counts only while idempotence is off; with it, a record is tried until Kafka has it or
  refuses it.
- `auto.offset.reset` is `earliest` by default, as in Kafka Connect. It decides for a partition that was never
  committed; a lost range is an error.
- `max.poll.records` bounds the records that a sink gets at once.
- `group.instance.id` is made of worker, connector and task, so that the replacement of a killed task has its
  partitions back at once.
"""


def document() -> str:
    """The whole of docs/config.md."""
    return "\n".join([_HEAD, *_worker(), *_connectors(), _CLIENTS, *_clients()])


def _worker() -> Iterator[str]:
    described = [key for key in keys_of(WorkerConfig) if key.description]
    yield "## The worker\n"
    yield from _table(described)
    yield "\nFor https listeners, with the prefix `listeners.https.` or, if none has it, without; for those of"
    yield "`admin.listeners` with `admin.listeners.https.`:\n"
    yield from _table(keys_of(TlsKeys))
    yield "\nRead and checked, without effect:\n"
    yield "| key | why |\n|---|---|"
    for name, reason in sorted(WITHOUT_EFFECT.items()):
        yield f"| `{name}` | {_sentence(reason)} |"
    yield "\nKeys of Kafka Connect's distributed workers are let through with a warning: "
    yield ", ".join(f"`{name}`" for name in sorted(DISTRIBUTED))
    yield "and what begins with `config.storage.`, `offset.storage.` or `status.storage.`.\n"


def _connectors() -> Iterator[str]:
    common = {key.name for key in keys_of(ConnectorConfig)}
    yield "## All connectors\n"
    yield from _table(keys_of(ConnectorConfig))
    for title, kind in (("Sinks", SinkKeys), ("Sources", SourceKeys)):
        yield f"\n## {title}\n"
        yield from _table([key for key in keys_of(kind) if key.name not in common])
    yield ""


def _clients() -> Iterator[str]:
    worker = WorkerConfig(key_converter="K", value_converter="V", offset_storage_file_filename="F")
    producer = producer_settings({}, {}, worker_config=worker, name="NAME", task=0).settings
    consumer, in_bulk = (
        consumer_settings(
            {}, {}, worker_config=worker, name="NAME", task=0, worker_id="WORKER", is_bulk=is_bulk
        ).settings
        for is_bulk in (False, True)
    )
    for title, settings in (("Producers of sources", producer), ("Consumers of sinks", consumer)):
        yield f"{title} begin with:\n"
        yield "| librdkafka's setting | value |\n|---|---|"
        for name, value in sorted(settings.items()):
            yield f"| `{name}` | `{str(value).lower() if isinstance(value, bool) else value}` |"
        yield ""
    others = ", ".join(f"`{name}` is `{value}`" for name, value in in_bulk.items() if consumer[name] != value)
    yield f"In a run that ends (`millrace run`) a consumer's {others}: its tasks hear sooner that others join.\n"
    yield from _pairs("Translated", "Java's name", "librdkafka's", _translated())
    yield from _pairs("Without effect, with a warning", "name", "why", _sentences(IGNORED))
    yield from _pairs("Refused", "name", "what to do", _sentences(REFUSED))
    yield from _pairs("Set by the engine alone", "name", "why", _sentences(OWNED))


def _translated() -> dict[str, str]:
    own = {java: f"`{native}` ({client}s)" for client, names in RENAMED_OF.items() for java, native in names.items()}
    shared = {java for java in RENAMED_OF["producer"] if java in RENAMED_OF["consumer"]}
    for java in shared:
        own[java] = f"`{RENAMED_OF['producer'][java]}`"
    return {**{java: f"`{native}`" for java, native in RENAMED.items()}, **own}


def _sentences(reasons: Mapping[str, str]) -> dict[str, str]:
    return {name: _sentence(reason) for name, reason in reasons.items()}


def _sentence(text: str) -> str:
    begins_with_name = text.startswith("librdkafka")
    return f"{text if begins_with_name else text[0].upper() + text[1:]}.".replace("|", "\\|")


def _pairs(title: str, left: str, right: str, rows: Mapping[str, str]) -> Iterator[str]:
    yield f"{title}:\n"
    yield f"| {left} | {right} |\n|---|---|"
    for name, text in sorted(rows.items()):
        yield f"| `{name}` | {text} |"
    yield ""


def _table(keys: Collection[Key]) -> Iterator[str]:
    yield "| key | values | default | meaning |\n|---|---|---|---|"
    for key in keys:
        yield f"| `{key.name}` | {_values(key)} | {_default(key)} | {key.description} |"


def _values(key: Key) -> str:
    if get_origin(key.kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(key.kind))
    if get_origin(key.kind) is list:
        return "list"
    if key.kind is bool:
        return "`true`, `false`"
    if key.kind in (int, float):
        return "number" + _bounds(key.annotation)
    return "text"


def _bounds(annotation: Any) -> str:
    metas = list(_metas(annotation))
    low = max((meta.ge for meta in metas if meta.ge is not None), default=None)
    high = min((meta.le for meta in metas if meta.le is not None), default=None)
    if low is None or high is None:
        return f" from {low}" if low is not None else ""
    return f", {low} to {high}"


def _metas(annotation: Any) -> Iterator[Meta]:
    if get_origin(annotation) is Annotated:
        inner, *extras = get_args(annotation)
        yield from (extra for extra in extras if isinstance(extra, Meta))
        yield from _metas(inner)
    elif get_origin(annotation) is types.UnionType:
        for member in get_args(annotation):
            yield from _metas(member)


def _default(key: Key) -> str:
    if key.default is NODEFAULT:
        return "required"
    if key.default is None or key.default in ([], ""):
        return ""
    if isinstance(key.default, bool):
        return f"`{str(key.default).lower()}`"
    return f"`{','.join(key.default)}`" if isinstance(key.default, list) else f"`{key.default}`"


if __name__ == "__main__":
    sys.stdout.write(document())
