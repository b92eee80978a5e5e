"""What the Cassandra sink says of its keys before anything is asked of a server."""

from __future__ import annotations

import sys

import pytest

import connectors.cassandra
from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.session import Link
from connectors.cassandra.sink import CONNECT_S_MAX, CassandraSinkConnector

MAPPING = {"topic.topic.k.t.mapping": "id=key, name=value"}


def test_without_its_extra_the_connector_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(connectors.cassandra, "driver", raising=False)
    for name in ("cassandra", "connectors.cassandra.driver"):
        monkeypatch.setitem(sys.modules, name, None)
    properties = {"contact.points": "here", "topics": "topic", **MAPPING}
    (problem,) = CassandraSinkConnector().validate(properties)
    assert problem.key == "connector.class"
    assert "pip install 'millrace[cassandra]'" in problem.message


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"topics": "topic,other"}, "topics"),
        ({"credentials.file": "a", "username": "b"}, "credentials.file"),
        ({"password": "secret"}, "username"),
        ({"topic.topic.k.t.ttk": "1"}, "topic.topic.k.t.ttk"),
    ],
)
def test_contradictions_are_found_before_anything_is_asked(keys: dict[str, str], key: str) -> None:
    problems = CassandraSinkConnector().validate({"contact.points": "here", "topics": "topic", **MAPPING, **keys})
    assert [problem.key for problem in problems] == [key]
    assert "secret" not in str(problems)


def test_with_transforms_other_topics_may_have_the_tables() -> None:
    nowhere = {"contact.points": "127.0.0.1", "port": "1", "topics": "other", **MAPPING}
    assert [problem.key for problem in CassandraSinkConnector().validate(nowhere)] == ["topics"]
    assert CassandraSinkConnector().validate({**nowhere, "transforms": "route"}) == []


def test_validation_waits_for_all_hosts_together_no_longer_than_who_asks() -> None:
    settings = CassandraSinkConfig.parse({"contact.points": "a,b,c,d", "connect.timeout.ms": "60000"})
    assert (Link(settings).connect_s, Link(settings, CONNECT_S_MAX).connect_s) == (60.0, 5.0)
