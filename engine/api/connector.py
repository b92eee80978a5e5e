"""Connectors: what knows a system, and how its work is divided into tasks.

A connector's class is asked in a process of its own, with a deadline; its tasks run
elsewhere (task.py). It holds nothing that a task needs. One that `watches` lives on there.

    class Orders(SourceConnector):
        config = OrdersConfig
        task = OrdersTask

        def task_configs(self, tasks_max): ...

Life cycle (Kafka Connect's): made, `initialize`, `start`, `task_configs` any number of times, `stop`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from engine.api.config import Config
from engine.api.errors import Problem
from engine.api.record import TopicPartition
from engine.api.task import SinkTask, SourceTask

__all__ = ["Connector", "ConnectorContext", "SinkConnector", "SourceConnector"]


class ConnectorContext(Protocol):
    """What a connector may ask of the worker."""

    def request_task_reconfiguration(self) -> None:
        """Have `task_configs` asked again; tasks of which the answer differs are restarted. From any thread.

        Only of a connector that `watches`.
        """

    def raise_error(self, error: Exception) -> None:
        """Fail the connector, with this reason."""

    def partition_counts(self, topics: Collection[str]) -> Mapping[str, int]:
        """How many partitions these topics have now; one that is not there is left out. Raises ConnectError."""

    @property
    def worker_properties(self) -> Mapping[str, str]:
        """What of the worker's configuration is the connector's, for clients of its own; it may hold secrets.

        `bootstrap.servers`, and what begins with `admin.` and with `producer.` (a source) or `consumer.` (a sink).
        """

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The offset that is stored for a source's partition; None: none. Raises ConnectError."""


class Connector(ABC):
    """What source and sink connectors share."""

    #: The keys this connector understands; other keys of its configuration are passed along unread.
    config: ClassVar[type[Config]] = Config
    version: ClassVar[str] = "null"
    #: Whether it goes on watching its system while its tasks run, and asks for them to be configured anew. Then it has
    #: a process of its own, between `start` and `stop`; otherwise it is asked for its tasks and stopped at once.
    watches: ClassVar[bool] = False
    #: Whether it is asked for a run that ends with its sources; set before anything is asked of an instance.
    is_bulk: bool = False

    def __init__(self) -> None:
        self.properties: Mapping[str, str] = {}
        self.context: ConnectorContext | None = None

    def initialize(self, context: ConnectorContext) -> None:
        """Take the context; called once, before `start`."""
        self.context = context

    def start(self, properties: Mapping[str, str]) -> None:
        """Begin with this configuration (text, variables resolved). Raises ConnectError."""
        self.properties = properties

    def stop(self) -> None:  # noqa: B027  most hold nothing
        """Give back what `start` took."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        """What is wrong with this configuration beyond what single keys tell; one entry a problem.

        Raises RetriableError or RefusedError where it cannot look at its system, which is away or refuses it. Who
        writes the configuration hears that; tasks of one that is known, or stands in a file that is run, wait.
        """
        return []

    @abstractmethod
    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        """The configuration of each task: at most `tasks_max` of them; none means there is nothing to do."""


class SourceConnector(Connector):
    """Reads a system; its tasks make records."""

    task: ClassVar[type[SourceTask]]
    #: Those of its keys that each name a topic it writes to. Where the brokers make no topics, nothing is started
    #: before they are there.
    topic_keys: ClassVar[Collection[str]] = ()

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[str, Mapping[str, Any] | None]) -> bool:
        """Check offsets that a user wants stored, and store them in the system itself if it keeps any of its own.

        offsets: by source partition as JSON (`null` is possible); None: the offset is to be forgotten. Asked of an
        instance that was not started, while no task runs. False (the default): this connector has set nothing in its
        system; the user is told that positions kept there are to be altered by hand. Raises ConnectError with what is
        wrong; NotImplementedError: offsets cannot be altered.
        """
        return False


class SinkConnector(Connector):
    """Writes a system; its tasks take records."""

    task: ClassVar[type[SinkTask]]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        """As a source's; offsets are those of the consumer group. None: the partition is to begin anew."""
        return False

    def reset_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        """As `alter_offsets`, where all is to be forgotten; offsets: what the group has, each None.

        A system that keeps offsets itself may have more of them: a group has none of a topic that was deleted.
        """
        return self.alter_offsets(properties, offsets)
