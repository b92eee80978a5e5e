"""Names, passwords, rights and certificates on a real Cassandra; what is refused is told, and mended by a new file."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cassandra
import pytest

from connectors.cassandra.sink import CassandraSinkConnector, CassandraSinkTask
from engine.api.errors import ConfigError, RefusedError, RetriableError
from tests.harness import wait
from tests.harness.cassandra import STORE_PASSWORD, CassandraServer, keystore
from tests.harness.certificates import Authority
from tests.harness.contexts import FakeSinkContext, sink_batch
from tests.harness.server import UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.cassandra]

FIRST = ("cassandra", "cassandra")


class Guarded:
    """A server with TLS and passwords, and what its clients need."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        store = keystore(folder / "node.p12", authority.issue(folder / "node.pem", "node"))
        self.authority = authority.file
        self.server = CassandraServer(folder / "cassandra", keystore=store, is_guarded=True)
        self.context = ssl.create_default_context(cafile=str(authority.file))
        self.context.check_hostname = False

    def session(self) -> Any:
        """Of the first user."""
        return self.server.session(login=FIRST, ssl_context=self.context)

    def config(self, **keys: str) -> dict[str, str]:
        return {
            "name": "orders",
            "topics": "topic",
            "contact.points": self.server.host,
            "port": str(self.server.port),
            "ssl.enabled": "true",
            "ssl.truststore.location": str(self.authority),
            "request.timeout.ms": "4000",
            "topic.topic.shop.orders.mapping": "id=key, name=value",
            **{name.replace("_", "."): text for name, text in keys.items()},
        }


def is_let_in(guarded: Guarded) -> bool:
    """Whether the first user is there already: it is made some time after the start."""
    try:
        with guarded.session():
            return True
    except cassandra.cluster.NoHostAvailable:
        return False


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    try:
        found = Guarded(tmp_path_factory.mktemp("guarded"))
        found.server.start()
    except UnavailableError as error:
        pytest.skip(f"no real Cassandra: {error}")
    with found.server:
        wait.until(lambda: is_let_in(found), "first user", timeout_s=60)
        with found.session() as session:
            session.execute(
                "CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
            )
            session.execute("CREATE TABLE shop.orders (id int PRIMARY KEY, name text)")
            for name in ("writer", "reader"):
                session.execute(f"CREATE ROLE {name} WITH PASSWORD = 'old-{name}' AND LOGIN = true")
            session.execute("GRANT MODIFY ON shop.orders TO writer")
        yield found


def started(config: dict[str, str]) -> CassandraSinkTask:
    task = CassandraSinkTask()
    task.initialize(FakeSinkContext())
    task.start(config)
    return task


def written(task: CassandraSinkTask, key: int) -> None:
    task.put(sink_batch(["x"], keys=[key]))
    task.flush({})


def test_who_is_known_writes_through_tls(guarded: Guarded) -> None:
    config = guarded.config(username="writer", password="old-writer")
    assert CassandraSinkConnector().validate(config) == []
    task = started(config)
    written(task, 1)
    task.stop()
    with guarded.session() as session:
        assert session.execute("SELECT name FROM shop.orders WHERE id = 1").one()[0] == "x"


def test_a_wrong_password_is_a_refusal_that_does_not_show_it(guarded: Guarded) -> None:
    config = guarded.config(username="writer", password="hush-hush")
    with pytest.raises(RefusedError, match="Cassandra refuses the login") as caught:
        started(config)
    assert "hush" not in str(caught.value)
    with pytest.raises(RefusedError):
        CassandraSinkConnector().validate(config)


def test_who_may_not_write_is_told_which_right_is_missing(guarded: Guarded) -> None:
    task = started(guarded.config(username="reader", password="old-reader"))
    task.put(sink_batch(["x"], keys=[2]))
    with pytest.raises(RefusedError, match=r"MODIFY.*shop\.orders.*GRANT MODIFY"):
        task.flush({})
    task.stop()


def test_a_node_that_nobody_vouches_for_is_not_spoken_to(guarded: Guarded, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    config = guarded.config(username="writer", password="old-writer", ssl_truststore_location=str(stranger.file))
    with pytest.raises(RetriableError, match="certificate"):
        started(config)


def test_a_truststore_that_is_not_there_is_told_by_its_key(guarded: Guarded, tmp_path: Path) -> None:
    config = guarded.config(ssl_truststore_location=str(tmp_path / "none.pem"))
    (problem,) = CassandraSinkConnector().validate(config)
    assert problem.key == "ssl.truststore.location"


def test_a_truststore_of_java_is_read(guarded: Guarded, tmp_path: Path) -> None:
    pem = tmp_path / "authority.pem"
    pem.write_bytes(guarded.authority.read_bytes())
    with pytest.raises(ConfigError, match=r"ssl\.keystore\.location"):
        started(guarded.config(ssl_keystore_location=str(pem), ssl_keystore_password=STORE_PASSWORD))


def test_a_password_that_changes_is_read_from_its_file_when_a_connection_is_made(
    guarded: Guarded, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("# who we are\nusername=writer\npassword=old-writer\n")
    task = started(guarded.config(credentials_file=str(file)))
    written(task, 3)
    with guarded.session() as session:
        session.execute("ALTER ROLE writer WITH PASSWORD = 'new-writer'")
    guarded.server.restart()
    task.put(sink_batch(["x"], keys=[4]))

    def is_refused() -> bool:
        try:
            task.flush({})
        except RefusedError:
            return True
        except RetriableError:
            return False
        raise AssertionError("written with a password that is gone")

    wait.until(is_refused, "refusal", timeout_s=60)
    file.write_text("username=writer\npassword=new-writer\n")
    task.flush({})
    task.stop()
    with guarded.session() as session:
        assert session.execute("SELECT name FROM shop.orders WHERE id = 4").one()[0] == "x"
        session.execute("ALTER ROLE writer WITH PASSWORD = 'old-writer'")


@pytest.mark.parametrize("text", ["", "username=writer\n", "password=hush-hush\n"])
def test_a_file_without_a_name_or_a_password_is_told(guarded: Guarded, tmp_path: Path, text: str) -> None:
    file = tmp_path / "credentials"
    file.write_text(text)
    (problem,) = CassandraSinkConnector().validate(guarded.config(credentials_file=str(file)))
    assert problem.key == "credentials.file"
    assert "it has no line" in problem.message
    assert "hush" not in problem.message
