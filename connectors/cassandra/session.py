"""The connection to Cassandra: whom to ask, whom to believe, who we are.

The driver is imported when a connection is wanted. It has threads of its own, so that is in a task or a probe only.
What is read from files (certificates, name and password) is read anew for each connection of ours, and name and
password for each of the driver's too.

Used by: sink.py.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.errors import driver_is_missing, translated
from connectors.cassandra.link import HostsOf
from connectors.cassandra.plans import Statement
from engine.api.errors import ConfigError, Problem, RetriableError
from engine.api.tls import Stores, load_key, load_trust

__all__ = ["Link", "hosts_by", "user_of", "wrong_datacenter"]

RECONNECT_S = (0.5, 15.0)
CREDENTIALS = ("username", "password")


class Link:
    """One connection to a cluster; it may be closed and opened again."""

    def __init__(self, settings: CassandraSinkConfig, connect_s_max: float = math.inf) -> None:
        """connect_s_max: of all contact points together."""
        self._settings = settings
        self.connect_s = min(settings.connect_timeout_ms / 1000, connect_s_max / len(settings.contact_points))
        self._cluster: Any = None
        self._session: Any = None
        self._driver: Any = None
        self._life = 0  # counts connections: what was prepared in another is prepared again
        self.unset: Any = None

    @property
    def is_open(self) -> bool:
        return self._session is not None

    def open(self) -> None:
        """Connect. Raises RetriableError, RefusedError, ConfigError."""
        try:
            from connectors.cassandra import driver  # noqa: PLC0415  only with the extra
        except ImportError as error:
            raise driver_is_missing(error) from error
        settings = self._settings
        hosts = ", ".join(settings.contact_points)
        self._driver = driver
        cluster = driver.cluster(
            settings.contact_points,
            port=settings.port,
            local_datacenter=settings.local_datacenter,
            login=self._login(),
            ssl_context=tls_context(settings) if settings.tls else None,
            connect_s=self.connect_s,
            request_s=settings.request_timeout_ms / 1000,
            reconnect_s=RECONNECT_S,
        )
        try:
            self._session = cluster.connect()
        except Exception as error:
            wrong = wrong_datacenter(cluster.metadata, settings.local_datacenter)
            cluster.shutdown()
            if wrong is not None:
                raise ConfigError([wrong]) from error
            raise translated(error, f"connecting to {hosts}, port {settings.port}") from error
        self._cluster = cluster
        self._life += 1
        self.unset = driver.UNSET

    def close(self) -> None:
        """Give everything back; what is on its way is not waited for."""
        cluster, self._cluster, self._session = self._cluster, None, None
        if cluster is not None:
            cluster.shutdown()

    def rows(self, cql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement gives, which writes none. Raises ConnectError."""
        try:
            return list(self._session.execute(cql, tuple(values) or None))
        except Exception as error:
            raise translated(error, "reading the schema") from error

    def change(self, cql: str) -> None:
        """Run a statement that changes the schema. Raises ConnectError."""
        try:
            self._session.execute(cql)
        except Exception as error:
            raise translated(error, "changing the schema") from error

    def prepare(self, statement: Statement) -> None:
        """Have Cassandra look at a statement, once a connection. Raises ConnectError: no row is to blame."""
        if statement.life == self._life:
            return
        try:
            statement.prepared = self._session.prepare(statement.cql)
        except Exception as error:
            raise translated(error, f"preparing to write {statement.table.place}") from error
        statement.life = self._life

    def execute_async(self, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> Any:
        """Write rows; the driver's future of it. Raises what the driver raises, ConnectError for the statement."""
        self.prepare(statement)
        return self._session.execute_async(self._driver.bound(statement.prepared, rows, statement.consistency))

    def hosts_of(self, keyspace: str) -> HostsOf:
        """What names the hosts that keep a partition of this keyspace."""
        return hosts_by(self._cluster.metadata, keyspace)

    def _login(self) -> Any:
        settings = self._settings
        if settings.credentials_file is not None:
            read_credentials(settings.credentials_file)  # what is wrong with it is told at once
            return lambda: read_credentials(settings.credentials_file or "")
        if settings.username is None:
            return None
        pair = settings.username, settings.password.reveal() if settings.password is not None else ""
        return lambda: pair


def user_of(settings: CassandraSinkConfig) -> str | None:
    """The name that we log in with now; None: without one. Raises ConfigError, RetriableError."""
    if settings.credentials_file is not None:
        return read_credentials(settings.credentials_file)[0]
    return settings.username


def read_credentials(path: str) -> tuple[str, str]:
    """Name and password as the file says now. Raises ConfigError without a word of what it holds."""
    key = "credentials.file"
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        # Where secrets are put into files by others, it may come.
        raise RetriableError(f"{key}={path}: {error.strerror}; expected a file to read") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise ConfigError([Problem(key, f"Invalid value {path} for configuration {key}: {reason}")]) from error
    pairs = (line.partition("=") for line in lines if line.strip() and not line.lstrip().startswith("#"))
    found = {name.strip(): text.strip() for name, _, text in pairs}
    lacking = [name for name in CREDENTIALS if not found.get(name)]
    if lacking:
        reason = f"it has no line {' and no line '.join(f'{name}=...' for name in lacking)}"
        raise ConfigError([Problem(key, f"Invalid value {path} for configuration {key}: {reason}")])
    return found["username"], found["password"]


def wrong_datacenter(metadata: Any, name: str | None) -> Problem | None:
    """Why no host is written to, where hosts are known and none is in the datacenter of this name."""
    known = sorted({host.datacenter for host in metadata.all_hosts() if host.datacenter})
    if name is None or not known or name in known:
        return None
    key = "local.datacenter"
    reason = f"Invalid value {name} for configuration {key}: no host is there; expected one of {', '.join(known)}"
    return Problem(key, reason)


def hosts_by(metadata: Any, keyspace: str) -> HostsOf:
    """What names the hosts that keep a partition, by what the driver knows of the cluster."""
    if len(metadata.all_hosts()) == 1:
        return lambda _: None
    return lambda key: frozenset(metadata.get_replicas(keyspace, _routing_key(key)))


def tls_context(settings: CassandraSinkConfig) -> ssl.SSLContext:
    """A client's context; its files are read now. Raises ConfigError that names the key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = bool(settings.endpoint_identification)
    stores = Stores(
        prefix="ssl.",
        location=settings.keystore_location,
        password=settings.keystore_password and settings.keystore_password.reveal(),
        key_password=settings.key_password and settings.key_password.reveal(),
        trust_location=settings.truststore_location,
        trust_password=settings.truststore_password and settings.truststore_password.reveal(),
        trust_pem=settings.truststore_certificates or "",
    )
    if stores.has_trust:
        load_trust(context, stores)
    else:
        context.load_default_certs()
    if stores.has_key:
        load_key(context, stores)
    return context


def _routing_key(parts: Sequence[bytes]) -> bytes:
    """A partition key as it is hashed."""
    if len(parts) == 1:
        return parts[0]
    return b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in parts)
