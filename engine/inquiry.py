"""What a connector may ask of its worker while it says what its tasks are: topics, settings, stored offsets.

Nothing is changed by a question. Each has a client or connection of its own, and its own time.

Used by: engine.connector_lines, in a probe; engine.watcher.
Not here: the contract (engine.api.connector.ConnectorContext), what a task may ask (engine.task).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from engine.herder.watching import PortSpec
from engine.kafka.topics import partition_counts
from engine.offsets.store import OffsetStore, encode_part
from engine.plugins.probe import Tell

__all__ = ["Inquiry"]

#: A question may take so much longer than Kafka has for its answer.
LATE_SECONDS = 5.0


class Inquiry:
    """The questions of one connector."""

    def __init__(
        self,
        name: str,
        port: PortSpec,
        tell: Tell,
    ) -> None:
        """tell: told each question, and how long it may take."""
        self._name = name
        self._store = port.store
        self.worker_properties = port.worker_properties
        self._settings = port.kafka
        self._seconds = port.seconds
        self._tell = tell
        self._stored: Mapping[bytes, Mapping[str, Any] | None] | None = None

    def partition_counts(self, topics: Collection[str] | None = None) -> Mapping[str, int]:
        """As `ConnectorContext` has it; None: of every topic there is. Raises ConnectError."""
        self._tell(f"connector {self._name}: asking Kafka for partitions", self._seconds + LATE_SECONDS)
        try:
            found = partition_counts(self._settings, self._seconds)
        finally:
            self._tell(f"connector {self._name}: task_configs")
        return found if topics is None else {topic: count for topic, count in found.items() if topic in topics}

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """As `ConnectorContext` has it. Raises ConnectError."""
        if self._stored is None:
            with closing(OffsetStore(self._store)) as store:
                self._stored = store.offsets(self._name)
        return self._stored.get(encode_part(partition))
