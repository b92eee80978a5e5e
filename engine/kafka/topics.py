"""Making and deleting topics; ids and partition counts of topics.

Used by: engine.demo, in a child that ends with its client; engine.pump.main (dead letters), engine.kafka.consumer
(ids), engine.inquiry (counts).
Not here: topics of connectors, which the brokers create when they are asked for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # exported unsaid

from engine.api.errors import ConnectError
from engine.kafka.access import client_settings
from engine.kafka.answers import answer_of
from engine.kafka.errors import as_ours

__all__ = ["TopicIds", "create_topic", "delete_topic", "partition_counts", "provide_topic", "topic_ids"]

BROKERS_CHOICE = -1  # of the number of replicas
#: So long a deleted topic must stay away.
GONE_SECONDS = 1.5
LOOK_SECONDS = 0.2
#: librdkafka's own complaints: what it says again becomes one error here.
_LOG_LEVEL = 2
#: An id of nothing but zeros, as brokers say that they have none.
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def create_topic(bootstrap: str, topic: str, partitions: int, timeout_seconds: float) -> None:
    """The topic is there, with as many replicas as the brokers' default. Raises ConnectError."""
    admin = _admin(bootstrap)
    wanted = NewTopic(topic, partitions, BROKERS_CHOICE)
    try:
        answer_of(admin.create_topics([wanted], request_timeout=timeout_seconds)[topic])
    except KafkaException as error:
        raise as_ours(error.args[0], f"create topic {topic} on {bootstrap}") from error


def provide_topic(settings: Mapping[str, Any], topic: str, replication: int, timeout_seconds: float) -> None:
    """The topic is there; where it was not, it has one partition and so many replicas. Raises ConnectError."""
    try:
        admin = AdminClient({**client_settings(settings), "log_level": _LOG_LEVEL})
        # All topics are listed: asking for one that is not there would make it, with the brokers' defaults.
        if topic in admin.list_topics(timeout=timeout_seconds).topics:
            return
        answer_of(admin.create_topics([NewTopic(topic, 1, replication)], request_timeout=timeout_seconds)[topic])
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another task was faster
            raise as_ours(error.args[0], f"create the dead letter topic {topic}") from error


def delete_topic(bootstrap: str, topic: str, group: str, timeout_seconds: float) -> None:
    """The topic and the group that read it are gone, and have been for a moment. Raises ConnectError.

    Right after its clients have ended a broker may still count a member of the group, and has been seen to make the
    topic again: both are tried until they last.
    """
    admin = _admin(bootstrap)
    deadline = time.monotonic() + timeout_seconds
    gone_since: float | None = None
    while gone_since is None or time.monotonic() - gone_since < GONE_SECONDS:
        time.sleep(LOOK_SECONDS)
        try:
            is_topic_gone = _is_topic_deleted(admin, topic, timeout_seconds)
            is_gone = _is_group_deleted(admin, group, timeout_seconds) and is_topic_gone
        except KafkaException as error:
            raise as_ours(error.args[0], f"delete topic {topic} and group {group} on {bootstrap}") from error
        if time.monotonic() > deadline:
            what = f"group {group}" if is_topic_gone else f"topic {topic}"
            raise ConnectError(f"{what} on {bootstrap} is there {timeout_seconds:g} s after it was deleted")
        gone_since = (gone_since or time.monotonic()) if is_gone else None


def partition_counts(settings: Mapping[str, Any], timeout_seconds: float) -> dict[str, int]:
    """Partitions of every topic that this user may see; nothing is made by asking. Raises ConnectError."""
    try:
        client = AdminClient({**client_settings(settings), "log_level": _LOG_LEVEL})
        topics = client.list_topics(timeout=timeout_seconds).topics
    except KafkaException as error:
        raise as_ours(
            error.args[0], f"list the topics of {settings.get('bootstrap.servers', 'the cluster')}"
        ) from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def topic_ids(settings: Mapping[str, Any], topics: Collection[str], timeout_seconds: float) -> dict[str, str]:
    """The id of each topic; empty where there is no such topic, or the broker does not tell (before 2.8, or denied).

    Measured: 6 to 16 ms with a fresh client, 4 ms of it the answer.
    """
    ids = dict.fromkeys(topics, "")
    if not ids:
        return ids
    admin = AdminClient({**settings, "log_level": _LOG_LEVEL})
    for topic, asked in admin.describe_topics(TopicCollection(list(ids)), request_timeout=timeout_seconds).items():
        with contextlib.suppress(KafkaException, TimeoutError):
            known = str(answer_of(asked, timeout_seconds).topic_id or "")
            ids[topic] = "" if known == _NO_ID else known
    return ids


class TopicIds:
    """Asks for the ids of topics by a thread, while its owner goes on.

    Each question takes a client of its own, which on cores that are full was seen to hold up who waits for it for a
    tenth of a second.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._asked: Future[dict[str, str]] | None = None

    def ask(self, topics: Collection[str], timeout_seconds: float) -> None:
        """Begin to ask, unless an answer is on its way."""
        if not topics or (self._asked is not None and not self._asked.done()):
            return
        self._asked = Future()
        arguments = self._asked, self._settings, list(topics), timeout_seconds
        threading.Thread(target=_answer, args=arguments, name="topic ids", daemon=True).start()

    def take(self) -> dict[str, str]:
        """The answer, as `topic_ids` has it, once it is there, and once."""
        if self._asked is None or not self._asked.done():
            return {}
        asked, self._asked = self._asked, None
        return asked.result()

    def drop(self) -> None:
        """Take no answer that is on its way."""
        self._asked = None


def _answer(asked: Future[dict[str, str]], *question: Any) -> None:
    try:
        asked.set_result(topic_ids(*question))
    except Exception as error:  # noqa: BLE001  # who takes the answer gets it
        asked.set_exception(error)


def _is_topic_deleted(admin: AdminClient, topic: str, timeout_seconds: float) -> bool:
    """Whether the topic was gone; else it is asked to go. Raises KafkaException."""
    # All topics are listed: asking for one that is not there would make it.
    if topic not in admin.list_topics(timeout=timeout_seconds).topics:
        return True
    try:
        answer_of(admin.delete_topics([topic], request_timeout=timeout_seconds)[topic])
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # the listing was older than a deletion
            raise
    return False


def _is_group_deleted(admin: AdminClient, group: str, timeout_seconds: float) -> bool:
    """Whether the group is gone. Raises KafkaException."""
    try:
        answer_of(admin.delete_consumer_groups([group], request_timeout=timeout_seconds)[group])
    except KafkaException as error:
        code = error.args[0].code()
        if code == KafkaError.NON_EMPTY_GROUP:
            return False
        if code != KafkaError.GROUP_ID_NOT_FOUND:
            raise
    return True


def _admin(bootstrap: str) -> AdminClient:
    try:
        return AdminClient({"bootstrap.servers": bootstrap, "log_level": _LOG_LEVEL})
    except KafkaException as error:
        raise ConnectError(f"bootstrap servers {bootstrap}: {error.args[0].str()}") from error
