"""How far a connector is: read, set, forgotten; of a source in the worker's store, of a sink in its consumer group.

    Alter ──► probe: class ──► (all is forgotten: what there is) ──► alter_offsets: may it be?
          └─► store, or group, in this process                                     ──► words for the client

Plugin code runs in the probe alone. What it has agreed to is written here, afterwards: in the store all of it or none,
in the group as Kafka takes it, partition by partition. Statuses and words are Kafka Connect's; the cause is in the log.

Used by: engine.answering.
Not here: whether the connector is stopped (engine.herder), how a group is asked (engine.kafka.group_offsets).
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from engine.api import java_text
from engine.api.connector import Connector, SinkConnector
from engine.api.errors import ConnectError
from engine.api.record import TopicPartition
from engine.config.files import Pipeline
from engine.connector_lines import ConnectorLines, PlanOptions
from engine.herder.model import Alter, PartitionOffset
from engine.herder.questions import NoAnswerError, ReadOffsets
from engine.kafka import group_offsets
from engine.kafka.group_offsets import GroupInUseError
from engine.looking import consult
from engine.offsets.store import OffsetStore, encode_part
from engine.plugins.probe import Tell

__all__ = ["alter", "read_offsets", "sink_places", "source_parts"]

logger = logging.getLogger("millrace.offsets")

Place = tuple[str, int]  # topic, partition
Setting = str | int | float | bool

#: For one request to Kafka; those of an answer and the connector's own time fit into what it may take.
KAFKA_SECONDS = 10.0
TOPIC, PARTITION, OFFSET = "kafka_topic", "kafka_partition", "kafka_offset"
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_INT, _LONG = 2**31, 2**63
_STILL_THERE = (
    " either because its tasks haven't stopped completely yet or the connector was resumed before the request to {} "
    "its offsets could be successfully completed. If the connector is in a stopped state, this operation can be safely "
    "retried. If it doesn't eventually succeed, the Connect cluster may need to be restarted to get rid of the zombie "
    "sink tasks."
)


class _Known(Struct, frozen=True):
    """What the probe has found."""

    store: str = ""
    group: str = ""  # of a sink; empty: it is a source
    settings: Mapping[str, Setting] = {}  # of a sink's client
    parts: Mapping[bytes, bytes | None] = {}  # of a source, as they are stored; None: to be forgotten
    places: tuple[tuple[str, int, int | None], ...] = ()  # of a sink
    is_all_done: bool = False  # the connector answers for what it keeps by itself
    status: int = 0  # of a refusal; 0: it is none
    message: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Known).decode


def read_offsets(worker: Pipeline, options: PlanOptions, question: ReadOffsets) -> bytes:
    """All that there are, as REST shows them. Raises ConnectError."""
    name = question.name
    known = _decode(consult(worker, options, name, question.config, lambda made, _: _encode(_look(made)[1])))
    if known.group:
        with _told_as(f"Failed to retrieve consumer group offsets for sink connector {name}"):
            found = group_offsets.list_offsets(known.settings, known.group, KAFKA_SECONDS)
        listed = [
            {"partition": {TOPIC: topic, PARTITION: partition}, "offset": {OFFSET: offset}}
            for (topic, partition), offset in sorted(found.items())
        ]
    else:
        with _told_as(f"Failed to retrieve offsets for source connector {name}"):
            stored = _stored(known.store, name)
        listed = [
            {"partition": orjson.loads(part), "offset": offset} for part, offset in stored.items() if offset is not None
        ]
    return orjson.dumps({"offsets": listed})


def alter(worker: Pipeline, options: PlanOptions, question: Alter) -> bytes:
    """What has been done, in words. Raises NoAnswerError, ConnectError."""
    name, is_reset = question.name, question.offsets is None

    def ask(made: ConnectorLines, tell: Tell) -> bytes:
        try:
            return _encode(_agreed(made, tell, question))
        except NoAnswerError as error:
            return _encode(_Known(status=error.status, message=made.masked(str(error))))

    known = _decode(consult(worker, options, name, question.config, ask))
    if known.status:
        raise NoAnswerError(known.status, known.message)
    if not known.group:
        with (
            _told_as(f"Failed to modify offsets for source connector {name}"),
            closing(OffsetStore(known.store)) as store,
        ):
            store.alter(name, known.parts)
    elif is_reset:
        _reset_group(name, known)
    else:
        _alter_group(name, known)
    return _done(is_all_done=known.is_all_done, done="reset" if is_reset else "altered").encode()


# In the probe


def _look(made: ConnectorLines) -> tuple[type[Connector], _Known]:
    found = made.find()
    if not issubclass(found, SinkConnector):
        return found, _Known(made.store)
    settings = made.client(found).settings
    return found, _Known(made.store, str(settings["group.id"]), settings)


def _agreed(made: ConnectorLines, tell: Tell, question: Alter) -> _Known:
    """What is to be written, once the connector has agreed to it. Raises NoAnswerError."""
    found, known = _look(made)
    name, offsets = question.name, question.offsets
    asked: Mapping[Any, Any]
    if known.group:
        if offsets is None:
            tell("reading the group's offsets", 2 * KAFKA_SECONDS)
            with _told_as(f"Failed to list offsets prior to resetting offsets for sink connector {name}"):
                places: dict[Place, int | None] = dict.fromkeys(
                    group_offsets.list_offsets(known.settings, known.group, KAFKA_SECONDS)
                )
        else:
            places = sink_places(offsets)
        known = msgspec.structs.replace(known, places=tuple((*place, offset) for place, offset in places.items()))
        asked = {TopicPartition(*place): offset for place, offset in places.items()}
    else:
        if offsets is None:
            with _told_as(f"Failed to modify offsets for source connector {name}"):
                parts: dict[bytes, bytes | None] = dict.fromkeys(_stored(known.store, name))
        else:
            parts = source_parts(offsets)
        known = msgspec.structs.replace(
            known, parts={part: offset for part, offset in parts.items() if part != b"null"}
        )
        asked = {part.decode(): None if offset is None else orjson.loads(offset) for part, offset in parts.items()}
    tell("alter_offsets")
    kind = "sink" if known.group else "source"
    method = "reset_offsets" if known.group and offsets is None else "alter_offsets"
    is_all_done = _ask(made, lambda given: getattr(found(), method)(given, asked), name, kind)
    if any(offset is not None and offset < 0 for _, _, offset in known.places):
        logger.error("connector %s: an offset is below 0", name)
        raise NoAnswerError(500, f"Failed to modify offsets for sink connector {name}")
    return msgspec.structs.replace(known, is_all_done=is_all_done)


def _ask(made: ConnectorLines, ask: Callable[[dict[str, str]], object], name: str, kind: str) -> bool:
    """What the connector says. ask: it, given its properties. Raises NoAnswerError."""
    try:
        return bool(ask(dict(made.properties)))
    except ConnectError as error:
        raise NoAnswerError(500, str(error)) from error
    except NotImplementedError as error:
        text = (
            f"Failed to modify offsets for connector {name} because it doesn't support external modification of offsets"
        )
        raise NoAnswerError(500, text) from error
    except Exception as error:
        text = f"Failed to modify offsets for {kind} connector {name}"
        logger.error("%s: %s", text, made.masked(traceback.format_exc()))  # noqa: TRY400  it may hold secrets
        raise NoAnswerError(500, text) from error


def source_parts(offsets: tuple[PartitionOffset, ...]) -> dict[bytes, bytes | None]:
    """A source's, as they are stored. Raises NoAnswerError where Kafka Connect could not store them."""
    for one in offsets:
        _check_primitive(one.partition)
        _check_primitive(one.offset)
    return {encode_part(one.partition): None if one.offset is None else encode_part(one.offset) for one in offsets}


