"""Rows go together that the same hosts keep, by the driver's own map of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from cassandra.connection import DefaultEndPoint
from cassandra.metadata import KeyspaceMetadata, Metadata, Murmur3Token
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host

from connectors.cassandra.plans import Rows, Statement
from connectors.cassandra.sender import Limits, requests_of
from connectors.cassandra.session import hosts_by, wrong_datacenter
from connectors.cassandra.tables import Table
from engine.api.testing import sink_batch

KEYS = range(200)
LIMITS = Limits(rows=50, bytes=100_000)
#: Each host keeps what lies behind the token before and up to its own.
TOKENS = (-(2**62), 0, 2**62)


def cluster(hosts: int, replicas: int) -> Metadata:
    made = Metadata()
    ring = {}
    for number in range(hosts):
        host = Host(DefaultEndPoint(f"10.0.0.{number}"), SimpleConvictionPolicy)
        host.set_location_info("here", "rack1")
        made.add_or_return_host(host)
        ring[host] = [str(TOKENS[number])]
    made.keyspaces["k"] = KeyspaceMetadata("k", True, "SimpleStrategy", {"replication_factor": str(replicas)})
    made.rebuild_token_map("org.apache.cassandra.dht.Murmur3Partitioner", ring)
    return made


def rows_of(keys: Sequence[tuple[bytes, ...]]) -> Rows:
    slots = tuple(range(len(keys[0])))
    table = Table("k", "t", {}, (), ())
    return Rows(Statement("INSERT ...", table, slots, "ONE"), [(*key, b"x") for key in keys], range(len(keys)), [])


def owner(key: bytes) -> int:
    """The place in the ring of a key as Cassandra hashes it."""
    token = Murmur3Token.hash_fn(key)
    return next((at for at, end in enumerate(TOKENS) if token <= end), 0)


def groups_of(metadata: Metadata, keys: Sequence[tuple[bytes, ...]]) -> list[set[int]]:
    batch: Any = sink_batch(["x"] * len(keys))
    requests = [*requests_of(rows_of(keys), batch, LIMITS, hosts_by(metadata, "k"))]
    return [set(request.indexes) for request in requests]


def test_rows_of_one_host_share_batches_and_those_of_others_do_not() -> None:
    keys = [(at.to_bytes(4, "big"),) for at in KEYS]
    groups = groups_of(cluster(3, replicas=1), keys)
    owners = [{owner(keys[at][0]) for at in group} for group in groups]
    assert all(len(one) == 1 for one in owners)
    assert set().union(*owners) == {0, 1, 2}
    assert sorted(at for group in groups for at in group) == [*KEYS]
    assert len(groups) <= len(KEYS) // LIMITS.rows + 2


@pytest.mark.parametrize(("hosts", "replicas"), [(1, 1), (3, 3)])
def test_where_all_hosts_keep_all_rows_any_share_a_batch(hosts: int, replicas: int) -> None:
    keys = [(at.to_bytes(4, "big"),) for at in KEYS]
    assert [len(group) for group in groups_of(cluster(hosts, replicas), keys)] == [50] * 4


def test_a_partition_key_of_several_parts_is_hashed_as_cassandra_does() -> None:
    keys = [(b"a", at.to_bytes(4, "big")) for at in KEYS]
    groups = groups_of(cluster(3, replicas=1), keys)
    whole = [b"\0\1a\0\0\4" + key[1] + b"\0" for key in keys]
    assert all(len({owner(whole[at]) for at in group}) == 1 for group in groups)
    assert len({owner(key) for key in whole}) == 3


def test_a_datacenter_is_wrong_only_where_hosts_of_others_are_known() -> None:
    metadata = cluster(2, replicas=1)
    assert wrong_datacenter(metadata, None) is wrong_datacenter(metadata, "here") is None
    assert wrong_datacenter(Metadata(), "there") is None
    found = wrong_datacenter(metadata, "there")
    assert found is not None
    assert "no host is there; expected one of here" in found.message
