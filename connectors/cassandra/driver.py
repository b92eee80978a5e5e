"""What of the driver is used, in one place; importing this imports it.

Used by: session.py, when a connection is wanted.
Source: the interface of cassandra-driver 3.29 and later; scylla-driver has the same, and was measured beside it
(docs/decisions/cassandra-driver.md).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from cassandra import ConsistencyLevel, ProtocolVersion
from cassandra.auth import PlainTextAuthenticator
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, BoundStatement, tuple_factory

__all__ = ["UNSET", "bound", "cluster"]

UNSET = UNSET_VALUE
# While a cluster is away it writes a traceback with each attempt. What matters our errors say, and the engine once.
logging.getLogger("cassandra").setLevel(logging.CRITICAL)


class _Logins:
    """Says who we are, anew for each connection; the shape of the driver's AuthProvider."""

    def __init__(self, login: Callable[[], tuple[str, str]]) -> None:
        self._login = login

    def new_authenticator(self, host: str) -> Any:
        """Of one connection."""
        return PlainTextAuthenticator(*self._login())


def cluster(
    hosts: Sequence[str],
    *,
    port: int,
    local_datacenter: str | None,
    login: Callable[[], tuple[str, str]] | None,
    ssl_context: ssl.SSLContext | None,
    connect_s: float,
    request_s: float,
    reconnect_s: tuple[float, float],
) -> Any:
    """A cluster that is not connected yet."""
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_datacenter or "")),
        request_timeout=request_s,
        row_factory=tuple_factory,
        consistency_level=ConsistencyLevel.LOCAL_ONE,
    )
    made = Cluster(
        list(hosts),
        port=port,
        auth_provider=None if login is None else _Logins(login),
        ssl_context=ssl_context,
        connect_timeout=connect_s,
        control_connection_timeout=connect_s,
        reconnection_policy=ExponentialReconnectionPolicy(*reconnect_s),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    # The driver begins with DSE's versions, and logs each step down. Not as an argument: older servers take version 4.
    made.protocol_version = ProtocolVersion.V5
    return made


def bound(prepared: Any, rows: Sequence[tuple[Any, ...]], consistency: str) -> Any:
    """A statement that writes rows, which are encoded already: one alone, or an unlogged batch."""
    level = ConsistencyLevel.name_to_value[consistency]
    one = BoundStatement(prepared, consistency_level=level)
    one.is_idempotent = True  # each row has its own time of writing, made once
    if len(rows) == 1:
        one.values = list(rows[0])
        return one
    batch = BatchStatement(BatchType.UNLOGGED, consistency_level=level)
    batch.is_idempotent = True
    for row in rows:
        one.values = row
        batch.add(one)
    return batch
