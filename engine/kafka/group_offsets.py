"""Offsets of a consumer group without being its member: listed, set, forgotten. For sinks that do not run.

    list_offsets    every partition that has one; none of a group that is not there
    set_offsets     of single partitions                     delete_group    all of them, with the group
    forget_offsets  of single partitions (librdkafka_call.py: the Python client has no call for it)

Each makes its own client and gives it up. What fails because the group still has members is a GroupInUseError.

Used by: engine.altering, in a child that ends with its clients.
Not here: a member's own commits (consumer.py).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from engine.api.errors import ConnectError
from engine.kafka.access import client_settings
from engine.kafka.answers import answer_of
from engine.kafka.errors import as_ours
from engine.kafka.librdkafka_call import delete_offsets
from engine.shm.waits import Cause, OutsideError

__all__ = ["GroupInUseError", "delete_group", "forget_offsets", "list_offsets", "set_offsets"]

Place = tuple[str, int]  # topic, partition

#: A future hears of the end of its time a little later.
LATE_SECONDS = 1.0
RETRY_SECONDS = 0.2
_LOG_LEVEL = 2
_IN_USE = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.GROUP_SUBSCRIBED_TO_TOPIC, KafkaError.NON_EMPTY_GROUP}


class GroupInUseError(ConnectError):
    """The group has members: only they may move its offsets."""


def list_offsets(settings: Mapping[str, Any], group: str, seconds: float) -> dict[Place, int]:
    """What the group has committed. Raises ConnectError."""
    doing = f"list the offsets of group {group}"
    _await_coordinator(settings, group, seconds)
    wanted = [ConsumerGroupTopicPartitions(group)]
    answers = _asked(
        settings, lambda client: client.list_consumer_group_offsets(wanted, request_timeout=seconds), doing, seconds
    ).topic_partitions
    _look_for_errors(answers, doing)
    return {(at.topic, at.partition): at.offset for at in answers if at.offset >= 0}


def set_offsets(settings: Mapping[str, Any], group: str, offsets: Mapping[Place, int], seconds: float) -> None:
    """Commit these in the group's name. Raises ConnectError; some may have been set then."""
    doing = f"set offsets of group {group}"
    _await_coordinator(settings, group, seconds)
    wanted = [
        ConsumerGroupTopicPartitions(group, [TopicPartition(*place, offset) for place, offset in offsets.items()])
    ]
    answers = _asked(
        settings, lambda client: client.alter_consumer_group_offsets(wanted, request_timeout=seconds), doing, seconds
    ).topic_partitions
    _look_for_errors(answers, doing)


def forget_offsets(settings: Mapping[str, Any], group: str, places: Collection[Place], seconds: float) -> None:
    """Let the group have no offset of these partitions. Raises ConnectError; some may have been forgotten then."""
    _await_coordinator(settings, group, seconds)
    error = delete_offsets({**client_settings(settings), "log_level": _LOG_LEVEL}, group, places, seconds)
    if error is not None:
        ours = _ours(error, f"forget offsets of group {group}")
        if not isinstance(ours, _GoneError):
            raise ours


def delete_group(settings: Mapping[str, Any], group: str, seconds: float) -> None:
    """Let there be no such group, nor any of its offsets. Raises ConnectError."""
    doing = f"delete group {group}"
    _await_coordinator(settings, group, seconds)
    with contextlib.suppress(_GoneError):
        _asked(settings, lambda client: client.delete_consumer_groups([group], request_timeout=seconds), doing, seconds)


def _await_coordinator(settings: Mapping[str, Any], group: str, seconds: float) -> None:
    """Until a broker keeps the group, or would. Raises ConnectError.

    Asked about offsets while the brokers still make their topic of them, librdkafka 2.16 ends the process (SIGSEGV in
    rd_kafka_cgrp_op): on a cluster where no group has ever been.
    """
    doing = f"look for group {group}"
    deadline = time.monotonic() + seconds
    while True:
        try:
            _asked(
                settings,
                lambda client: client.describe_consumer_groups([group], request_timeout=seconds),
                doing,
                seconds,
            )
            return
        except _GoneError:
            return
        except OutsideError as error:
            if error.cause != Cause.LEADER or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


class _GoneError(ConnectError):
    """There is no such group."""


def _asked(
    settings: Mapping[str, Any], ask: Callable[[AdminClient], Mapping[Any, Future[Any]]], doing: str, seconds: float
) -> Any:
    """The one answer. Raises ConnectError."""
    try:
        client = AdminClient({**client_settings(settings), "log_level": _LOG_LEVEL})
        (future,) = ask(client).values()
        return answer_of(future, seconds + LATE_SECONDS)
    except KafkaException as error:
        raise _ours(error.args[0], doing) from error
    except TimeoutError as error:
        raise ConnectError(f"cannot {doing}: no answer within {seconds:g} s") from error


def _look_for_errors(answers: Iterable[TopicPartition], doing: str) -> None:
    for answer in answers:
        if answer.error is not None:
            raise _ours(answer.error, f"{doing} in topic {answer.topic} partition {answer.partition}")


def _ours(error: KafkaError, doing: str) -> ConnectError:
    if error.code() == KafkaError.GROUP_ID_NOT_FOUND:
        return _GoneError(f"cannot {doing}: there is no such group")
    if error.code() in _IN_USE:
        return GroupInUseError(f"cannot {doing}: {error.str()} ({error.name()})")
    return as_ours(error, doing)
