"""What a source's producer is told: Kafka Connect's defaults where order depends on them, and what delivery needs.

    idempotence on, acks=all, murmur2, no message timeout      so that the fast way of engine.pump.delivery is safe
    acks=1, or idempotence switched off                        one request in flight, as in Kafka Connect

Used by: engine.config.clients, clients_idle.py.
Not here: names and values alone (clients_table.py, clients_java.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from engine.config.clients_draft import ClientSettings, Draft, Setting, opened, reconnect_defaults, take_passive_classes
from engine.config.clients_java import INTERCEPTORS
from engine.config.clients_layers import Given
from engine.config.clients_security import take_security
from engine.config.problems import raise_all
from engine.config.worker import WorkerConfig, ring_bytes

__all__ = ["own_settings", "producer_settings", "why_no_acks"]

#: Kafka Connect's own default of max.request.size.
REQUEST_BYTES = 1_048_576
#: What a frame holds of a record beside its key and value, at most.
FRAME_OVERHEAD_BYTES = 4096
#: A ring holds at least four of its largest frames (engine.shm.ring).
FRAMES_MIN = 4
#: Above what delivery ever queues (engine.pump.delivery, QUEUE_RECORDS_MAX).
QUEUE_RECORDS = 100_000
QUEUE_KBYTES = 32 * 1024
#: An idempotent producer keeps order with up to so many requests in flight.
IN_FLIGHT_MAX = 5
#: Java's word for "never": librdkafka's is 0.
NEVER_MS = 2**31 - 1

_OF_RECORDS = (f"producer.{INTERCEPTORS}", "producer.partitioner.class")
_IN_FLIGHT = "max.in.flight.requests.per.connection"
_QUEUE_KBYTES, _QUEUE_RECORDS = "queue.buffering.max.kbytes", "queue.buffering.max.messages"
_DEFAULT_PARTITIONERS = (
    "org.apache.kafka.clients.producer.internals.DefaultPartitioner",
    "org.apache.kafka.clients.producer.internals.BuiltInPartitioner",
)


def own_settings(worker: Mapping[str, str], secrets: Collection[str], **where: Any) -> Mapping[str, Any]:
    """Of a client of the worker's own. where: as for producer_settings. Raises ConfigError with every problem."""
    # What would be done with records, if it sent any, is no reason to refuse it.
    given = {key: value for key, value in worker.items() if key not in _OF_RECORDS}
    return producer_settings(given, {}, name="worker", task=0, secrets=secrets, **where).settings


def producer_settings(
    worker: Mapping[str, str],
    connector: Mapping[str, str],
    *,
    worker_config: WorkerConfig,
    name: str,
    task: int,
    file: str = "",
    worker_file: str = "",
    secrets: Collection[str] = (),
) -> ClientSettings:
    """The producer of one task of a source.

    secrets: values that came from a provider. Raises ConfigError with every problem.
    """
    draft, given = opened("producer", worker, connector, worker_config, name, file, worker_file, secrets)
    order = {target: given.get(target) for target in ("enable.idempotence", "acks", "retries", _IN_FLIGHT)}
    take_security(given, draft)
    take_passive_classes(given, draft, ("key.serializer", "value.serializer"))
    _take_partitioner(given, draft)
    _take_compression_level(given, draft)
    _take_acks(given, draft)
    timeout = given.pop("message.timeout.ms", None)
    queue = {name: given.pop(name, None) for name in (_QUEUE_KBYTES, _QUEUE_RECORDS)}
    for setting in given.values():
        draft.take(setting)
    _settle_order(order, draft)
    _take_delivery_timeout(timeout, draft)
    record_bytes = draft.settings.get("message.max.bytes", REQUEST_BYTES)
    assert isinstance(record_bytes, int), "the table says that it is a whole number"
    capacity = _capacity(worker_config, connector, record_bytes)
    _take_queue(queue, draft, capacity)
    raise_all(draft.problems)
    return ClientSettings(
        settings={
            **_defaults(worker_config, name, task, capacity),
            **reconnect_defaults(draft.settings),
            **draft.settings,
        },
        record_bytes_max=record_bytes,
        given=tuple(draft.settings),
        warnings=tuple(draft.warnings),
        secrets=tuple(sorted(draft.secrets)),
    )


