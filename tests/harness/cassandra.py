"""A real Apache Cassandra on loopback, from its jars: a node in 5 s from start to ready, 1 GB; or several.

    with CassandraServer(folder) as cassandra:
        cassandra.keys()                         where it is and who may write, as keys of a connector
        with cassandra.session() as session:
            session.execute("CREATE KEYSPACE ...")
        cassandra.kill9(); cassandra.start()     the same data on the same port

    first = CassandraServer(folder / "1", SMALL, node=Node(1, ...))
    second = first.neighbour(folder / "2", Node(2, ...))

It wants a name and a password, and takes TLS (`authority` is whom to believe) as well as connections without; one of
several wants no name, which each would have to know. What it has acknowledged is on the disk: a kill loses none of it.

Used by: the fixture `cassandra` (tests/conftest.py), tests/cassandra, examples.__main__.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from msgspec import Struct

from tests.harness import wait
from tests.harness.certificates import Authority
from tests.harness.jars import QUICK, cached, fetch_by_maven, java
from tests.harness.server import Server, UnavailableError, answers, free_ports, require

__all__ = ["CASSANDRA_VERSION", "SMALL", "CassandraServer", "Node", "UserCassandra", "cassandra_of_user"]

CASSANDRA_VERSION = "5.0.6"
POM = Path(__file__).with_name("cassandra.pom.xml")
HOST = "127.0.0.1"
ASK_S = 20.0
LOGIN_S = 120.0
RECONNECT_S = 0.2
OPENSSL_S = 60.0
STORE_PASSWORD = "changeit"
#: The user that a new server has.
FIRST = ("cassandra", "cassandra")

#: Of several on one machine.
SMALL = ("-Xms256m", "-Xmx384m", *QUICK)

#: What Cassandra reaches for inside Java 17.
_EXPORTED = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/java.lang.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
)
_OPENED = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.management/com.sun.jmx.mbeanserver",
)
#: A node that is alone waits for nobody.
_ALONE = {
    "cassandra.auth_bcrypt_gensalt_log2_rounds": "4",  # a password costs a tenth of a second else
    "cassandra.ring_delay_ms": "1",
    "cassandra.skip_wait_for_gossip_to_settle": "0",
    "cassandra.superuser_setup_delay_ms": "0",
    "io.netty.tryReflectionSetAccessible": "true",
    "java.net.preferIPv4Stack": "true",
    "java.security.manager": "allow",
    "jdk.attach.allowAttachSelf": "true",
}
_SYNCED = ("commitlog_sync: batch",)
_SYNCED_LATE = ("commitlog_sync: periodic", "commitlog_sync_period: 10000ms")
_GUARDED = (
    "authenticator: PasswordAuthenticator",
    "authorizer: CassandraAuthorizer",
    "role_manager: CassandraRoleManager",
    "credentials_validity: 0ms",  # a password that was changed counts at once
)
_OPEN = ("authenticator: AllowAllAuthenticator", "authorizer: AllowAllAuthorizer")
_LOGGING = """<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""


def cassandra_of_user() -> str | None:
    """USER:PASSWORD@HOST:PORT of the Cassandra to test on instead of ours (MILLRACE_TEST_CASSANDRA)."""
    return os.environ.get("MILLRACE_TEST_CASSANDRA") or None


class _Reached:
    """What tests need of a Cassandra that is there."""

    host: str
    port: int
    login: tuple[str, str]

    def keys(self) -> dict[str, str]:
        """Of a connector that is to write to it."""
        username, password = self.login
        address = {"contact.points": self.host, "port": str(self.port)}
        return {**address, "username": username, "password": password}

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A session of the driver's own, for tests to look with."""
        driver = _driver()
        cluster = driver.cluster.Cluster(
            [self.host],
            port=self.port,
            auth_provider=driver.auth.PlainTextAuthProvider(*self.login),
            connect_timeout=ASK_S,
            reconnection_policy=driver.policies.ConstantReconnectionPolicy(RECONNECT_S, max_attempts=None),
        )
        try:
            yield cluster.connect()
        finally:
            cluster.shutdown()


class UserCassandra(_Reached):
    """A Cassandra of the user: used, never stopped."""

    def __init__(self, address: str) -> None:
        login, _, place = address.rpartition("@")
        username, _, password = login.partition(":")
        self.login = username, password
        self.host, _, port = place.rpartition(":")
        self.port = int(port)


class Node(Struct, frozen=True):
    """One of a cluster: at 127.0.0.NUMBER, with what comes up to its token behind the token of another."""

    number: int = 1
    token: int = 0
    datacenter: str = "datacenter1"
    is_alone: bool = True


ALONE = Node()


