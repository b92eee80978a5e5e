"""One table from librdkafka's errors to ours, used at the border and nowhere else.

Used by: engine.kafka, engine.pump.
"""

from __future__ import annotations

from confluent_kafka import KafkaError

from engine.api.errors import ConnectError, DeliveryTimeoutError, RecordTooLargeError, UnreachableError
from engine.shm.lease import RivalError
from engine.shm.waits import Cause, OutsideError

__all__ = ["CREDENTIALS", "DENIED", "PASSING", "as_ours", "is_queue_full"]

#: A person mends these, at the brokers or in files: worth waiting for once a line has begun.
CREDENTIALS = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._SSL,  # noqa: SLF001  its public name
}
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
#: What a consumer says of something that passes by itself.
PASSING = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # the topic is not there yet; librdkafka looks again
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError._MAX_POLL_EXCEEDED,
}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}
_TIMED_OUT = {KafkaError._MSG_TIMED_OUT}
_UNREACHABLE = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}
# Java's client retries each of these; librdkafka calls few of them retriable, and finds the new place by itself.
_MOVED = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.LISTENER_NOT_FOUND,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.KAFKA_STORAGE_ERROR,
    # The metadata names that broker no longer: what was asked of it is lost.
    KafkaError._DESTROY_BROKER,  # noqa: SLF001  its public name
    KafkaError._WAIT_COORD,  # noqa: SLF001  its public name
}
# A former life of this member may be who fenced it: what that had on its way can come after the new life has joined.
_FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID)
_TOO_FEW_REPLICAS = {KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND}
_WHAT_TO_DO = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create the topic, or let the broker do it (auto.create.topics.enable)",
    KafkaError._UNKNOWN_TOPIC: "create the topic, or let the broker do it (auto.create.topics.enable)",
    KafkaError._UNKNOWN_PARTITION: "the connector names a partition that the topic has not",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this user Write (sources) or Read (sinks) on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give this user Read on the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give this user IdempotentWrite on the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "give this user Describe and Write on the transactional id",
    KafkaError._AUTHENTICATION: "check user name and password, and that the listener takes this mechanism",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check user name and password",
    KafkaError.FENCED_INSTANCE_ID: "another process has joined with the same group.instance.id",
}


def is_queue_full(error: KafkaError | None) -> bool:
    """Whether a client has refused a record only because it has too many now. None: it did not say why."""
    return error is None or error.code() == KafkaError._QUEUE_FULL


def as_ours(error: KafkaError, doing: str) -> ConnectError:
    """Our error for one of librdkafka's, whose name is its code.

    doing: what was tried, with names, e.g. "produce to topic orders".
    """
    ours = _as_ours(error, doing)
    ours.code = error.name()
    return ours


def _as_ours(error: KafkaError, doing: str) -> ConnectError:
    code = error.code()
    if code == KafkaError._FATAL and _FENCED.str() in error.str():
        code = _FENCED.code()  # a consumer tells it as a fatal error, and which one in words only
    advice = _WHAT_TO_DO.get(code)
    text = f"cannot {doing}: {error.str()} ({error.name()})" + (f"; {advice}" if advice else "")
    if code in _TOO_LARGE:
        return RecordTooLargeError(
            f"{text}; the topic's max.message.bytes and the producer's max.request.size must take the record"
        )
    if code in _TIMED_OUT:
        return DeliveryTimeoutError(text)
    if code in _UNREACHABLE:
        return UnreachableError(text)
    if code in CREDENTIALS:
        return OutsideError(text, Cause.CREDENTIALS)
    if code in DENIED:
        return OutsideError(text, Cause.DENIED)
    if code in _TOO_FEW_REPLICAS:
        return OutsideError(text, Cause.REPLICAS)
    if code == _FENCED.code():
        return RivalError(text)
    if error.retriable() or code in _MOVED:
        return OutsideError(text, Cause.LEADER)
    return ConnectError(text)
