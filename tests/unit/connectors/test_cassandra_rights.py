"""A right that is missing is told with what grants it; where rights are nobody's business, nothing is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.mapping import read_mappings
from connectors.cassandra.rights import check_rights
from engine.api.errors import ConnectError
from tests.harness.fake_cassandra import FakeLink

MAPPINGS = read_mappings({"topic.topic.k.t.mapping": "id=key, name=value"})
USER = 'o"hara'


class FakeRights(FakeLink):
    """A server whose user has a super role, or rights; what `refuses` is part of, it does not answer."""

    def __init__(self, *, is_super: bool = False, refuses: str = "nothing", may: Sequence[str] = ()) -> None:
        super().__init__()
        self._is_super = is_super
        self._refuses = refuses
        self._may = may
        self.questions: list[str] = []

    def rows(self, cql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if not cql.startswith("LIST "):
            return super().rows(cql, values)
        self.questions.append(cql)
        if self._refuses in cql:
            raise ConnectError("InvalidRequest: LIST PERMISSIONS operation is not supported by the AllowAllAuthorizer")
        if cql.startswith("LIST ROLES"):
            return [(USER, False, True, {}), ("office", self._is_super, False, {})]
        right, place = cql.removeprefix("LIST ").removesuffix(' OF "o""hara"').split(" PERMISSION ON ")
        return [("office", "office", f"<{place}>", right)] if f"{right} {place}" in self._may else []


def told(link: FakeRights, **keys: str) -> list[str]:
    properties = {"contact.points": "h", **{name.replace("_", "."): text for name, text in keys.items()}}
    found = check_rights(link, MAPPINGS, CassandraSinkConfig.parse(properties), USER)
    assert {problem.key for problem in found} <= {"topic.topic.k.t.mapping"}
    return [problem.message for problem in found]


def test_a_missing_right_is_told_with_its_grant() -> None:
    assert told(FakeRights()) == [
        'user o"hara may not write into "k"."t": GRANT MODIFY ON TABLE "k"."t" TO "o""hara"',
    ]
    assert told(FakeRights(may=['MODIFY TABLE "k"."t"'])) == []


def test_a_superuser_is_asked_nothing_more() -> None:
    link = FakeRights(is_super=True)
    assert (told(link), len(link.questions)) == ([], 1)


@pytest.mark.parametrize("refuses", ["LIST ROLES", "PERMISSION ON"])
def test_a_server_that_does_not_tell_rights_is_believed(refuses: str) -> None:
    assert told(FakeRights(refuses=refuses), create_tables="true") == []


def test_who_makes_tables_needs_the_right_in_their_keyspace_alone() -> None:
    link = FakeRights()
    link.columns = []
    assert told(link, create_tables="true", add_columns="true") == [
        'user o"hara may not make table k.t: GRANT CREATE ON KEYSPACE "k" TO "o""hara"',
    ]
    older = FakeRights(refuses="ALL TABLES IN", may=['CREATE KEYSPACE "k"'])
    older.columns = []
    assert told(older, create_tables="true") == []
