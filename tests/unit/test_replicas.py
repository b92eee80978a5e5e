"""A partition that takes nothing is told with the brokers that are missing, also when the cluster does not know yet."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace

from engine.kafka.replicas import shortage_in, unreachable
from engine.shm.waits import Cause

AWAY = {2: "host:2, Connection refused"}


def metadata(leader: int, isrs: list[int]) -> SimpleNamespace:
    return SimpleNamespace(topics={"t": SimpleNamespace(partitions={0: SimpleNamespace(leader=leader, isrs=isrs)})})


def test_what_the_cluster_says_is_told_first() -> None:
    assert shortage_in("t", metadata(1, [1, 2, 3]), 3, {}) is None
    for leader, isrs, words in ((-1, [1, 2], "has no leader"), (1, [1, 2], "has 2 in sync of 3 that it needs")):
        trouble = shortage_in("t", metadata(leader, isrs), 3, AWAY)
        assert trouble is not None
        assert trouble.cause == Cause.REPLICAS
        assert trouble.why == f"topic t partition 0 {words}"


def test_replicas_that_cannot_be_reached_are_not_counted_as_in_sync() -> None:
    trouble = shortage_in("t", metadata(1, [1, 2, 3]), 3, AWAY)
    assert trouble is not None
    assert trouble.cause == Cause.REPLICAS
    assert "needs 3 in sync" in trouble.why
    assert "broker 2 (host:2, Connection refused)" in trouble.why
    assert shortage_in("t", metadata(1, [1, 2, 3]), 2, AWAY) is None


def test_a_leader_that_cannot_be_reached_is_named() -> None:
    trouble = shortage_in("t", metadata(2, [1, 2, 3]), 1, AWAY)
    assert trouble is not None
    assert trouble.why == "topic t partition 0 is led by broker 2 (host:2, Connection refused), which cannot be reached"


def brokers(*ports: int) -> SimpleNamespace:
    listed = {number: SimpleNamespace(host="127.0.0.1", port=port) for number, port in enumerate(ports, 1)}
    return SimpleNamespace(brokers=listed)


def test_a_broker_is_away_when_nobody_listens_at_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as gone:
        ports = listening.getsockname()[1], gone.getsockname()[1]
        gone.close()
        away = unreachable(brokers(*ports), 5.0)
    assert list(away) == [2]
    assert away[2].startswith(f"127.0.0.1:{ports[1]}, ")


def test_a_broker_is_away_when_what_stands_before_it_closes_every_connection() -> None:
    def close_one() -> None:
        connection, _ = proxy.accept()
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        closing = threading.Thread(target=close_one)
        closing.start()
        away = unreachable(brokers(port), 5.0)
        closing.join()
    assert away == {1: f"127.0.0.1:{port}, it closes what is connected to it"}
