"""Two nodes: rows go together that one node keeps, its death is no loss, and another datacenter is left alone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import NoHostAvailable
from cassandra.query import SimpleStatement

from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.session import Link
from connectors.cassandra.sink import CassandraSinkTask
from engine.api.errors import ConfigError, RetriableError
from engine.api.testing import FakeSinkContext, sink_batch
from tests.harness import wait
from tests.harness.cassandra import SMALL, CassandraServer, Node
from tests.harness.server import UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.cassandra, pytest.mark.long]

#: The second node keeps what lies behind the first one's token: each half of all.
TOKENS = (0, 2**63 - 1)
ROWS = 4_000
STEP = 200
WAIT_S = 90.0

Nodes = tuple[CassandraServer, CassandraServer]


@contextmanager
def two_nodes(folder: Path, datacenters: tuple[str, str]) -> Iterator[Nodes]:
    nodes = [Node(at + 1, TOKENS[at], datacenters[at], is_alone=False) for at in range(2)]
    try:
        first = CassandraServer(folder / "1", SMALL, node=nodes[0])
    except UnavailableError as error:
        pytest.skip(f"no real Cassandra: {error}")
    with first, first.neighbour(folder / "2", nodes[1]) as second:
        with first.session() as session:
            wait.until(lambda: len(session.cluster.metadata.all_hosts()) == 2, "second node", timeout_s=WAIT_S)
        yield first, second


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with two_nodes(tmp_path_factory.mktemp("nodes"), ("here", "here")) as nodes:
        yield nodes


def made(first: CassandraServer, keyspace: str, replication: str) -> dict[str, str]:
    """A table t of rows that are partitions, and the configuration of a task for it."""
    with first.session() as session:
        session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
        session.execute(f"CREATE TABLE {keyspace}.t (id int PRIMARY KEY, v text)")
    return {
        "name": "orders",
        **first.keys(),
        f"topic.topic.{keyspace}.t.mapping": "id=key, v=value",
        "batch.by": "replicas",
        "request.timeout.ms": "2000",
    }


def rows(first: int) -> Any:
    keys = range(first, first + STEP)
    return sink_batch(["x"] * STEP, keys=list(keys), first_offset=first)


def called(call: Any) -> None:
    """Until it does not ask to be called again."""

    def is_done() -> bool:
        try:
            call()
        except RetriableError:
            return False
        return True

    wait.until(is_done, "end of a call", timeout_s=WAIT_S)


def write(task: CassandraSinkTask) -> None:
    for begin in range(0, ROWS, STEP):
        called(partial(task.put, rows(begin)))
    called(partial(task.flush, {}))


def started(config: dict[str, str]) -> CassandraSinkTask:
    task = CassandraSinkTask()
    task.initialize(FakeSinkContext())
    task.start(config)
    return task


def simple(factor: int) -> str:
    return f"{{'class': 'SimpleStrategy', 'replication_factor': {factor}}}"


def count(node: CassandraServer, keyspace: str, level: int) -> int:
    with node.session() as session:
        statement = SimpleStatement(f"SELECT count(*) FROM {keyspace}.t", consistency_level=level)
        return int(session.execute(statement, timeout=WAIT_S).one()[0])


def test_rows_go_together_that_one_node_keeps(nodes: Nodes) -> None:
    first, second = nodes
    config = made(first, "alone", simple(1))
    task = started(config)
    write(task)
    task.stop()
    link = Link(CassandraSinkConfig.parse({key: text for key, text in config.items() if key != "name"}))
    link.open()
    hosts_of = link.hosts_of("alone")
    found = {key: hosts_of((struct.pack(">i", key),)) for key in range(ROWS)}
    link.close()
    with first.session() as session:
        tokens = dict(session.execute("SELECT id, token(id) FROM alone.t"))
    kept_by_second = {key for key, token in tokens.items() if token > TOKENS[0]}
    assert len(tokens) == ROWS
    groups: dict[Any, set[int]] = {}
    for key, hosts in found.items():
        groups.setdefault(hosts, set()).add(key)
    assert sorted(map(sorted, groups.values())) == sorted([sorted(kept_by_second), sorted({*tokens} - kept_by_second)])
    addresses = {host.address: keys for hosts, keys in groups.items() for host in hosts}
    assert addresses == {second.host: kept_by_second, first.host: {*tokens} - kept_by_second}


def test_with_two_replicas_the_death_of_one_node_loses_nothing(nodes: Nodes) -> None:
    first, second = nodes
    config = made(first, "both", simple(2))
    task = started({**config, "consistency.level": "ONE", "contact.points": f"{second.host},{first.host}"})
    for begin in range(0, ROWS, STEP):
        if begin == ROWS // 2:
            second.kill9()  # with requests of the last put on their way
        called(partial(task.put, rows(begin)))
    called(partial(task.flush, {}))
    assert not second.is_running
    task.stop()
    # What the dead one alone has acknowledged, it has on its disk.
    second.start()
    wait.until(lambda: is_whole(first, "both"), "rows on both nodes", timeout_s=WAIT_S, look_every_s=1.0)


def is_whole(node: CassandraServer, keyspace: str) -> bool:
    try:
        return count(node, keyspace, ConsistencyLevel.ALL) == ROWS
    except (DriverException, NoHostAvailable):  # until the nodes know each other again
        return False


def test_with_one_replica_rows_wait_for_their_node(nodes: Nodes) -> None:
    first, second = nodes
    config = made(first, "half", simple(1))
    task = started({**config, "consistency.level": "ONE"})
    second.kill9()
    called(partial(task.put, rows(0)))
    with pytest.raises(RetriableError):
        task.flush({})
    second.start()
    called(partial(task.flush, {}))
    task.stop()
    with first.session() as session:
        assert len(session.execute("SELECT id FROM half.t").all()) == STEP


def test_another_datacenter_is_written_to_by_the_nodes_of_ours_alone(tmp_path: Path) -> None:
    with two_nodes(tmp_path, ("here", "there")) as (first, second):
        config = made(first, "far", "{'class': 'NetworkTopologyStrategy', 'here': 1, 'there': 1}")
        task = started({**config, "local.datacenter": "there", "batch.rows": "10"})
        write(task)
        asked = {node.host: requests(node) for node in (first, second)}
        task.stop()
        assert asked[second.host] >= ROWS // 10 > 2 * asked[first.host], asked  # who is not written to is asked things
        wait.until(lambda: is_whole(first, "far"), "rows in both datacenters", timeout_s=WAIT_S)
        with pytest.raises(ConfigError, match=r"nowhere for configuration local\.datacenter: .* one of here, there"):
            started({**config, "local.datacenter": "nowhere"})


def requests(node: CassandraServer) -> int:
    """How many a node has been sent by clients that are connected now."""
    with node.session() as session:
        return sum(row[0] for row in session.execute("SELECT request_count FROM system_views.clients"))
