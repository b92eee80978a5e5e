"""What only a person can mend, asked again: whether a client's logins and rights are good by now.

    is_allowed            a login of its own, with the files as they are now; may this user do it with these topics?
    CredentialFiles       whether the certificates and keys of a client have been replaced since it was made

librdkafka reads files once, when a client is made: one that is refused for ever may have good ones beside it. And a
consumer that was denied a topic tells of it once, and never that it is allowed again.

Used by: engine.kafka.producer, engine.kafka.consumer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]  # exported unsaid

from engine.kafka.answers import answer_of
from engine.kafka.errors import CREDENTIALS, DENIED

__all__ = ["CredentialFiles", "client_settings", "is_allowed"]

#: What such a client says again becomes one answer here.
_SILENT = logging.Logger("millrace.kafka.access", logging.CRITICAL + 1)  # noqa: LOG001  nobody shall turn it on
#: One attempt to connect for a question: tasks that wait together must not hammer a broker (docs/reliability.md).
_ONE_ATTEMPT = {"reconnect.backoff.ms": 10_000, "reconnect.backoff.max.ms": 10_000}
#: A future hears of the end of its time a little later.
LATE_SECONDS = 1.0
_NO_ANSWER = {
    *CREDENTIALS,
    *DENIED,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
}


class CredentialFiles:
    """The files that a client's settings name, as they were when this was made."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._paths = sorted(
            str(value) for key, value in settings.items() if key.startswith("ssl.") and key.endswith(".location")
        )
        self._seen = self._look()

    def have_changed(self) -> bool:
        """Whether any of them has been replaced."""
        return self._look() != self._seen

    def _look(self) -> list[tuple[int, int] | None]:
        return [_version(path) for path in self._paths]


def _version(path: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = Path(path).stat()
        return found.st_mtime_ns, found.st_ino
    return None


def is_allowed(
    settings: Mapping[str, Any], operation: AclOperation, topics: Collection[str], group: str, seconds: float
) -> bool:
    """Whether a new login works, and this user may do it with all of these topics, and read by this group.

    settings: how to reach the cluster (`client_settings`). group: empty: none. True where the broker does not tell,
    so that it is found out by doing it.
    """
    try:
        own: dict[str, Any] = {**settings, **_ONE_ATTEMPT, "logger": _SILENT}
        client = AdminClient(own)
    except KafkaException:
        return False  # a file is missing, or half written
    asked: list[tuple[Future[Any], AclOperation]] = []
    if topics:
        about = TopicCollection(list(topics))
        described = client.describe_topics(about, include_authorized_operations=True, request_timeout=seconds)
        asked += [(future, operation) for future in described.values()]
    if group:
        groups = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=seconds)
        asked += [(future, AclOperation.READ) for future in groups.values()]
    return all(_allows(future, wanted, seconds) for future, wanted in asked)


def _allows(future: Future[Any], operation: AclOperation, seconds: float) -> bool:
    try:
        allowed = answer_of(future, seconds + LATE_SECONDS).authorized_operations
    except KafkaException as error:
        return error.args[0].code() not in _NO_ANSWER
    except TimeoutError:
        return False
    return not allowed or operation in allowed or AclOperation.ALL in allowed


def client_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of a client's settings, those that say how to reach the cluster."""
    prefixes = ("bootstrap.", "sasl.", "ssl.", "security.", "client.", "broker.", "socket.", "metadata.", "reconnect.")
    return {
        key: value
        for key, value in settings.items()
        if key.startswith(prefixes) or key == "enable.ssl.certificate.verification"
    }
