"""Names, passwords, rights and certificates on a real Cassandra; what is refused is told, and mended by a new file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.cassandra.sink import CassandraSinkConnector, CassandraSinkTask
from engine.api.errors import ConfigError, RefusedError, RetriableError
from engine.api.testing import FakeSinkContext, sink_batch
from tests.cassandra.conftest import port_of
from tests.harness import wait
from tests.harness.cassandra import CassandraServer
from tests.harness.certificates import Authority
from tests.harness.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.cassandra]

Config = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def users(session: Any, ours: CassandraServer) -> Iterator[None]:
    """A table shop.orders, one who may write into it, and one who may not."""
    session.execute("CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    session.execute("CREATE TABLE shop.orders (id int PRIMARY KEY, name text)")
    session.execute("CREATE TABLE shop.viewed (id int PRIMARY KEY, name text)")
    session.execute(
        "CREATE MATERIALIZED VIEW shop.by_name AS SELECT * FROM shop.viewed "
        "WHERE id IS NOT NULL AND name IS NOT NULL PRIMARY KEY (name, id)"
    )
    for name in ("writer", "reader"):
        session.execute(f"CREATE ROLE {name} WITH PASSWORD = 'old-{name}' AND LOGIN = true")
    session.execute("GRANT MODIFY ON shop.orders TO writer")
    yield
    for name in ("writer", "reader"):
        session.execute(f"DROP ROLE {name}")
    session.execute("DROP KEYSPACE shop")


@pytest.fixture
def config(users: None, ours: CassandraServer) -> Config:
    """Makes a configuration: by TLS, and with these keys."""

    def made(**keys: str) -> dict[str, str]:
        return {
            "name": "orders",
            "topics": "topic",
            "contact.points": ours.host,
            "port": str(ours.port),
            "ssl.enabled": "true",
            "ssl.truststore.location": str(ours.authority),
            "topic.topic.shop.orders.mapping": "id=key, name=value",
            **{name.replace("_", "."): text for name, text in keys.items()},
        }

    return made


def started(config: dict[str, str]) -> CassandraSinkTask:
    task = CassandraSinkTask()
    task.initialize(FakeSinkContext())
    try:
        task.start(config)
    except BaseException:
        task.stop()
        raise
    return task


def written(task: CassandraSinkTask, key: int) -> None:
    task.put(sink_batch(["x"], keys=[key]))
    task.flush({})


def has(session: Any, key: int) -> bool:
    return session.execute(f"SELECT name FROM shop.orders WHERE id = {key}").one() is not None


def test_who_is_known_writes_through_tls(config: Config, session: Any) -> None:
    keys = config(username="writer", password="old-writer")
    assert CassandraSinkConnector().validate(keys) == []
    task = started(keys)
    written(task, 1)
    task.stop()
    assert has(session, 1)


def test_a_wrong_password_is_a_refusal_that_does_not_show_it(config: Config) -> None:
    keys = config(username="writer", password="hush-hush")
    with pytest.raises(RefusedError, match="Cassandra refuses the login") as caught:
        started(keys)
    assert "hush" not in str(caught.value)
    with pytest.raises(RefusedError):
        CassandraSinkConnector().validate(keys)


def test_who_may_not_write_is_told_which_right_is_missing_and_nothing_counts_as_written(config: Config) -> None:
    task = started(config(username="reader", password="old-reader"))
    task.put(sink_batch(["x"], keys=[2]))
    for _ in range(2):  # the engine flushes once more when a task ends by what its flush has raised
        with pytest.raises(RefusedError, match=r"MODIFY.*shop\.orders.*GRANT MODIFY"):
            task.flush({})
    task.stop()


@pytest.mark.parametrize(
    ("table", "keys", "grants"),
    [
        ("orders", {}, ["MODIFY ON TABLE shop.orders"]),
        ("orders", {}, ["MODIFY ON KEYSPACE shop"]),
        ("orders", {}, ["MODIFY ON ALL KEYSPACES"]),
        ("orders", {"add_columns": "true"}, ["MODIFY ON TABLE shop.orders", "ALTER ON TABLE shop.orders"]),
        ("none", {"create_tables": "true", "add_columns": "true"}, ["CREATE ON KEYSPACE shop"]),
        ("none", {"create_tables": "true"}, ["CREATE ON ALL TABLES IN KEYSPACE shop"]),
        (
            "viewed",
            {},
            ["SELECT ON TABLE shop.viewed", "MODIFY ON TABLE shop.viewed", "MODIFY ON TABLE shop.by_name"],
        ),
    ],
)
def test_each_right_that_is_missing_is_told_before_anything_runs_and_none_that_is_there(
    config: Config, session: Any, table: str, keys: dict[str, str], grants: list[str]
) -> None:
    session.execute("CREATE ROLE clerk WITH PASSWORD = 'hush-hush' AND LOGIN = true")
    session.execute("CREATE ROLE office")
    session.execute("GRANT office TO clerk")
    try:
        made = config(username="clerk", password="hush-hush", **keys)
        name = f"topic.topic.shop.{table}.mapping"
        made[name] = made.pop("topic.topic.shop.orders.mapping")
        for number, grant in enumerate(grants):
            problems = CassandraSinkConnector().validate(made)
            assert {problem.key for problem in problems} == {name}
            assert [problem.message.partition(": GRANT ")[2].partition(" ON ")[0] for problem in problems] == [
                one.partition(" ON ")[0] for one in grants[number:]
            ]
            assert all(problem.message.endswith('TO "clerk"') for problem in problems)
            session.execute(f"GRANT {grant} TO office")
        assert CassandraSinkConnector().validate(made) == []
    finally:
        session.execute("DROP ROLE clerk")
        session.execute("DROP ROLE office")


def test_what_the_grant_that_is_told_gives_suffices_to_write_into_a_table_with_a_view(
    config: Config, session: Any
) -> None:
    session.execute("CREATE ROLE clerk WITH PASSWORD = 'hush-hush' AND LOGIN = true")
    try:
        made = config(username="clerk", password="hush-hush")
        made["topic.topic.shop.viewed.mapping"] = made.pop("topic.topic.shop.orders.mapping")
        for problem in CassandraSinkConnector().validate(made):
            session.execute(problem.message[problem.message.index("GRANT ") :])
        task = started(made)
        written(task, 1)
        task.stop()
        assert session.execute("SELECT id FROM shop.by_name WHERE name = 'x'").one()[0] == 1
    finally:
        session.execute("DROP ROLE clerk")


def test_a_superusers_role_may_do_everything(config: Config, session: Any) -> None:
    session.execute("CREATE ROLE boss WITH SUPERUSER = true")
    session.execute("CREATE ROLE deputy WITH PASSWORD = 'hush-hush' AND LOGIN = true")
    session.execute("GRANT boss TO deputy")
    try:
        assert CassandraSinkConnector().validate(config(username="deputy", password="hush-hush")) == []
    finally:
        session.execute("DROP ROLE deputy")
        session.execute("DROP ROLE boss")


def test_a_node_that_nobody_vouches_for_is_not_spoken_to(config: Config, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    keys = config(username="writer", password="old-writer", ssl_truststore_location=str(stranger.file))
    with pytest.raises(RetriableError, match="certificate"):
        started(keys)


def test_a_datacenter_that_is_not_there_is_told_with_those_that_are(config: Config) -> None:
    (problem,) = CassandraSinkConnector().validate(
        config(username="writer", password="old-writer", local_datacenter="nowhere")
    )
    assert problem.key == "local.datacenter"
    assert "no host is there; expected one of datacenter1" in problem.message


def test_a_truststore_that_is_not_there_is_told_by_its_key(config: Config, tmp_path: Path) -> None:
    (problem,) = CassandraSinkConnector().validate(config(ssl_truststore_location=str(tmp_path / "none.pem")))
    assert problem.key == "ssl.truststore.location"


def test_a_keystore_without_a_key_is_told_by_its_key(config: Config, ours: CassandraServer) -> None:
    with pytest.raises(ConfigError, match=r"ssl\.keystore\.location"):
        started(config(ssl_keystore_location=str(ours.authority)))


def test_a_password_that_changes_is_read_from_its_file_when_a_connection_is_made(
    config: Config, session: Any, proxy: Proxy, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("# who we are\nusername=writer\npassword=old-writer\n")
    task = started(config(credentials_file=str(file), port=str(port_of(proxy))))
    written(task, 3)
    session.execute("ALTER ROLE writer WITH PASSWORD = 'new-writer'")
    proxy.cut()
    proxy.flow()
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
    assert has(session, 4)


@pytest.mark.parametrize("text", ["", "username=writer\n", "password=hush-hush\n"])
def test_a_file_without_a_name_or_a_password_is_told(config: Config, tmp_path: Path, text: str) -> None:
    file = tmp_path / "credentials"
    file.write_text(text)
    (problem,) = CassandraSinkConnector().validate(config(credentials_file=str(file)))
    assert problem.key == "credentials.file"
    assert "it has no line" in problem.message
    assert "hush" not in problem.message