def _check_primitive(part: Mapping[str, Any] | None) -> None:
    for key, value in (part or {}).items():
        kind = ""
        if isinstance(value, dict):
            kind = "MAP"
        elif isinstance(value, list):
            kind = "ARRAY"
        elif isinstance(value, int) and not -_LONG <= value < _LONG:
            kind = "class java.math.BigInteger"
        if kind:
            text = f"Offsets may only contain primitive types as values, but field {key} contains {kind}"
            raise NoAnswerError(500, text)


def sink_places(offsets: tuple[PartitionOffset, ...]) -> dict[Place, int | None]:
    """A sink's, by topic and partition. Raises NoAnswerError where they are none."""
    places: dict[Place, int | None] = {}
    for one in offsets:
        if one.partition is None:
            raise NoAnswerError(400, "The partition for a sink connector offset cannot be null or missing")
        place = _place(one.partition)
        if one.offset is None:
            places[place] = None
        elif OFFSET not in one.offset:
            raise NoAnswerError(
                400, f"The offset for a sink connector should either be null or contain the key '{OFFSET}'"
            )
        else:
            places[place] = _whole(one.offset[OFFSET], _LONG, "offset")
    return places


def _place(partition: Mapping[str, Any]) -> Place:
    if TOPIC not in partition or PARTITION not in partition:
        raise NoAnswerError(
            400, f"The partition for a sink connector offset must contain the keys '{TOPIC}' and '{PARTITION}'"
        )
    if partition[TOPIC] is None:
        raise NoAnswerError(400, "Kafka topic names must be valid strings and may not be null")
    if partition[PARTITION] is None:
        raise NoAnswerError(400, "Kafka partitions must be valid numbers and may not be null")
    return java_text.text(partition[TOPIC]), _whole(partition[PARTITION], _INT, "partition")


