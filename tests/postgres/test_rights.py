"""What the user of PostgresSource has to be allowed to make its publication is known before a task starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.api.errors import RefusedError
from tests.harness.capture import Capture, shown
from tests.harness.postgres import LIMITED, PASSWORD

pytestmark = pytest.mark.postgres

Keys = dict[str, object]


@pytest.fixture
def keys(capture: Capture) -> Iterator[Keys]:
    """Of a connector whose user may replicate and read, and nothing else."""
    capture.run(f"ALTER ROLE {LIMITED} REPLICATION; GRANT SELECT ON orders TO {LIMITED}")
    url = f"postgresql://127.0.0.1:{capture.postgres.port}/{capture.database}"
    yield {"connection_url": url, "connection_user": LIMITED, "connection_password": PASSWORD}
    capture.run(f"DROP OWNED BY {LIMITED}; ALTER ROLE {LIMITED} NOREPLICATION")


def test_who_may_not_make_the_publication_is_told_what_it_takes(capture: Capture, keys: Keys) -> None:
    told = capture.problems(**keys)
    assert f"GRANT CREATE ON DATABASE {capture.database} TO {LIMITED}" in told
    assert f"the user {LIMITED} does not own table public.orders" in told
    with pytest.raises(RefusedError, match="permission denied for database"):
        capture.begin(keys)
    told = capture.problems(**keys, publication_autocreate_mode="all_tables")
    assert f"the user {LIMITED} may not make publication millrace of all tables" in told
    assert "GRANT CREATE" not in told
    capture.run(f"GRANT CREATE ON DATABASE {capture.database} TO {LIMITED}; ALTER TABLE orders OWNER TO {LIMITED}")
    assert capture.problems(**keys) == ""
    capture.begin(keys)
    capture.run("INSERT INTO orders VALUES (1, 'one', 1)")
    assert [row[:2] for row in shown(capture.changes(keys))] == [("public.orders", 1)]


def test_who_may_not_add_to_the_publication_is_told_what_it_takes(capture: Capture, keys: Keys) -> None:
    capture.run("CREATE PUBLICATION millrace FOR TABLE orders")
    assert capture.problems(**keys) == "", "nothing is to be made or added"
    capture.run(f"CREATE TABLE other (id int PRIMARY KEY); GRANT SELECT ON other TO {LIMITED}")
    told = capture.problems(**keys)
    assert f"lacks public.other, and {LIMITED} does not own it" in told
    assert f"the user {LIMITED} does not own table public.other" in told
    with pytest.raises(RefusedError, match="must be owner"):
        capture.begin(keys)
    capture.run(f"ALTER PUBLICATION millrace OWNER TO {LIMITED}; ALTER TABLE other OWNER TO {LIMITED}")
    assert capture.problems(**keys) == ""
    capture.begin(keys)


def test_whether_it_may_be_of_all_tables_is_asked_of_the_server_and_nothing_is_left_of_that(capture: Capture) -> None:
    assert capture.problems(publication_autocreate_mode="all_tables") == ""
    assert capture.run("SELECT pubname FROM pg_publication") == []


def test_who_is_a_member_of_the_role_that_stands_for_it_on_managed_servers_may_replicate(
    capture: Capture, keys: Keys
) -> None:
    capture.run(f"ALTER ROLE {LIMITED} NOREPLICATION")
    assert f"the user {LIMITED} may not replicate" in capture.problems(**keys)
    capture.run(f"CREATE ROLE rds_replication; GRANT rds_replication TO {LIMITED}")
    try:
        assert "may not replicate" not in capture.problems(**keys)
    finally:
        capture.run("DROP ROLE rds_replication")
