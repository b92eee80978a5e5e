"""The PostgreSQL sink and the real server: rights, passwords, connections that break, offsets, validation."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from connectors.postgres.sink import PostgresSinkConnector
from engine.api.errors import ConnectError, RefusedError, RetriableError
from engine.api.record import TopicPartition
from engine.api.testing import FakeSinkContext
from tests.harness.postgres import LIMITED, PASSWORD
from tests.harness.postgres_bed import KEYED, PLACE, Bed, batch

pytestmark = pytest.mark.postgres


def test_a_right_that_is_missing_is_told_and_waited_for(bed: Bed) -> None:
    bed.sql(f"CREATE TABLE orders (id bigint); GRANT CREATE ON SCHEMA public TO {LIMITED}")
    config = {"connection.user": LIMITED, "connection.password": PASSWORD}
    task = bed.task({**config, "connection.url": bed.postgres.url(bed.database).replace("postgres@", "")})
    with pytest.raises(RefusedError, match="permission denied for table orders"):
        task.put(batch([{"id": 1}]))
    bed.sql(f"GRANT INSERT ON orders TO {LIMITED}")
    task.put(batch([{"id": 1}]))
    assert bed.sql("SELECT * FROM orders") == [(1,)]


def test_credentials_that_rotate_count_from_the_next_connection_on(bed: Bed, tmp_path: Path) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    bed.sql(f"GRANT CREATE ON SCHEMA public TO {LIMITED}; GRANT INSERT ON orders TO {LIMITED}")
    file = tmp_path / "credentials"
    file.write_text(f"user={LIMITED}\npassword={PASSWORD}\n")
    url = bed.postgres.url(bed.database).replace("postgres@", "")
    task = bed.task({"connection.credentials.file": str(file), "connection.url": url})
    task.put(batch([{"id": 1}]))
    try:
        bed.sql(f"ALTER ROLE {LIMITED} PASSWORD 'another'")
        disconnect(bed)
        with pytest.raises(RetriableError):
            task.put(batch([{"id": 2}], first_offset=1))
        with pytest.raises(RefusedError, match="password authentication failed") as caught:
            task.put(batch([{"id": 2}], first_offset=1))
        assert PASSWORD not in str(caught.value)
        file.write_text(f"user={LIMITED}\npassword=another\n")
        task.put(batch([{"id": 2}], first_offset=1))
        assert bed.sql("SELECT id FROM orders ORDER BY id") == [(1,), (2,)]
    finally:
        bed.sql(f"ALTER ROLE {LIMITED} PASSWORD '{PASSWORD}'")


def disconnect(bed: Bed) -> None:
    bed.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace orders'")


def test_a_connection_that_is_cut_costs_nothing(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task()
    task.put(batch([{"id": 0}]))
    for number in range(1, 4):
        disconnect(bed)
        with pytest.raises(RetriableError):
            task.put(batch([{"id": number}], first_offset=number))
        task.put(batch([{"id": number}], first_offset=number))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize("keys", [{}, {**KEYED, "pk.mode": "record_value"}])
def test_what_is_under_way_when_its_connection_is_cut_is_there_once(bed: Bed, keys: dict[str, str]) -> None:
    bed.sql("CREATE TABLE orders (id bigint, note text)" if not keys else "CREATE TABLE orders (id bigint PRIMARY KEY)")
    task = bed.task(keys)
    assert isinstance(task.context, FakeSinkContext)
    task.context.has_more = True
    for number in range(4):
        rows = batch([{"id": 2 * number}, {"id": 2 * number + 1}], first_offset=2 * number)
        try:
            task.put(rows)
        except RetriableError:  # the answer to the last ones was there before the cut, which is met now
            task.put(rows)
        disconnect(bed)
        with suppress(RetriableError):  # or the answer was there already
            task.pre_commit({PLACE: 2 * number + 2})
        assert task.pre_commit({PLACE: 2 * number + 2}) == {PLACE: 2 * number + 2}
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(number,) for number in range(8)]
    assert bed.stored() == 8


def test_what_waits_for_a_lock_of_somebody_else_is_met_at_the_next_put(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task({"statement.timeout.ms": "1500"})
    task.put(batch([{"id": 0}]))
    assert isinstance(task.context, FakeSinkContext)
    with psycopg.connect(bed.postgres.url(bed.database)) as other:
        other.execute("LOCK TABLE millrace_offsets IN SHARE MODE")
        with pytest.raises(RetriableError, match="cannot UPDATE"):
            task.put(batch([{"id": 1}], first_offset=1))
    bed.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NULL; END'; "
        "CREATE TRIGGER slow AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    )
    task.context.has_more = True
    task.put(batch([{"id": 1}], first_offset=1))
    begun = time.monotonic()
    with pytest.raises(RetriableError, match="at work on the last batch"):
        task.put(batch([{"id": 2}], first_offset=2))
    assert time.monotonic() - begun < 1.4, "a call waits for a second"
    with pytest.raises(RetriableError, match="cannot COPY"):
        task.put(batch([{"id": 2}], first_offset=2))
    bed.sql("DROP TRIGGER slow ON orders")
    task.put(batch([{"id": 2}], first_offset=2))
    assert task.pre_commit({PLACE: 3}) == {PLACE: 3}
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (2,)]


def test_a_commit_that_is_under_way_when_its_connection_is_lost_is_waited_for(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task({"statement.timeout.ms": "1000"})
    task.put(batch([{"id": 0}]))
    again = batch([{"id": 1}, {"id": 2}], first_offset=1)
    with psycopg.connect(bed.postgres.url(bed.database)) as lost:  # the server's end of the task's connection
        lost.execute("UPDATE millrace_offsets SET next_offset = 2")
        lost.execute("INSERT INTO orders VALUES (1)")
        disconnect(bed)
        with pytest.raises(RetriableError):
            task.put(again)
        with pytest.raises(RetriableError, match="57014"):
            task.put(again)
    task.put(again)
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (2,)]


def test_a_statement_that_takes_too_long_is_tried_again(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task({"statement.timeout.ms": "1000"})
    task.put(batch([{"id": 0}]))
    with psycopg.connect(bed.postgres.url(bed.database)) as other:
        other.execute("LOCK TABLE orders")
        with pytest.raises(RetriableError, match="57014"):
            task.put(batch([{"id": 1}], first_offset=1))
    task.put(batch([{"id": 1}], first_offset=1))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,)]


def test_who_lost_a_partition_can_write_nothing_more(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    frozen, other = bed.task(), bed.task()
    frozen.put(batch([{"id": 0}]))
    other.put(batch([{"id": 1}], first_offset=1))
    with pytest.raises(ConnectError, match="another task has opened orders-0"):
        frozen.put(batch([{"id": 1}], first_offset=1))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,)]


def test_offsets_are_set_and_forgotten_with_those_of_the_group(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    bed.task().put(batch([{"id": 0}, {"id": 1}]))
    connector = PostgresSinkConnector()
    assert connector.alter_offsets(bed.config(), {PLACE: 1, TopicPartition("it's", 3): 5})
    task = bed.task()
    assert task.pre_commit({PLACE: 1}) == {PLACE: 1}
    task.put(batch([{"id": 1}], first_offset=1))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (1,)]
    assert connector.alter_offsets(bed.config(), {PLACE: None})
    assert bed.sql("SELECT topic, next_offset FROM millrace_offsets ORDER BY 1") == [("it's", 5), ("orders", None)]
    with pytest.raises(ConnectError, match="another task has opened orders-0"):
        task.put(batch([{"id": 2}], first_offset=2))


def test_all_offsets_are_forgotten_also_those_that_the_group_has_not(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task()
    task.put(batch([{"id": 0}, {"id": 1}]))
    connector = PostgresSinkConnector()
    assert connector.alter_offsets(bed.config(name="other"), {PLACE: 7})
    assert connector.reset_offsets(bed.config(), {})  # the topic was deleted, and made anew
    assert bed.sql("SELECT connector, next_offset FROM millrace_offsets ORDER BY 1") == [("orders", None), ("other", 7)]
    with pytest.raises(ConnectError, match="another task has opened orders-0"):
        task.put(batch([{"id": 2}], first_offset=2))
    bed.task().put(batch([{"id": 5}]))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (5,)]


def test_the_server_gives_back_what_a_host_that_died_had_locked(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    session = bed.task()._writer().session
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    assert [session.rows(f"SELECT setting FROM pg_settings WHERE name = '{name}'")[0][0] for name in names] == [
        "10", "5", "4", "30000",
    ]  # fmt: skip


def test_validation_knows_what_the_user_must_be_allowed(bed: Bed) -> None:
    url = bed.postgres.url(bed.database).replace("postgres@", "")
    limited = {"connection_url": url, "connection_user": LIMITED, "connection_password": PASSWORD}
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
    bed.sql(f"GRANT CREATE ON SCHEMA public TO {LIMITED}; GRANT INSERT (id, note) ON orders TO {LIMITED}")
    assert problems(bed, **limited) == {}
    told = problems(bed, **limited, auto_evolve="true")
    assert "may not add columns to table orders" in told["auto.evolve"]
    keyed = {key.replace(".", "_"): text for key, text in KEYED.items()}
    bed.sql(f"GRANT SELECT, UPDATE ON orders TO {LIMITED}; REVOKE TEMPORARY ON DATABASE {bed.database} FROM PUBLIC")
    try:
        told = problems(bed, **limited, **keyed)
        assert f'GRANT TEMPORARY ON DATABASE "{bed.database}"' in told["connection.user"]
        assert problems(bed, **limited) == {}
    finally:
        bed.sql(f"GRANT TEMPORARY ON DATABASE {bed.database} TO PUBLIC")
    assert problems(bed, **limited, **keyed) == {}


def test_validation_knows_nothing_of_topics_that_transforms_name(bed: Bed) -> None:
    assert problems(bed, transforms="route") == {}
    assert "at most 63 bytes" in problems(bed, topics="x" * 64)["table.name.format"]


def problems(bed: Bed, **keys: str) -> dict[str, str]:
    given = {key.replace("_", "."): text for key, text in keys.items()}
    return {one.key: one.message for one in PostgresSinkConnector().validate(bed.config(**given))}


def test_validation_finds_what_is_missing(bed: Bed) -> None:
    assert "table orders of topic orders is not there" in problems(bed)["table.name.format"]
    assert problems(bed, auto_create="true") == {}
    bed.sql("CREATE TABLE orders (id bigint, note text)")
    assert problems(bed) == {}
    keyed = {key.replace(".", "_"): text for key, text in KEYED.items()}
    assert "has no primary key or unique index" in problems(bed, **keyed)["pk.fields"]
    assert "has no column other" in problems(bed, **{**keyed, "pk_fields": "other"})["pk.fields"]
    bed.sql("ALTER TABLE orders ADD PRIMARY KEY (id)")
    assert problems(bed, **keyed) == {}
    url = bed.postgres.url(bed.database).replace("postgres@", "")
    limited = {"connection_url": url, "connection_user": LIMITED, "connection_password": PASSWORD}
    told = problems(bed, **limited)
    assert "may not INSERT on table orders" in told["connection.user"]
    assert "the right CREATE on schema public" in told["offsets.table"]
    told = problems(bed, **{**limited, "connection_password": "wrong"})
    assert "password authentication failed" in told["connection.user"]
    assert "does not exist" in problems(bed, connection_url=bed.postgres.url("nowhere"))["connection.url"]
    assert "sslmod" in problems(bed, connection_url=f"{bed.postgres.url()}?sslmod=x")["connection.url"]


def test_validation_tells_of_a_server_that_is_away_or_silent(bed: Bed) -> None:
    with pytest.raises(RetriableError, match=r"cannot connect to PostgreSQL at 127\.0\.0\.1, database shop: "):
        problems(bed, connection_url="postgresql://postgres@127.0.0.1:1/shop")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # its backlog takes connections, nobody answers
        port = silent.getsockname()[1]
        with pytest.raises(RetriableError, match="cannot connect to PostgreSQL"):
            problems(bed, connection_url=f"postgresql://postgres@127.0.0.1:{port}/shop", connection_timeout_ms="2000")
