"""Logins and rights that Kafka refuses, and certificates that are replaced, stop nothing for good and lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import topics
from tests.harness.certificates import Authority
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
