"""Whether the user may do what a sink is to do, as far as Cassandra tells before anything is written.

    LIST MODIFY PERMISSION ON TABLE "shop"."orders" OF "writer"     rows ──► may; none ──► a problem, with its GRANT

The server looks through what lies around a table (its keyspace, all keyspaces) and the roles that a role has. One who
has a superuser's role may everything. Where nobody needs rights, or who we are cannot be asked about, nothing is told:
a right that is missing after all is met when a row is written, and refused by its name (errors.py).

Used by: sink.py.
Not here: whether a mapping fits its table (tables.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.link import LinkPort
from connectors.cassandra.mapping import TableMapping
from connectors.cassandra.tables import quoted, read_table, views_of
from engine.api.errors import ConnectError, Problem

__all__ = ["check_rights"]

logger = logging.getLogger(__name__)

#: Where a row of LIST ROLES says whether a role is a superuser's: behind its name.
_IS_SUPER = 1


def check_rights(
    link: LinkPort, mappings: Sequence[TableMapping], settings: CassandraSinkConfig, user: str
) -> list[Problem]:
    """The rights that are missing for these tables, which fit. user: who is logged in."""
    asking = _Asking(link, user)
    try:
        if asking.is_super():
            return []
        return [problem for mapping in mappings for problem in _of_table(asking, link, mapping, settings)]
    except ConnectError as error:
        # Who may do what is the secret of some servers, and nobody's of those without an authorizer.
        logger.info("the rights of %s were not looked at: %s", user, error)
        return []


def _of_table(
    asking: _Asking, link: LinkPort, mapping: TableMapping, settings: CassandraSinkConfig
) -> Iterator[Problem]:
    keyspace, table = quoted(mapping.keyspace), f"{quoted(mapping.keyspace)}.{quoted(mapping.table)}"
    if read_table(link, mapping.keyspace, mapping.table) is None:
        if settings.create_tables and not asking.may_create(keyspace):
            yield asking.problem(mapping, f"make table {mapping.name}", "CREATE", f"KEYSPACE {keyspace}")
        return  # who makes a table may do everything with it
    places = {f"TABLE {table}": ["MODIFY", *(["ALTER"] if settings.add_columns else [])]}
    for view in views_of(link, mapping.keyspace, mapping.table):
        # A row is read before it is written, for the views that are made of its table.
        places[f"TABLE {table}"].insert(0, "SELECT")
        places[f"TABLE {keyspace}.{quoted(view)}"] = ["MODIFY"]
    doing = {"MODIFY": "write into", "ALTER": "add columns to", "SELECT": "read, as its views need,"}
    for place, rights in places.items():
        for right in dict.fromkeys(rights):
            if not asking.may(right, place):
                yield asking.problem(mapping, f"{doing[right]} {place.removeprefix('TABLE ')}", right, place)


class _Asking:
    """What one user may do."""

    def __init__(self, link: LinkPort, user: str) -> None:
        self._link = link
        self._user = user

    def is_super(self) -> bool:
        """Whether a role of theirs is a superuser's. Raises ConnectError."""
        return any(row[_IS_SUPER] is True for row in self._link.rows(f"LIST ROLES OF {quoted(self._user)}"))

    def may(self, right: str, place: str) -> bool:
        """Whether they have a right there, or around it. Raises ConnectError."""
        return bool(self._link.rows(f"LIST {right} PERMISSION ON {place} OF {quoted(self._user)}"))

    def may_create(self, keyspace: str) -> bool:
        """Whether tables may be made in a keyspace. Raises ConnectError."""
        try:
            return self.may("CREATE", f"ALL TABLES IN KEYSPACE {keyspace}")
        except ConnectError:  # as it was before Cassandra 4.1: the keyspace alone
            return self.may("CREATE", f"KEYSPACE {keyspace}")

    def problem(self, mapping: TableMapping, doing: str, right: str, place: str) -> Problem:
        """That they may not do it, and what mends that."""
        grant = f"GRANT {right} ON {place} TO {quoted(self._user)}"
        return Problem(mapping.key("mapping"), f"user {self._user} may not {doing}: {grant}")
