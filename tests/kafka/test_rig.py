"""The rigs that faults are tried on do what they say: three brokers, a bad network, TLS with users and rights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.harness import topics, wait
from tests.harness.certificates import Authority
from tests.harness.cluster import KafkaCluster
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.proxy import Proxy
from tests.harness.secure import SecureKafka
from tests.harness.server import UnavailableError, answers, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ANSWER_S = 10.0
SHORT_S = 2.0
AUTHENTICATION = KafkaError._AUTHENTICATION
TOPIC_DENIED = KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    try:
        started = KafkaCluster(tmp_path / "cluster").start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka: {error}")
    with started:
        yield started


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureKafka]:
    try:
        started = SecureKafka(tmp_path / "secure").start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka: {error}")
    with started:
        yield started


@pytest.mark.long
def test_three_brokers_lose_nothing_when_one_is_killed_and_leaders_move(cluster: KafkaCluster) -> None:
    cluster.create_topic("numbers")
    before = cluster.leaders("numbers")
    assert set(before.values()) == {1, 2, 3}
    cluster.move_leaders("numbers")
    after = cluster.leaders("numbers")
    assert all(before[partition] != after[partition] for partition in before)
    cluster.broker(2).kill9()
    topics.produce(cluster.users_bootstrap, "numbers", [str(number) for number in range(500)])
    cluster.broker(2).start()
    cluster.wait_in_sync("numbers")
    cluster.restart_rolling("numbers")
    assert sum(map(len, topics.consume_all(cluster.users_bootstrap, "numbers").values())) == 500


def test_a_proxy_stalls_delays_and_cuts(kafka: KafkaServer | UserKafka, tmp_path: Path) -> None:
    host, _, port = kafka.bootstrap.split(",")[0].rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        pytest.skip("the proxy is one of loopback")
    (here,) = free_ports(1)
    with Proxy(tmp_path, {here: int(port)}) as proxy:
        asked: dict[str, str | int | float | bool] = {"bootstrap.servers": f"127.0.0.1:{here}", "log_level": 0}

        def is_there(timeout_s: float) -> bool:
            admin = AdminClient(asked)  # a new connection; what it is told of the broker does not matter
            return answers(lambda: admin.list_topics(timeout=timeout_s), KafkaException)

        assert is_there(ANSWER_S)
        proxy.stall()
        assert not is_there(SHORT_S)
        proxy.cut()
        assert not is_there(SHORT_S)
        proxy.delay(0.3)
        begun_at = time.monotonic()
        assert is_there(ANSWER_S)
        assert time.monotonic() - begun_at > 0.6
        proxy.limit(50_000)
        assert is_there(ANSWER_S)
        proxy.flow()
        assert is_there(ANSWER_S)


def fails_with(settings: dict[str, str], topic: str) -> int | None:
    """The code of the error that one record meets; None when it arrives."""
    seen: list[int] = []
    producer = Producer({**settings, "error_cb": lambda error: seen.append(error.code()), "log_level": 0})
    arrived: list[int | None] = []
    producer.produce(topic, b"x", on_delivery=lambda error, _: arrived.append(error.code() if error else None))

    def is_told() -> bool:
        producer.poll(0.05)
        return bool(arrived) or AUTHENTICATION in seen or KafkaError._SSL in seen

    wait.until(is_told, "answer", timeout_s=ANSWER_S)
    producer.purge()
    return arrived[0] if arrived else next(code for code in seen if code in (AUTHENTICATION, KafkaError._SSL))


@pytest.mark.long  # as in tests/faults/test_credentials.py, which runs each time
def test_users_come_by_tls_and_have_their_rights(secure: SecureKafka, tmp_path: Path) -> None:
    topics.create_topic(secure.bootstrap, "orders", partitions=1)
    secure.add_user("alice", "wonderland")
    alice, carol = secure.client("alice", "wonderland"), secure.client("carol", "looking-glass", mechanism="PLAIN")
    assert fails_with(alice, "orders") is None
    assert fails_with(carol, "orders") is None
    assert fails_with(secure.client("alice", "wrong"), "orders") == AUTHENTICATION

    secure.deny("alice", "orders", operation="WRITE")
    assert fails_with(alice, "orders") == TOPIC_DENIED
    assert fails_with(carol, "orders") is None
    secure.allow_again("alice", "orders")
    wait.until(lambda: fails_with(alice, "orders") is None, "right to write")

    secure.change_password("alice", "other")
    assert fails_with(alice, "orders") == AUTHENTICATION
    assert fails_with(secure.client("alice", "other"), "orders") is None
    secure.remove_user("alice")
    assert fails_with(secure.client("alice", "other"), "orders") == AUTHENTICATION
    # One for each None above; not of what follows, where a question may be asked before the listener is renewed.
    assert len(topics.consume_all(secure.bootstrap, "orders")[0]) == 5

    secure.renew_certificate(authority=Authority(tmp_path / "stranger"))
    # The broker answers before its listener has the new certificate.
    wait.until(lambda: fails_with(carol, "orders") == KafkaError._SSL, "refusal of a stranger's certificate")
    secure.renew_certificate()
    wait.until(lambda: fails_with(carol, "orders") is None, "its own certificate")
