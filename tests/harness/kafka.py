"""A real Apache Kafka broker: one node (KRaft) on loopback, from the jars; 3 s from start to ready.

    with KafkaServer(folder) as kafka:
        kafka.bootstrap            "127.0.0.1:45123"
        kafka.kill9()              as a machine that fails
        kafka.start()              the same data on the same port

It may have a second way in (`Entrance`), through a proxy or with TLS and SASL; the first one stays as it is, for the
tests themselves and for brokers among each other.

Used by: the fixtures `kafka` and `broker` (tests/conftest.py), cluster.py, secure.py, bench.line,
examples.__main__.
Not here: what is done with topics and groups (topics.py), several brokers (cluster.py).
"""

from __future__ import annotations

import base64
import functools
import os
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.jars import QUICK, RUN_OPTIONS, java_command
from tests.harness.server import Server, answers, free_ports

__all__ = ["Entrance", "KafkaServer", "Seat", "UserKafka", "bootstrap_of_user", "new_cluster_id"]

FORMAT_S = 60.0
ASK_S = 2.0
HEAP = "1g"
HEAP_FIRST = "256m"
#: What bin/kafka-server-start.sh gives a broker.
SCRIPT_OPTIONS = ("-Xms1g", "-Xmx1g", *RUN_OPTIONS)
METADATA = "bootstrap.checkpoint"


def bootstrap_of_user() -> str | None:
    """The servers that the user wants tested on instead of a broker of ours (MILLRACE_TEST_BOOTSTRAP)."""
    return os.environ.get("MILLRACE_TEST_BOOTSTRAP") or None


def new_cluster_id() -> str:
    """A fresh id, as `kafka-storage random-uuid` makes it; no tool takes one that begins with a dash."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "m")


class UserKafka:
    """Brokers of the user: used, never stopped."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


class Seat(NamedTuple):
    """A broker's place among the brokers of its cluster."""

    node: int
    port: int
    controller_port: int
    cluster_id: str
    voters: str  # of the controllers' quorum: node@host:port, with commas
    replicas: int = 1  # of the internal topics

    @classmethod
    def alone(cls) -> Self:
        """The only seat of a cluster of one."""
        port, controller_port = free_ports(2)
        return cls(1, port, controller_port, new_cluster_id(), f"1@127.0.0.1:{controller_port}")


class Entrance(NamedTuple):
    """A second listener, named USERS."""

    port: int
    advertised_port: int  # where clients are told to come; another than `port` with a proxy between
    protocol: str = "PLAINTEXT"


class KafkaServer(Server):
    """A broker of ours over `folder`; data and port stay the same from start to start."""

    name = "kafka"

    def __init__(
        self,
        folder: Path,
        *,
        heap: str = HEAP,
        partitions: int = 4,
        auto_create: bool = True,
        properties: Mapping[str, str] | None = None,
        seat: Seat | None = None,
        entrance: Entrance | None = None,
        is_measured: bool = False,
    ) -> None:
        """heap: as for -Xmx; partitions: of a topic that is made by the first use; properties: of the broker.

        seat: None for a broker alone. is_measured: Java as Kafka's scripts have it, whatever the heap is.
        """
        super().__init__(folder)
        self.seat = seat or Seat.alone()
        self.port = self.seat.port
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._options = SCRIPT_OPTIONS if is_measured else (f"-Xms{HEAP_FIRST}", f"-Xmx{heap}", *QUICK)
        self._properties = {
            **_defaults(self.seat, folder),
            **_listeners(self.seat, entrance),
            "num.partitions": str(partitions),
            "auto.create.topics.enable": str(auto_create).lower(),
            **(properties or {}),
        }

    def command(self) -> Sequence[str]:
        return java_command("kafka.Kafka", str(self._configuration), options=self._options)

    def is_ready(self) -> bool:
        # The port first: a client that finds it closed comes back a second later.
        return answers(lambda: socket.create_connection(("127.0.0.1", self.port), ASK_S).close(), OSError) and answers(
            lambda: _brokers(self.bootstrap), KafkaException
        )

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(_text(self._properties))
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        super().launch()

    def __exit__(self, *_: object) -> None:
        """End it at once: nobody reads from it any more, and an orderly end takes it seconds."""
        self.kill9()

    def configure(self, properties: Mapping[str, str]) -> None:
        """Change properties of the broker; they hold from its next start."""
        self._properties.update(properties)

    @property
    def _configuration(self) -> Path:
        return self.folder / "broker.properties"

    def _format(self) -> None:
        """Lay its data out as `kafka-storage format` does."""
        names = {"version": 1, "cluster.id": self.seat.cluster_id, "node.id": self.seat.node}
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        (data / METADATA).write_bytes(_first_metadata())
        (data / "meta.properties").write_text(_text({**names, "directory.id": new_cluster_id()}))


@functools.cache
def _first_metadata() -> bytes:
    """What the tool writes beside a broker's names: the same for all of them, and 2 s of Java's time each time."""
    with tempfile.TemporaryDirectory() as folder:
        seat = Seat.alone()
        configuration = Path(folder, "broker.properties")
        configuration.write_text(_text({**_defaults(seat, Path(folder)), **_listeners(seat, None)}))
        arguments = ("format", "-t", seat.cluster_id, "-c", str(configuration))
        command = java_command("kafka.tools.StorageTool", *arguments, options=QUICK)
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=FORMAT_S)
        if done.returncode != 0:
            raise RuntimeError(f"a broker's folder could not be formatted:\n{done.stdout}{done.stderr}")
        return Path(folder, "data", METADATA).read_bytes()


def _text(properties: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def _listeners(seat: Seat, entrance: Entrance | None) -> dict[str, str]:
    listeners = {"PLAINTEXT": seat.port, "CONTROLLER": seat.controller_port}
    advertised = {"PLAINTEXT": seat.port}
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
    if entrance is not None:
        listeners["USERS"] = entrance.port
        advertised["USERS"] = entrance.advertised_port
        protocols["USERS"] = entrance.protocol
    return {
        "listeners": _places(listeners),
        "advertised.listeners": _places(advertised),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
    }


def _places(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _defaults(seat: Seat, folder: Path) -> dict[str, str]:
    replicas, in_sync = str(seat.replicas), str(max(1, seat.replicas - 1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(seat.node),
        "controller.quorum.voters": seat.voters,
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "log.retention.ms": "-1",  # records with old timestamps are there to stay
        # After a kill a broker may register again only when its old session is over: 9 s by default.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "1000",
    }


def _brokers(bootstrap: str) -> object:
    # log_level 0: a broker that is not up yet is no news here.
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=ASK_S)
