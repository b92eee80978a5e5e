"""Keys of the PostgreSQL sink: URLs of two kinds, names of tables, and what contradicts what."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.postgres.addresses import libpq_parameters, read_credentials
from connectors.postgres.config import PostgresSinkConfig, Target, contradictions, literal, quoted
from connectors.postgres.refusals import RowError, StaleError, of_connecting, translated
from connectors.postgres.session import connect
from connectors.postgres.sink import PostgresSinkConnector, PostgresSinkTask
from engine.api.errors import ConfigError, ConnectError, RefusedError, RetriableError
from engine.api.testing import FakeSinkContext

URL = "postgresql://127.0.0.1/shop"
LONG = "ü" * 32  # 64 bytes


def settings(**keys: str) -> PostgresSinkConfig:
    return PostgresSinkConfig.parse(
        {"connection.url": URL, **{key.replace("_", "."): text for key, text in keys.items()}}
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://db", {"host": "db", "port": "5432"}),
        ("postgres://ann@db:99/shop?sslmode=require",
         {"host": "db", "port": "99", "dbname": "shop", "user": "ann", "sslmode": "require"}),
        ("jdbc:postgresql://one:1,two/shop?targetServerType=primary&ssl=true",
         {"host": "one,two", "port": "1,5432", "dbname": "shop", "target_session_attrs": "read-write",
          "sslmode": "verify-full"}),
        ("postgresql://[::1]:7/a%20b", {"host": "::1", "port": "7", "dbname": "a b"}),
        ("jdbc:postgresql://db/shop?currentSchema=my schema",
         {"host": "db", "port": "5432", "dbname": "shop", "options": "-c search_path=my\\ schema"}),
        ("postgresql:///shop", {"dbname": "shop"}),
    ],
)  # fmt: skip
def test_urls_of_libpq_and_of_jdbc_are_read(url: str, expected: dict[str, str]) -> None:
    assert libpq_parameters(url) == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://db", "expected postgresql://"),
        ("postgresql://ann:secret@db/shop", "connection.password"),
        ("jdbc:postgresql://db/shop?password=secret", "connection.password"),
        ("jdbc:postgresql://db/shop?sslpassword=secret", "connection.password"),
        ("jdbc:postgresql://db/shop?prepareThreshold=secret", "prepareThreshold has no equal"),
        ("postgresql://db:port/shop", "a port is no number"),
        ("postgresql://ann:secret/end@db/shop", "a port is no number"),
        ("postgresql://ann:12/secret@db/shop", "%2F"),
        ("postgresql://ann:12?secret@db/shop", "%2F"),
        ("jdbc:postgresql://ann:12?secret@db/shop", "%2F"),
    ],
)
def test_urls_that_cannot_be_used_are_told_without_secrets(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        libpq_parameters(url)
    assert "secret" not in str(caught.value)


def test_credentials_are_read_from_their_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("# who\nuser = ann\npassword=one=two\n")
    assert read_credentials(str(file)) == ("ann", "one=two")
    assert "one" not in repr(read_credentials(str(file)))
    file.write_text("password=three")
    assert read_credentials(str(file)) == (None, "three")
    file.write_text("")
    with pytest.raises(RetriableError, match="no password"):
        read_credentials(str(file))
    file.unlink()
    with pytest.raises(RetriableError, match="cannot read"):
        read_credentials(str(file))


def test_a_topic_goes_to_the_table_that_is_named() -> None:
    given = settings(table_name_format="kafka.${topic}_rows", topic_to_table_map="a:b, c.d : e.f")
    assert given.target("a") == Target(None, "b")
    assert given.target("c.d") == Target("e", "f")
    assert given.target("x.y") == Target("kafka", "x.y_rows")
    assert given.target("x.y").sql == '"kafka"."x.y_rows"'
    assert settings().target("it's") == Target(None, "it's")


def test_a_topic_whose_name_would_be_cut_has_no_table() -> None:
    assert settings().target("x" * 63).table == "x" * 63
    with pytest.raises(ConfigError, match=r"at most 63 bytes, and this has 64.*topic\.to\.table\.map"):
        settings().target(LONG)


@pytest.mark.parametrize(("asked", "expected"), [("", 10), ("?connect_timeout=3", 3), ("?connect_timeout=99", 10),
                                                 ("?connect_timeout=0", 10), ("?connect_timeout=x", 10)])  # fmt: skip
def test_a_connection_takes_no_longer_than_it_may_whatever_the_url_says(
    monkeypatch: pytest.MonkeyPatch, asked: str, expected: int
) -> None:
    given: dict[str, Any] = {}

    def refuse(**parameters: Any) -> None:
        given.update(parameters)
        raise OperationalError("connection refused")

    driver = SimpleNamespace(Error=OperationalError, connect=refuse)
    monkeypatch.setitem(sys.modules, "psycopg", driver)
    with pytest.raises(RetriableError):
        connect(settings(connection_url=URL + asked), "a test")
    assert given["connect_timeout"] == expected


def test_names_and_texts_are_quoted_whatever_is_in_them() -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("it's a \\") == "E'it''s a \\\\'"


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"insert.mode": "upsert"}, "pk.mode"),
        ({"delete.enabled": "true", "pk.mode": "record_value"}, "delete.enabled"),
        ({"pk.mode": "kafka", "pk.fields": "a,b"}, "pk.fields"),
        ({"table.name.format": "a.b.${topic}"}, "table.name.format"),
        ({"topic.to.table.map": "a"}, "topic.to.table.map"),
        ({"topic.to.table.map": "a:b.c.d"}, "topic.to.table.map"),
        ({"offsets.table": "a.b.c"}, "offsets.table"),
        ({"offsets.table": f"s.{LONG}"}, "offsets.table"),
        ({"topic.to.table.map": f"a:{LONG}"}, "topic.to.table.map"),
        ({"connection.url": "file://db"}, "connection.url"),
        ({"connection.url": f"{URL}?sslpassword=x"}, "connection.url"),
        ({"connection.password": "x", "connection.credentials.file": "y"}, "connection.password"),
    ],
)
def test_contradictions_are_told_by_key(keys: dict[str, str], key: str) -> None:
    problems = [*contradictions(PostgresSinkConfig.parse({"connection.url": URL, **keys}))]
    assert [problem.key for problem in problems] == [key]
    task = PostgresSinkTask()
    task.initialize(FakeSinkContext())
    with pytest.raises(ConfigError, match=re_of(problems[0].message)):
        task.start({"connection.url": URL, **keys})


def re_of(text: str) -> str:
    return text.replace("(", r"\(").replace(")", r"\)").replace("$", r"\$").replace("{", r"\{").replace("}", r"\}")


def test_a_good_configuration_has_no_contradictions() -> None:
    assert [*contradictions(settings(insert_mode="UPSERT", pk_mode="record_key", delete_enabled="true"))] == []


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (problem,) = PostgresSinkConnector().validate({"connection.url": URL, "topics": "a"})
    assert "install millrace[postgres]" in problem.message
    task = PostgresSinkTask()
    task.initialize(FakeSinkContext())
    with pytest.raises(ConfigError, match=r"install millrace\[postgres\]"):
        task.start({"connection.url": URL})


class Diagnostics:
    """As psycopg's."""

    def __init__(self, **members: str) -> None:
        self.__dict__.update(members)


