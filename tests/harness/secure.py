"""A real broker whose users come by TLS and name themselves: SCRAM-SHA-256 or PLAIN, with rights per topic.

    with SecureKafka(folder) as kafka:
        kafka.add_user("alice", "wonderland")
        Producer(kafka.client("alice", "wonderland"))                       {"security.protocol": "SASL_SSL", ...}
        Producer(kafka.client("carol", "looking-glass", mechanism="PLAIN"))
        kafka.deny("alice", "orders", operation="WRITE"); kafka.allow_again("alice", "orders")
        kafka.change_password("alice", "other"); kafka.remove_user("alice")
        kafka.renew_certificate()

The harness itself comes by `bootstrap`, in plain text, and may do everything. So may everybody with a topic about which
nothing has been said. Users of PLAIN stand in the broker's properties, as in real life: `plain` of the constructor, or
`set_plain_users` and a restart. A password that was changed is asked for at the next connection, or after
`reauthentication_ms` of an old one: then a client that cannot answer is cut off.

Used by: tests/faults, tests/kafka/test_rig.py.
Not here: the certificates themselves (certificates.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # most are not in __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from tests.harness import wait
from tests.harness.certificates import Authority
from tests.harness.kafka import Entrance, KafkaServer, Seat
from tests.harness.server import free_ports

__all__ = ["SecureKafka"]

ANSWER_S = 20.0
ANY_HOST: Any = None  # of a filter; its types want a name
SCRAM = "SCRAM-SHA-256"
SCRAM_ROUNDS = 4096
LISTENER = "listener.name.users"
#: A user of PLAIN that is always there.
PLAIN_USERS = {"carol": "looking-glass"}


class SecureKafka(KafkaServer):
    """One broker with two doors: `bootstrap` for the harness, `users_bootstrap` for everybody else."""

    name = "secure-kafka"

    def __init__(
        self,
        folder: Path,
        *,
        plain: Mapping[str, str] = PLAIN_USERS,
        reauthentication_ms: int = 0,
        advertised_port: int | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """plain: passwords by user; reauthentication_ms: how long a login holds, 0 for as long as its connection.

        advertised_port: of a proxy before it.
        """
        self._certificates = folder / "certificates"
        self._renewals = 0
        self.authority = Authority(self._certificates)
        certificate = self.authority.issue(self._certificates / "broker-0.pem", "broker")
        (port,) = free_ports(1)
        self.users_port = port
        self.users_bootstrap = f"127.0.0.1:{advertised_port or port}"
        super().__init__(
            folder,
            heap="256m",
            properties={
                **_tls(certificate),
                **_sasl(reauthentication_ms),
                **_plain(plain),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",  # the harness and the controller, who come in plain text
                "allow.everyone.if.no.acl.found": "true",
                **(properties or {}),
            },
            seat=Seat.alone(),
            entrance=Entrance(port, advertised_port or port, "SASL_SSL"),
        )

    def client(self, user: str, password: str, *, mechanism: str = SCRAM) -> dict[str, str]:
        """Settings of a Kafka client, as librdkafka and as Millrace's files take them, with the servers."""
        return {
            "bootstrap.servers": self.users_bootstrap,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.username": user,
            "sasl.password": password,
            "ssl.ca.location": str(self.authority.file),
        }

    def add_user(self, user: str, password: str) -> None:
        """Let a user come by SCRAM; one that is there has this password from now on."""
        about = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, SCRAM_ROUNDS)
        self._alter_users(UserScramCredentialUpsertion(user, about, password.encode()))

    change_password = add_user

    def remove_user(self, user: str) -> None:
        """Take a user of SCRAM away."""
        self._alter_users(UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_256))

    def set_plain_users(self, passwords: Mapping[str, str]) -> None:
        """Have these users of PLAIN and no others, from the next start on."""
        self.configure(_plain(passwords))

    def deny(self, user: str, topic: str, *, operation: str = "ALL") -> None:
        """Refuse an operation on a topic (READ, WRITE, DESCRIBE, ALL) to a user; returns when it is refused."""
        admin = self._admin()
        rule = AclBinding(*self._about(topic), f"User:{user}", "*", AclOperation[operation], AclPermissionType.DENY)
        everybody = AclBinding(*self._about(topic), "User:*", "*", AclOperation.ALL, AclPermissionType.ALLOW)
        for future in admin.create_acls([rule, everybody]).values():
            future.result(ANSWER_S)

    def allow_again(self, user: str, topic: str) -> None:
        """Take back all that was denied to a user on a topic."""
        admin = self._admin()
        rules = AclBindingFilter(
            *self._about(topic), f"User:{user}", ANY_HOST, AclOperation.ANY, AclPermissionType.DENY
        )
        for future in admin.delete_acls([rules]).values():
            future.result(ANSWER_S)

    def renew_certificate(self, *, days: int = 1, authority: Authority | None = None) -> None:
        """Put another certificate into the running broker; returns when new connections meet it.

        authority: another than the one that clients trust, to be refused by them.
        """
        self._renewals += 1  # a file of its own: a place that is set to what it was is no change
        renewed = self._certificates / f"broker-{self._renewals}.pem"
        (authority or self.authority).issue(renewed, "broker", days=days)
        where = f"{LISTENER}.ssl.keystore.location"
        self.configure({where: str(renewed)})
        entry = ConfigEntry(where, str(renewed), incremental_operation=AlterConfigOpType.SET)
        broker = ConfigResource(ConfigResource.Type.BROKER, str(self.seat.node), incremental_configs=[entry])
        admin = self._admin()
        admin.incremental_alter_configs([broker])[broker].result(ANSWER_S)
        served = ("127.0.0.1", self.users_port)
        wait.until(
            lambda: ssl.get_server_certificate(served, timeout=ANSWER_S).strip() in renewed.read_text(),
            "renewed certificate",
        )

    def _alter_users(self, change: Any) -> None:
        admin = self._admin()
        for future in admin.alter_user_scram_credentials([change]).values():
            future.result(ANSWER_S)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})

    @staticmethod
    def _about(topic: str) -> tuple[Any, str, Any]:
        return ResourceType.TOPIC, topic, ResourcePatternType.LITERAL


def _tls(certificate: Path) -> dict[str, str]:
    return {
        f"{LISTENER}.ssl.keystore.type": "PEM",
        f"{LISTENER}.ssl.keystore.location": str(certificate),
    }


def _sasl(reauthentication_ms: int) -> dict[str, str]:
    return {
        f"{LISTENER}.sasl.enabled.mechanisms": f"{SCRAM},PLAIN",
        f"{LISTENER}.scram-sha-256.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        f"{LISTENER}.scram-sha-256.connections.max.reauth.ms": str(reauthentication_ms),
        f"{LISTENER}.plain.connections.max.reauth.ms": str(reauthentication_ms),
    }


def _plain(passwords: Mapping[str, str]) -> dict[str, str]:
    users = " ".join(f'user_{user}="{password}"' for user, password in passwords.items())
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {f"{LISTENER}.plain.sasl.jaas.config": f"{module} required {users};"}