def _whole(value: Any, beyond: int, what: str) -> int:
    """A number, or the text of one, as Java reads it. Raises NoAnswerError."""
    text = java_text.text(value)
    if _NUMBER.match(text) and -beyond <= int(text) < beyond:
        return int(text)
    raise NoAnswerError(
        400,
        f"Failed to parse the following Kafka {what} value in the provided offsets: '{text}'. "
        f"{what.capitalize()} values for sink connectors need to be integers.",
    )


# Writing


def _alter_group(name: str, known: _Known) -> None:
    placed = {(topic, partition): offset for topic, partition, offset in known.places if offset is not None}
    gone = [(topic, partition) for topic, partition, offset in known.places if offset is None]
    text = f"Failed to alter consumer group offsets for connector {name}"
    with _told_as(text, text + _STILL_THERE.format("alter")):
        _forget_notes(known)
        if placed:
            group_offsets.set_offsets(known.settings, known.group, placed, KAFKA_SECONDS)
        if gone:
            group_offsets.forget_offsets(known.settings, known.group, gone, KAFKA_SECONDS)


def _reset_group(name: str, known: _Known) -> None:
    in_use = f"Failed to reset consumer group offsets for connector {name}" + _STILL_THERE.format("reset")
    with _told_as(f"Failed to reset consumer group offsets for sink connector {name}", in_use):
        _forget_notes(known)
        group_offsets.delete_group(known.settings, known.group, KAFKA_SECONDS)


def _forget_notes(known: _Known) -> None:
    """What is noted of the group would make of a lost offset, or of another topic, an error: here it is meant.

    Before the group is asked: should it refuse, the sink notes it again when it runs.
    """
    with closing(OffsetStore(known.store)) as store:
        store.forget_sink_positions(known.group, [(topic, partition) for topic, partition, _ in known.places])


def _stored(store: str, name: str) -> dict[bytes, Mapping[str, Any] | None]:
    with closing(OffsetStore(store)) as opened:
        return opened.offsets(name)


@contextmanager
def _told_as(text: str, in_use: str = "") -> Iterator[None]:
    """What goes wrong goes to the log, and to the client in these words. in_use: where the group has members."""
    try:
        yield
    except (ConnectError, ValueError) as error:
        logger.error("%s: %s", text, error)  # noqa: TRY400  its words say it all
        raise NoAnswerError(500, in_use if in_use and isinstance(error, GroupInUseError) else text) from error


def _done(*, is_all_done: bool, done: str) -> str:
    if is_all_done:
        return f"The offsets for this connector have been {done} successfully"
    return (
        f"The Connect framework-managed offsets for this connector have been {done} successfully. However, if this "
        f"connector manages offsets externally, they will need to be manually {done} in the system that the connector "
        "uses."
    )
