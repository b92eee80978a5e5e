"""A real Apache Kafka broker: one node (KRaft) on loopback, from the jars; 3 s from start to ready.

    with KafkaServer(folder) as kafka:
        kafka.bootstrap            "127.0.0.1:45123"
        kafka.kill9()              as a machine that fails
        kafka.start()              the same data on the same port

Used by: the fixtures `kafka` and `broker` (tests/conftest.py), bench.line.
Not here: what is done with topics and groups (topics.py).
"""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness.jars import java_command
from tests.harness.server import Server, answers, free_ports

__all__ = ["KafkaServer", "UserKafka", "bootstrap_of_user"]

FORMAT_S = 60.0
ASK_S = 2.0
HEAP = "1g"


def bootstrap_of_user() -> str | None:
    """The servers that the user wants tested on instead of a broker of ours (MILLRACE_TEST_BOOTSTRAP)."""
    return os.environ.get("MILLRACE_TEST_BOOTSTRAP") or None


class UserKafka:
    """Brokers of the user: used, never stopped."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


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
    ) -> None:
        """heap: as for -Xmx; partitions: of a topic that is made by the first use; properties: of the broker."""
        super().__init__(folder)
        self.port, self._controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._heap = heap
        self._properties = {
            **self._defaults(),
            "num.partitions": str(partitions),
            "auto.create.topics.enable": str(auto_create).lower(),
            **(properties or {}),
        }

    def command(self) -> Sequence[str]:
        return java_command("kafka.Kafka", str(self._configuration), options=("-Xms256m", f"-Xmx{self._heap}"))

    def is_ready(self) -> bool:
        return answers(lambda: _brokers(self.bootstrap), KafkaException)

    def start(self) -> Self:
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        super().start()
        return self

    @property
    def _configuration(self) -> Path:
        return self.folder / "broker.properties"

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text("".join(f"{key}={value}\n" for key, value in self._properties.items()))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "m")
        command = java_command("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._configuration))
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=FORMAT_S)
        if done.returncode != 0:
            raise RuntimeError(f"the broker's folder could not be formatted:\n{done.stdout}{done.stderr}")

    def _defaults(self) -> dict[str, str]:
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": listeners,
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "5",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "5",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.retention.ms": "-1",  # records with old timestamps are there to stay
            # After a kill a broker may register again only when its old session is over: 9 s by default.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "1000",
        }


def _brokers(bootstrap: str) -> object:
    # log_level 0: a broker that is not up yet is no news here.
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=ASK_S)