def _defaults(worker_config: WorkerConfig, name: str, task: int, capacity: int) -> dict[str, Setting]:
    return {
        "bootstrap.servers": ",".join(worker_config.bootstrap_servers),
        "client.id": f"connector-producer-{name}-{task}",
        "acks": -1,
        "partitioner": "murmur2_random",
        # Java's too, since 4.0. A source at full speed fills its batches; a slow one waits so long for a second record.
        "linger.ms": 5,
        "message.timeout.ms": 0,
        "message.max.bytes": REQUEST_BYTES,
        _QUEUE_RECORDS: QUEUE_RECORDS,
        _QUEUE_KBYTES: max(QUEUE_KBYTES, 2 * capacity // 1024),
    }


def _take_partitioner(given: dict[str, Given], draft: Draft) -> None:
    java, ignores_keys = given.pop("partitioner.class", None), given.pop("partitioner.ignore.keys", None)
    if java is not None and java.value and java.value not in _DEFAULT_PARTITIONERS:
        prefix = java.key.removesuffix("partitioner.class")
        draft.blame(
            java,
            f"Java's partitioners are not loaded; leave it out for Kafka's own, or use {prefix}partitioner with one of "
            "librdkafka's: random, consistent, consistent_random, murmur2, murmur2_random, fnv1a, fnv1a_random",
        )
    if ignores_keys is not None and draft.flag(ignores_keys):
        draft.settle("partitioner", "random")


def _take_compression_level(given: dict[str, Given], draft: Draft) -> None:
    """Java has a level for each codec, librdkafka one for that in use."""
    codec = given.get("compression.type")
    level = None if codec is None else given.pop(f"compression.{codec.value.lower()}.level", None)
    if level is not None:
        draft.take_native(level, "compression.level")


def _take_acks(given: dict[str, Given], draft: Draft) -> None:
    acks = given.pop("acks", None)
    if acks is None:
        return
    reason = why_no_acks(acks.value)
    if reason:
        draft.blame(acks, reason)
        return
    count = -1 if acks.value.lower() == "all" else int(acks.value)
    draft.settle("acks", count)
    if count != -1:
        lost = "all that is on its way" if count == 0 else "what it has not passed on"
        draft.warnings.append(
            f"{acks.key}={acks.value}: when a broker fails, {lost} is lost, though it counts as delivered"
        )


def why_no_acks(text: str) -> str:
    """What was expected of a value of `acks`; empty: it is one."""
    return "" if text.lower() in ("all", "-1", "0", "1") else "expected one of all, -1, 0, 1"


def _settle_order(given: Mapping[str, Given | None], draft: Draft) -> None:
    """Idempotence is on unless it, or what it needs, is switched off; without it, one request in flight keeps order."""
    wanted, acks = given["enable.idempotence"], given["acks"]
    retries, in_flight = given["retries"], given[_IN_FLIGHT]
    obstacles = [
        (setting, need)
        for setting, need, is_met in (
            (acks, "acks=all", draft.settings.get("acks", -1) == -1),
            (retries, "retries above 0", draft.settings.get("retries", 1) != 0),
            (in_flight, f"at most {IN_FLIGHT_MAX}", _at_most(draft.settings.get(_IN_FLIGHT, 1), IN_FLIGHT_MAX)),
        )
        if setting is not None and not is_met
    ]
    is_idempotent = draft.settings.get("enable.idempotence", not obstacles)
    if wanted is not None and is_idempotent:
        for setting, need in obstacles:
            draft.blame(setting, f"{wanted.key}=true needs {need}")
    if is_idempotent:
        draft.settle("enable.idempotence", True)
        draft.settings.setdefault(_IN_FLIGHT, IN_FLIGHT_MAX)
        return
    draft.settle("enable.idempotence", False)
    cause = wanted if wanted is not None else obstacles[0][0]
    draft.warnings.append(
        f"{cause.key}={cause.value}: without idempotence a failed request may repeat records in Kafka"
    )
    if draft.settings.setdefault(_IN_FLIGHT, 1) != 1 and in_flight is not None:
        draft.warnings.append(f"{in_flight.key}={in_flight.value}: a failed request may change the order of records")


def _at_most(value: Setting, limit: int) -> bool:
    return isinstance(value, int) and value <= limit


def _take_delivery_timeout(timeout: Given | None, draft: Draft) -> None:
    if timeout is None:
        return
    draft.take_native(timeout, "message.timeout.ms")
    found = draft.settings.pop("message.timeout.ms", 0)
    if found in (0, NEVER_MS):
        return
    if draft.settings["enable.idempotence"]:
        # librdkafka would drop records out of the middle of those that one callback answers for.
        draft.warn(timeout, "a record is tried until Kafka has it or refuses it, as enable.idempotence is on")
    else:
        draft.settle("message.timeout.ms", found)


def _take_queue(queue: Mapping[str, Given | None], draft: Draft, capacity: int) -> None:
    """librdkafka's queue must hold what delivery hands over at once, or records would be refused for want of room."""
    records = queue[_QUEUE_RECORDS]
    if records is not None:
        draft.take_native(records, _QUEUE_RECORDS)
        if draft.settings.get(_QUEUE_RECORDS) in range(1, QUEUE_RECORDS):
            draft.settings.pop(_QUEUE_RECORDS)
            draft.warn(records, f"the queue holds {QUEUE_RECORDS} records at least")
    size = queue[_QUEUE_KBYTES]
    if size is None:
        return
    if size.name == "buffer.memory":
        if not size.value.isdecimal():
            draft.blame(size, "expected a whole number of bytes")
            return
        draft.take_native(size, _QUEUE_KBYTES, str(max(1, int(size.value) // 1024)))
    else:
        draft.take_native(size, _QUEUE_KBYTES)
    least = 2 * (capacity // FRAMES_MIN) // 1024
    found = draft.settings.get(_QUEUE_KBYTES)
    if isinstance(found, int) and found < least:
        draft.settle(_QUEUE_KBYTES, least)
        draft.warnings.append(
            f"{size.key}={size.value} is less than two frames of ring.bytes={capacity}; it is {least} KiB"
        )


def _capacity(worker_config: WorkerConfig, connector: Mapping[str, str], record_bytes: int) -> int:
    """The ring's bytes: as configured, or more where a record needs it."""
    own = connector.get("ring.bytes", "").strip()
    wanted = int(own) if own.isdecimal() else worker_config.ring_bytes
    return ring_bytes(max(wanted, FRAMES_MIN * (record_bytes + FRAME_OVERHEAD_BYTES)))