class CassandraServer(_Reached, Server):
    """A node of ours over `folder`; data and port stay the same from start to start."""

    name = "cassandra"
    login = FIRST

    def __init__(
        self,
        folder: Path,
        java_options: Sequence[str] = QUICK,
        *,
        is_synced: bool = True,
        node: Node = ALONE,
        ports: Sequence[int] = (),
    ) -> None:
        """Raises UnavailableError without the driver or the `openssl` program.

        is_synced: False: as Cassandra is by default, whose log reaches the disk every 10 s. ports: of its cluster.
        """
        super().__init__(folder)
        self._java_options = java_options
        self._is_synced = is_synced
        self._node = node
        self.host = f"127.0.0.{node.number}"
        _driver()
        self.port, self._storage_port, self._tls_storage_port = ports or free_ports(3)
        authority = Authority(folder / "tls")
        self.authority = authority.file
        self._keystore = _keystore(folder / "tls" / "node.p12", authority.issue(folder / "tls" / "node.pem", "node"))

    def neighbour(self, folder: Path, node: Node) -> CassandraServer:
        """Another node of its cluster, to be started after it."""
        ports = (self.port, self._storage_port, self._tls_storage_port)
        return CassandraServer(folder, self._java_options, is_synced=self._is_synced, node=node, ports=ports)

    def command(self) -> Sequence[str]:
        jars = cassandra_jars()
        agent = next(jars.glob("jamm-*.jar"))
        settings = {
            **_ALONE,
            "cassandra.config": f"file://{self._configuration}",
            "cassandra.storagedir": str(self.folder / "data"),
            "cassandra.initial_token": str(self._node.token),
            "cassandra-rackdc.properties": f"file://{self._place}",
            "logback.configurationFile": str(self.folder / "logback.xml"),
            "cassandra-foreground": "yes",
        }
        return [
            java("a real Cassandra"),
            *("-Xms512m", "-Xmx768m", "-Xss512k", *self._java_options),
            *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTED),
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENED),
            f"-javaagent:{agent}",
            *(f"-D{key}={value}" for key, value in settings.items()),
            *("-cp", f"{jars}/*", "org.apache.cassandra.service.CassandraDaemon"),
        ]

    def is_ready(self) -> bool:
        return answers(lambda: socket.create_connection((self.host, self.port), ASK_S).close(), OSError)

    def wait_ready(self) -> Self:
        """Return when it serves and its first user, who is made some time after that, is let in."""
        super().wait_ready()
        refused = _driver().cluster.NoHostAvailable
        wait.until(lambda: answers(self._look, refused), "first user of Cassandra", timeout_s=LOGIN_S)
        return self

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text("".join(f"{line}\n" for line in self._lines()))
        self._place.write_text(f"dc={self._node.datacenter}\nrack=rack1\n")
        (self.folder / "logback.xml").write_text(_LOGGING)
        super().launch()

    def _look(self) -> None:
        with self.session():
            pass

    @property
    def _configuration(self) -> Path:
        return self.folder / "cassandra.yaml"

    @property
    def _place(self) -> Path:
        return self.folder / "cassandra-rackdc.properties"

    def _lines(self) -> Iterator[str]:
        data = self.folder / "data"
        yield from (
            "cluster_name: millrace-tests",
            "num_tokens: 1",
            "partitioner: org.apache.cassandra.dht.Murmur3Partitioner",
            *(_SYNCED if self._is_synced else _SYNCED_LATE),
            "commitlog_segment_size: 16MiB",
            "endpoint_snitch: GossipingPropertyFileSnitch",
            "seed_provider:",
            "  - class_name: org.apache.cassandra.locator.SimpleSeedProvider",
            "    parameters:",
            f'      - seeds: "{HOST}:{self._storage_port}"',
            f"listen_address: {self.host}",
            f"rpc_address: {self.host}",
            "auto_bootstrap: false",
            f"storage_port: {self._storage_port}",
            f"ssl_storage_port: {self._tls_storage_port}",
            f"native_transport_port: {self.port}",
            "start_native_transport: true",
            f'data_file_directories: ["{data}/data"]',
            f"commitlog_directory: {data}/commitlog",
            f"saved_caches_directory: {data}/saved_caches",
            f"hints_directory: {data}/hints",
            f"cdc_raw_directory: {data}/cdc_raw",
            "memtable_heap_space: 128MiB",
            "memtable_offheap_space: 128MiB",
            "auto_snapshot: false",
            "materialized_views_enabled: true",
            "concurrent_reads: 8",
            "concurrent_writes: 8",
            *(_GUARDED if self._node.is_alone else _OPEN),
            "client_encryption_options:",
            "  enabled: true",
            "  optional: true",
            f"  keystore: {self._keystore}",
            f"  keystore_password: {STORE_PASSWORD}",
            "  store_type: PKCS12",
        )


def cassandra_jars() -> Path:
    """The folder that holds the jars, complete. The first call on a machine downloads them (66 MB)."""
    goal = ("-f", str(POM), "dependency:copy-dependencies")
    return cached(f"cassandra-{CASSANDRA_VERSION}", lambda folder: fetch_by_maven("Cassandra's jars", folder, *goal))


def _keystore(path: Path, pem: Path) -> Path:
    """A PKCS12 store of a certificate and its key, with STORE_PASSWORD."""
    command = [require("openssl", "TLS"), "pkcs12", "-export", "-in", str(pem), "-out", str(path)]
    subprocess.run([*command, "-passout", f"pass:{STORE_PASSWORD}"], check=True, capture_output=True, timeout=OPENSSL_S)
    return path


def _driver() -> Any:
    try:
        import cassandra.auth
        import cassandra.cluster
        import cassandra.policies
    except ImportError as error:
        raise UnavailableError(f"no driver for Cassandra ({error}): pip install 'millrace[cassandra]'") from error
    return cassandra
