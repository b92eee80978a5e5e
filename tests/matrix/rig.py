"""The brokers of a run of the matrix: three of them, and one with TLS and passwords; each started when first needed.

    with Rig(folder) as rig:
        place = rig.place(cell.door)
        place.worker(through_proxy=True)      the worker's keys that lead the engine there
        place.heal(topic)                     after a fault: all up, all in sync, the network well

Used by: cell.py, __main__.py, tests/matrix/test_matrix.py.
Not here: the brokers themselves (tests/harness/cluster.py, tests/harness/secure.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol, Self

from tests.harness import topics
from tests.harness.cluster import KafkaCluster
from tests.harness.kafka import KafkaServer
from tests.harness.proxy import Proxy
from tests.harness.secure import SecureKafka
from tests.harness.server import free_ports
from tests.matrix.verify import PARTITIONS

__all__ = ["ClusterPlace", "Place", "Rig"]

USER, PASSWORD = "alice", "wonderland"


class Place(Protocol):
    """Some brokers with a proxy before them."""

    bootstrap: str  # for the tests; never through the proxy
    brokers: list[KafkaServer]
    proxy: Proxy

    def worker(self, *, through_proxy: bool) -> dict[str, str]: ...
    def create_topic(self, topic: str) -> None: ...
    def wait_in_sync(self, topic: str) -> None: ...
    def heal(self, topic: str) -> None: ...


class ClusterPlace:
    """Three brokers; topics are there three times."""

    def __init__(self, folder: Path) -> None:
        self.cluster = KafkaCluster(folder).start()
        self.bootstrap = self.cluster.bootstrap
        self.brokers = self.cluster.brokers
        self.proxy = self.cluster.proxy

    def worker(self, *, through_proxy: bool) -> dict[str, str]:
        return {"bootstrap.servers": self.cluster.users_bootstrap if through_proxy else self.bootstrap}

    def create_topic(self, topic: str) -> None:
        self.cluster.create_topic(topic, partitions=PARTITIONS)

    def wait_in_sync(self, topic: str) -> None:
        self.cluster.wait_in_sync(topic)

    def heal(self, topic: str) -> None:
        self.cluster.start()
        self.proxy.flow()
        self.wait_in_sync(topic)

    def stop(self) -> None:
        self.cluster.stop()


class SecurePlace:
    """One broker that wants TLS and a password, always through its proxy."""

    def __init__(self, folder: Path, mechanism: str) -> None:
        """mechanism: SCRAM-SHA-256 or PLAIN."""
        (here,) = free_ports(1)
        self._kafka = SecureKafka(folder, plain={USER: PASSWORD}, advertised_port=here).start()
        self._mechanism = mechanism
        if mechanism != "PLAIN":
            self._kafka.add_user(USER, PASSWORD)
        self.bootstrap = self._kafka.bootstrap
        self.brokers: list[KafkaServer] = [self._kafka]
        self.proxy = Proxy(folder / "proxy", {here: self._kafka.users_port}).start()

    def worker(self, *, through_proxy: bool) -> dict[str, str]:
        client = self._kafka.client(USER, PASSWORD, mechanism=self._mechanism)
        servers = client.pop("bootstrap.servers")
        prefixed = {f"{side}.{key}": value for side in ("producer", "consumer") for key, value in client.items()}
        return {"bootstrap.servers": servers, **prefixed}

    def create_topic(self, topic: str) -> None:
        topics.create_topic(self.bootstrap, topic, partitions=PARTITIONS)

    def wait_in_sync(self, topic: str) -> None:
        """One broker is always in sync with itself."""

    def heal(self, topic: str) -> None:
        if not self._kafka.is_running:
            self._kafka.start()
        self.proxy.flow()

    def stop(self) -> None:
        self._kafka.kill9()
        self.proxy.kill9()


class Rig:
    """Brokers by door, and the topics of theirs that are full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, ClusterPlace | SecurePlace] = {}
        self._full: set[str] = set()

    def place(self, door: str) -> ClusterPlace | SecurePlace:
        """The brokers behind a door: "", "scram" or "plain". Raises UnavailableError."""
        if door not in self._places:
            folder = self._folder / (door or "cluster")
            mechanisms = {"scram": "SCRAM-SHA-256", "plain": "PLAIN"}
            self._places[door] = SecurePlace(folder, mechanisms[door]) if door else ClusterPlace(folder)
        return self._places[door]

    def full_topic(self, form: str, records: int) -> str:
        """A topic of the three brokers with the numbers 0 to records - 1; sinks read it, nobody writes it."""
        topic = f"full-{form}-{records}"
        place = self.place("")
        if topic not in self._full:
            place.create_topic(topic)
            numbers = range(records)
            values = [value_of(form, number) for number in numbers]
            topics.produce(place.bootstrap, topic, values, partitions=[number % PARTITIONS for number in numbers])
            self._full.add(topic)
        return topic

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places.values():
            place.stop()


def value_of(form: str, number: int) -> str:
    """A value as the generator's would be in that form."""
    if form == "json":
        return json.dumps({"sequence": number, "city": "Cork", "gift": number % 2 == 0}, separators=(",", ":"))
    return f"{number:012d} " + "cork" * 20
