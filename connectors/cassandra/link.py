"""What the rest asks of a connection (`session.Link`).

Used by: tables.py, changes.py, rights.py, sender.py, session.py, writer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from connectors.cassandra.plans import Statement

__all__ = ["HostsOf", "LinkPort"]

#: What names the hosts that keep a partition, by its key's parts.
HostsOf = Callable[[Sequence[bytes]], object]


class LinkPort(Protocol):
    """A connection, which may be closed and opened again."""

    unset: Any  # stands for a value that is not there and changes nothing

    @property
    def is_open(self) -> bool: ...
    def open(self) -> None:
        """Connect. Raises RetriableError, RefusedError, ConfigError."""

    def close(self) -> None:
        """Give everything back; what is on its way is not waited for."""

    def rows(self, cql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement gives, which writes none. Raises ConnectError."""

    def change(self, cql: str) -> None:
        """Run a statement that changes the schema. Raises ConnectError."""

    def prepare(self, statement: Statement) -> None:
        """Have Cassandra look at a statement, once a connection. Raises ConnectError."""

    def execute_async(self, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> Any:
        """Write rows; the driver's future of it. Raises what the driver raises, ConnectError for the statement."""

    def hosts_of(self, keyspace: str) -> HostsOf:
        """What names the hosts that keep a partition of this keyspace."""
