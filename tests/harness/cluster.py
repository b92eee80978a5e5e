"""Three real brokers on loopback, each also a controller; replication 3, two in sync. 6 s from start to ready.

    with KafkaCluster(folder) as kafka:
        kafka.create_topic("numbers", partitions=6)
        kafka.brokers[2].kill9(); kafka.brokers[2].start()
        kafka.restart_rolling("numbers")
        kafka.move_leaders("numbers")
        kafka.proxy.stall(); kafka.proxy.flow()

    tests ── bootstrap ───────────────► brokers ◄──► brokers       never through the proxy
    engine ── users_bootstrap ► proxy ► brokers

Leaders stay where they come to be until somebody moves them: the brokers do not rebalance them by themselves.

Used by: the matrix (tests/matrix), tests/faults.
Not here: one broker (kafka.py), the bad day of the network (proxy.py).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.harness import topics, wait
from tests.harness.jars import java_command
from tests.harness.kafka import Entrance, KafkaServer, Seat, new_cluster_id
from tests.harness.proxy import Proxy
from tests.harness.server import free_ports

__all__ = ["KafkaCluster"]

HEAP = "256m"
ASK_S = 10.0
TOOL_S = 60.0
READY_S = 180.0
LEADER_MOVE_S = 60.0


class KafkaCluster:
    """The brokers and the proxy before them; data and ports stay the same from start to start."""

    def __init__(
        self, folder: Path, *, size: int = 3, heap: str = HEAP, properties: Mapping[str, str] | None = None
    ) -> None:
        """size: brokers, at most 3 of them hold a topic; properties: of each broker."""
        self.folder = folder
        self.replicas = min(size, 3)
        ports, controllers, inner, outer = (free_ports(4 * size)[part::4] for part in range(4))
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controllers, 1))
        cluster_id = new_cluster_id()
        own = {
            "default.replication.factor": str(self.replicas),
            "min.insync.replicas": str(max(1, self.replicas - 1)),
            "auto.leader.rebalance.enable": "false",
            **(properties or {}),
        }
        self.brokers = [
            KafkaServer(
                folder / f"broker-{node}",
                heap=heap,
                properties=own,
                seat=Seat(node, ports[at], controllers[at], cluster_id, voters, self.replicas),
                entrance=Entrance(inner[at], outer[at]),
            )
            for at, node in enumerate(range(1, size + 1))
        ]
        self.proxy = Proxy(folder / "proxy", dict(zip(outer, inner, strict=True)))
        self.bootstrap = ",".join(broker.bootstrap for broker in self.brokers)
        self.users_bootstrap = ",".join(f"127.0.0.1:{port}" for port in outer)

    def start(self) -> Self:
        """Return when all brokers serve; those that run already go on running."""
        try:
            self.proxy.start()
            down = [broker for broker in self.brokers if not broker.is_running]
            for broker in down:
                broker.launch()
            for broker in down:
                broker.wait_ready()
            wait.until(lambda: len(self._metadata().brokers) == len(self.brokers), "all brokers", timeout_s=READY_S)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all of it at once: nothing is read from these brokers any more."""
        for broker in self.brokers:
            broker.kill9()
        self.proxy.kill9()

    def create_topic(self, topic: str, *, partitions: int = 6, config: Mapping[str, str] | None = None) -> None:
        """A new topic, replicated; returns when each partition has a leader."""
        topics.create_topic(self.bootstrap, topic, partitions=partitions, replication=self.replicas, config=config)

    def leaders(self, topic: str) -> dict[int, int]:
        """The node that leads each partition; -1 for none."""
        found = self._metadata(topic).topics[topic].partitions
        return {number: partition.leader for number, partition in found.items()}

    def broker(self, node: int) -> KafkaServer:
        """The broker with this number; they begin with 1."""
        return self.brokers[node - 1]

    def wait_in_sync(self, topic: str, *, timeout_s: float = READY_S) -> None:
        """Return when all replicas of the topic, and of the groups' offsets, are in sync."""
        wait.until(lambda: self._is_in_sync(topic), f"replicas of {topic} in sync", timeout_s=timeout_s)

    def restart_rolling(self, topic: str) -> None:
        """Stop and start one broker after the other, each when the one before it has caught up with `topic`."""
        for broker in self.brokers:
            broker.restart()
            self.wait_in_sync(topic)

    def move_leaders(self, topic: str) -> None:
        """Give each partition another leader, the next of its replicas in sync; returns when it leads."""
        partitions = self._metadata(topic).topics[topic].partitions
        wanted = {number: _next_first(one.replicas, one.leader) for number, one in partitions.items()}
        self._reassign(topic, wanted)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        places = [TopicPartition(topic, number) for number in wanted]

        def has_moved() -> bool:
            if {number: order[0] for number, order in wanted.items()} == self.leaders(topic):
                return True
            admin.elect_leaders(ElectionType.PREFERRED, places).result(ASK_S)
            return False

        wait.until(has_moved, f"new leaders of {topic}", timeout_s=LEADER_MOVE_S, look_every_s=0.1)

    def _reassign(self, topic: str, orders: Mapping[int, list[int]]) -> None:
        """Put the replicas of each partition into this order: the first is the preferred leader. No data is moved."""
        plan = {
            "version": 1,
            "partitions": [
                {"topic": topic, "partition": number, "replicas": order} for number, order in orders.items()
            ],
        }
        file = self.folder / f"order-{topic}.json"
        file.write_text(json.dumps(plan))
        command = java_command(
            "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            *("--bootstrap-server", self.bootstrap, "--reassignment-json-file", str(file), "--execute"),
            options=("-Xmx64m", "-XX:TieredStopAtLevel=1"),
        )
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TOOL_S)
        if done.returncode != 0 or "Error" in done.stdout:
            raise RuntimeError(f"leaders of {topic} could not be moved:\n{done.stdout}{done.stderr}")

    def _is_in_sync(self, topic: str) -> bool:
        try:
            metadata = self._metadata()
        except KafkaException:
            return False
        looked_at = [metadata.topics[name] for name in (topic, "__consumer_offsets") if name in metadata.topics]
        return len(metadata.brokers) == len(self.brokers) and all(
            one.leader > 0 and len(one.isrs) == len(one.replicas)
            for found in looked_at
            for one in found.partitions.values()
        )

    def _metadata(self, topic: str | None = None) -> Any:
        # A client of its own each time: one that lives on keeps what it knew of brokers that were killed.
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return admin.list_topics(topic, timeout=ASK_S) if topic else admin.list_topics(timeout=ASK_S)

    def __enter__(self) -> Self:
        return self if any(broker.is_running for broker in self.brokers) else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _next_first(replicas: list[int], leader: int) -> list[int]:
    """The replicas in the same rotation, begun behind the leader."""
    at = replicas.index(leader) + 1
    return [*replicas[at:], *replicas[:at]]
