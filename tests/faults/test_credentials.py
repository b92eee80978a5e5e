"""Logins and rights that Kafka refuses, and certificates that are replaced, stop nothing for good and lose nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import topics
from tests.harness.certificates import Authority
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import bootstrap_of_user
from tests.harness.secure import SecureKafka
from tests.harness.server import UnavailableError
from tests.harness.world import PARTITIONS, SINK, SOURCE, TOPIC, Run

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

USER, PASSWORD = "alice", "wonderland"
#: A login holds so long: then a client that has been refused is cut off.
LOGIN_MS = 2_000


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureKafka]:
    if bootstrap_of_user() is not None:
        pytest.skip("needs users and certificates, and MILLRACE_TEST_BOOTSTRAP names servers that are not ours")
    try:
        made = SecureKafka(tmp_path / "secure", reauthentication_ms=LOGIN_MS).start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka: {error}")
    with made:
        made.add_user(USER, PASSWORD)
        topics.create_topic(made.bootstrap, TOPIC, partitions=PARTITIONS)
        yield made


def test_rights_and_passwords_that_are_mended_need_no_other_hand(secure: SecureKafka, tmp_path: Path) -> None:
    with Run(tmp_path / "run", secure.client(USER, PASSWORD)) as run:
        run.until_flowing()
        secure.deny(USER, TOPIC, operation="WRITE")
        run.until_waiting(SOURCE, "denied")
        secure.allow_again(USER, TOPIC)
        run.until_going(SOURCE)
        secure.deny(USER, TOPIC, operation="READ")
        run.until_waiting(SINK, "denied")
        secure.allow_again(USER, TOPIC)
        run.until_going(SINK)
        secure.change_password(USER, "another")
        run.until_waiting(SOURCE, "credentials")
        run.until_waiting(SINK, "credentials")
        secure.change_password(USER, PASSWORD)
        run.finish()
    assert PASSWORD not in run.millrace.stderr + run.millrace.stdout


@pytest.mark.long
def test_a_brokers_certificate_that_is_renewed_costs_nothing_and_a_strangers_is_waited_out(
    secure: SecureKafka, tmp_path: Path
) -> None:
    with Run(tmp_path / "run", secure.client(USER, PASSWORD)) as run:
        run.until_flowing()
        secure.renew_certificate()
        secure.restart()
        run.until_flowing()
        secure.renew_certificate(authority=Authority(tmp_path / "stranger"))
        secure.restart()
        run.until_waiting(SOURCE, "credentials")
        run.until_waiting(SINK, "credentials")
        secure.renew_certificate()
        run.finish()


@pytest.mark.long
def test_a_clients_certificate_that_is_replaced_on_disk_is_used_with_one_restart_of_each_line(
    secure: SecureKafka, tmp_path: Path
) -> None:
    trusted = {"listener.name.users.ssl.client.auth": "required", "listener.name.users.ssl.truststore.type": "PEM"}
    where = "listener.name.users.ssl.truststore.location"
    secure.configure({**trusted, where: str(secure.authority.file)})
    secure.restart()
    mine = secure.authority.issue(tmp_path / "client.pem", "client")
    files = {"ssl.certificate.location": str(mine), "ssl.key.location": str(mine)}
    with Run(tmp_path / "run", {**secure.client(USER, PASSWORD), **files}) as run:
        run.until_flowing()
        another = Authority(tmp_path / "another")
        secure.configure({where: str(another.file)})
        secure.restart()
        run.until_waiting(SOURCE, "credentials")
        run.until_waiting(SINK, "credentials")
        another.issue(mine, "client")
        run.finish(restarts=2)
    assert "certificates or keys were replaced; starting again with them" in run.millrace.stderr


@pytest.mark.long
def test_a_doctor_names_the_rights_that_a_user_lacks_and_how_to_give_them(secure: SecureKafka, tmp_path: Path) -> None:
    client = secure.client(USER, PASSWORD)
    servers = client.pop("bootstrap.servers")
    keys = {f"{kind}.{key}": value for kind in ("producer", "consumer") for key, value in client.items()}
    worker = {"bootstrap.servers": servers, "key.converter": "String", "value.converter": "String", **keys}
    source = {"connector.class": "Generator", "topic": TOPIC}
    sink = {"connector.class": "NullSink", "topics": TOPIC}
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {"in": source, "out": sink}))

    def bad() -> list[str]:
        with Millrace("doctor", "pipeline.toml", "--json", folder=tmp_path) as doctor:
            code = doctor.wait()
        found = [one for one in json.loads(doctor.stdout) if one["verdict"] == "bad"]
        assert code == (1 if found else 0), doctor.stderr
        assert PASSWORD not in doctor.stdout + doctor.stderr
        return [f"{one['text']}; {one['advice']}" for one in found]

    assert bad() == []
    secure.deny(USER, TOPIC, operation="WRITE")
    (text,) = bad()
    assert f"connector in: this user may not write the topic {TOPIC}" in text
    assert f"kafka-acls --add --allow-principal User:... --operation Write --topic {TOPIC}" in text
    secure.allow_again(USER, TOPIC)
    secure.deny(USER, TOPIC, operation="READ")
    (text,) = bad()
    assert f"connector out: this user may not read the topic {TOPIC}" in text
    secure.allow_again(USER, TOPIC)
    secure.change_password(USER, "another")
    (text,) = {one.partition("the broker")[2] for one in bad()}
    assert text.startswith(" refuses this client")
