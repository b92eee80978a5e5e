"""Who makes dead letter topics has the settings of Kafka Connect's admin client, or else of the letters' producer."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from engine.api.errors import ConfigError
from engine.config.clients import ClientSettings, admin_settings
from engine.config.worker import WorkerConfig
from engine.kafka.access import client_settings

WORKER = WorkerConfig(
    key_converter="K",
    value_converter="V",
    offset_storage_file_filename="offsets",
    bootstrap_servers=["one:9092", "two:9092"],
)
PRODUCER = {"bootstrap.servers": "one:9092,two:9092", "client.id": "p", "security.protocol": "ssl"}
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def settings(worker: dict[str, str], connector: dict[str, str]) -> ClientSettings:
    where: dict[str, Any] = {"name": "n", "file": "c.toml", "worker_file": "w.toml", "secrets": ()}
    return admin_settings(worker, connector, worker_config=WORKER, producer=PRODUCER, **where)


def taken(worker: dict[str, str], connector: dict[str, str]) -> dict[str, Any]:
    """What is left for the client, and is taken by it."""
    made = client_settings(settings(worker, connector).settings)
    AdminClient({**made, "log_level": 0})
    return made


def test_without_a_word_they_are_the_producers() -> None:
    assert taken({}, {}) == {**PRODUCER, "client.id": "connector-dlq-adminclient-"}


def test_what_is_no_security_goes_over_the_producers() -> None:
    given = {"admin.override.client.id": "mine", "admin.override.request.timeout.ms": "5000"}
    assert taken({"admin.client.id": "all"}, given) == {**PRODUCER, "client.id": "mine", "socket.timeout.ms": 5000}


def test_keys_of_the_worker_without_a_prefix_are_first_then_its_admin_ones_then_the_connectors() -> None:
    worker = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": f'{PLAIN} username="worker" password="w";',
        "linger.ms": "3",
    }
    base = {
        "bootstrap.servers": "one:9092,two:9092",
        "client.id": "connector-dlq-adminclient-",
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
    }
    assert taken(worker, {}) == {**base, "sasl.username": "worker", "sasl.password": "w"}
    worker["admin.sasl.jaas.config"] = f'{PLAIN} username="admin" password="a";'
    assert taken(worker, {}) == {**base, "sasl.username": "admin", "sasl.password": "a"}
    own = {"admin.override.sasl.jaas.config": f'{PLAIN} username="own" password="o";'}
    assert taken(worker, own) == {**base, "sasl.username": "own", "sasl.password": "o"}
    assert {"w", "a"}.isdisjoint(settings(worker, own).secrets)
    assert "o" in settings(worker, own).secrets


def test_with_a_protocol_of_their_own_nothing_is_the_producers_but_the_brokers() -> None:
    assert taken({"admin.security.protocol": "PLAINTEXT"}, {"admin.override.bootstrap.servers": "three:1"}) == {
        "bootstrap.servers": "three:1",
        "client.id": "connector-dlq-adminclient-",
        "security.protocol": "plaintext",
    }


def test_listeners_are_no_settings_of_a_client() -> None:
    assert settings({"admin.listeners": "http://:1", "admin.listeners.https.ssl.keystore.type": "x"}, {}).warnings == ()


@pytest.mark.parametrize(
    ("worker", "connector", "key"),
    [
        ({}, {"admin.override.bootstrap.servers": "nowhere"}, "admin.override.bootstrap.servers"),
        ({"admin.sekurity.protocol": "x"}, {}, "admin.sekurity.protocol"),
        ({"security.protocol": "SASL"}, {}, "security.protocol"),
    ],
)
def test_what_will_not_do_is_told_by_the_key_it_stands_under(
    worker: dict[str, str], connector: dict[str, str], key: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        settings(worker, connector)
    assert [problem.key for problem in refused.value.problems] == [key]