class OperationalError(Exception):
    """As psycopg's."""

    def __init__(self, text: str, code: str | None = None, **members: str) -> None:
        super().__init__(text)
        self.sqlstate = code
        self.diag = Diagnostics(message_primary=text, **members)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("08006", RetriableError),
        ("57P01", RetriableError),
        ("40P01", RetriableError),
        ("53300", RetriableError),
        ("25006", RetriableError),
        ("57014", RetriableError),
        (None, RetriableError),
        ("42501", RefusedError),
        ("22001", RowError),
        ("23502", RowError),
        ("42703", StaleError),
        ("42601", ConnectError),
    ],
)
def test_what_the_server_says_is_sorted_by_what_helps(code: str | None, kind: type[Exception]) -> None:
    assert type(translated(OperationalError("no", code), "COPY orders")) is kind


def test_a_refused_row_names_its_column_and_no_other_value() -> None:
    context = 'COPY orders, line 17, column note: "abc"'
    error = translated(OperationalError("too long", "22001", context=context, message_detail="secret"), "COPY")
    assert isinstance(error, RowError)
    assert (error.column, str(error)) == ("note", "too long")
    assert "make the column longer" in error.advice


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('invalid input syntax for type integer: "ma"ny"', "invalid input syntax for type integer"),
        ('value "40000" is out of range for type smallint', "value is out of range for type smallint"),
        ("value too long for type character varying(5)", "value too long for type character varying(5)"),
    ],
)
def test_a_value_that_the_server_quotes_is_told_to_nobody(said: str, told: str) -> None:
    assert str(translated(OperationalError(said, "22P02"), "COPY orders")) == told


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('FATAL:  password authentication failed for user "ann"', RefusedError),
        ("fe_sendauth: no password supplied", RefusedError),
        ('FATAL:  no pg_hba.conf entry for host "::1"', RefusedError),
        ('FATAL:  database "shop" does not exist', ConfigError),
        ("connection refused", RetriableError),
        ("FATAL:  the database system is starting up", RetriableError),
        ("FATAL:  sorry, too many clients already", RetriableError),
        ("session is read-only", RetriableError),
    ],
)
def test_connections_that_fail_are_sorted_by_what_helps(said: str, kind: type[Exception]) -> None:
    error = of_connecting(OperationalError(said), "db, database shop")
    assert type(error) is kind
    assert said.rsplit(maxsplit=1)[-1].strip('"') in str(error)


def test_there_may_be_as_many_tasks_as_are_allowed() -> None:
    connector = PostgresSinkConnector()
    connector.start({"name": "orders", "connection.url": URL})
    assert connector.task_configs(2) == [{"name": "orders", "connection.url": URL}] * 2
