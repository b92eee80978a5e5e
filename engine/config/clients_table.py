"""Every setting that librdkafka 2.16 has, with the values it takes.

Source: librdkafka's CONFIGURATION.md; a test asks the installed librdkafka for each name.

Used by: the other readers of client settings in this folder, engine.config.worker, engine.config.document.
Not here: Java's names (clients_java.py), what is set for a line (clients.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from engine.config.clients_java import JAVA_NAMES

__all__ = ["ALIASES", "NATIVE", "OWNED", "Native", "is_client_key"]

_INT_MAX = 2**31 - 1


class Native(Struct, frozen=True):
    """One of librdkafka's settings."""

    kind: str  # "whole", "decimal", "flag", "choice", "text"
    low: int = 0
    high: int = 0
    choices: tuple[str, ...] = ()
    client: str = "both"  # "producer" or "consumer": the only one that has it


def _whole(low: int, high: int = _INT_MAX) -> Native:
    return Native("whole", low, high)


def _flag() -> Native:
    return Native("flag")


def _choice(*choices: str) -> Native:
    return Native("choice", choices=choices)


def _text() -> Native:
    return Native("text")


_BOTH: Mapping[str, Native] = {
    "client.id": _text(),
    "bootstrap.servers": _text(),
    "message.max.bytes": _whole(1000, 1_000_000_000),
    "message.copy.max.bytes": _whole(0, 1_000_000_000),
    "receive.message.max.bytes": _whole(1000),
    "max.in.flight.requests.per.connection": _whole(1, 1_000_000),
    "metadata.recovery.strategy": _choice("none", "rebootstrap"),
    "metadata.recovery.rebootstrap.trigger.ms": _whole(0),
    "topic.metadata.refresh.interval.ms": _whole(-1, 3_600_000),
    "metadata.max.age.ms": _whole(1, 86_400_000),
    "topic.metadata.refresh.fast.interval.ms": _whole(1, 60_000),
    "topic.metadata.refresh.fast.cnt": _whole(0, 1000),
    "topic.metadata.refresh.sparse": _flag(),
    "topic.metadata.propagation.max.ms": _whole(0, 3_600_000),
    "topic.blacklist": _text(),
    "debug": _text(),
    "socket.timeout.ms": _whole(10, 300_000),
    "socket.blocking.max.ms": _whole(1, 60_000),
    "socket.send.buffer.bytes": _whole(0, 100_000_000),
    "socket.receive.buffer.bytes": _whole(0, 100_000_000),
    "socket.keepalive.enable": _flag(),
    "socket.nagle.disable": _flag(),
    "socket.max.fails": _whole(0, 1_000_000),
    "broker.address.ttl": _whole(0, 86_400_000),
    "broker.address.family": _choice("any", "v4", "v6"),
    "socket.connection.setup.timeout.ms": _whole(1000),
    "connections.max.idle.ms": _whole(0),
    "reconnect.backoff.jitter.ms": _whole(0, 3_600_000),
    "reconnect.backoff.ms": _whole(0, 3_600_000),
    "reconnect.backoff.max.ms": _whole(0, 3_600_000),
    "retry.backoff.ms": _whole(1, 300_000),
    "retry.backoff.max.ms": _whole(1, 300_000),
    "statistics.interval.ms": _whole(0, 86_400_000),
    "log_level": _whole(0, 7),
    "log.thread.name": _flag(),
    "log.connection.close": _flag(),
    "enable.random.seed": _flag(),
    "internal.termination.signal": _whole(0, 128),
    "api.version.request": _flag(),
    "api.version.request.timeout.ms": _whole(1, 300_000),
    "api.version.fallback.ms": _whole(0, 604_800_000),
    "broker.version.fallback": _text(),
    "allow.auto.create.topics": _flag(),
    "client.rack": _text(),
    "client.dns.lookup": _choice("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"),
    "enable.metrics.push": _flag(),
    "security.protocol": _choice("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
    "ssl.cipher.suites": _text(),
    "ssl.curves.list": _text(),
    "ssl.sigalgs.list": _text(),
    "ssl.key.location": _text(),
    "ssl.key.password": _text(),
    "ssl.key.pem": _text(),
    "ssl.certificate.location": _text(),
    "ssl.certificate.pem": _text(),
    "ssl.ca.location": _text(),
    "ssl.ca.pem": _text(),
    "ssl.ca.certificate.stores": _text(),
    "ssl.crl.location": _text(),
    "ssl.keystore.location": _text(),
    "ssl.keystore.password": _text(),
    "ssl.providers": _text(),
    "ssl.engine.location": _text(),
    "ssl.engine.id": _text(),
    "https.ca.location": _text(),
    "https.ca.pem": _text(),
    "enable.ssl.certificate.verification": _flag(),
    "ssl.endpoint.identification.algorithm": _choice("none", "https"),
    "sasl.mechanism": _text(),
    "sasl.username": _text(),
    "sasl.password": _text(),
    "sasl.kerberos.service.name": _text(),
    "sasl.kerberos.principal": _text(),
    "sasl.kerberos.kinit.cmd": _text(),
    "sasl.kerberos.keytab": _text(),
    "sasl.kerberos.min.time.before.relogin": _whole(0, 86_400_000),
    "sasl.oauthbearer.config": _text(),
    "enable.sasl.oauthbearer.unsecure.jwt": _flag(),
    "sasl.oauthbearer.method": _choice("default", "oidc"),
    "sasl.oauthbearer.client.credentials.client.id": _text(),
    "sasl.oauthbearer.client.credentials.client.secret": _text(),
    "sasl.oauthbearer.scope": _text(),
    "sasl.oauthbearer.extensions": _text(),
    "sasl.oauthbearer.token.endpoint.url": _text(),
    "sasl.oauthbearer.sub.claim.name": _text(),
    "sasl.oauthbearer.grant.type": _choice("client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    "sasl.oauthbearer.assertion.algorithm": _choice("RS256", "ES256"),
    "sasl.oauthbearer.assertion.private.key.file": _text(),
    "sasl.oauthbearer.assertion.private.key.passphrase": _text(),
    "sasl.oauthbearer.assertion.private.key.pem": _text(),
    "sasl.oauthbearer.assertion.file": _text(),
    "sasl.oauthbearer.assertion.claim.aud": _text(),
    "sasl.oauthbearer.assertion.claim.exp.seconds": _whole(1),
    "sasl.oauthbearer.assertion.claim.iss": _text(),
    "sasl.oauthbearer.assertion.claim.jti.include": _flag(),
    "sasl.oauthbearer.assertion.claim.nbf.seconds": _whole(0),
    "sasl.oauthbearer.assertion.claim.sub": _text(),
    "sasl.oauthbearer.assertion.jwt.template.file": _text(),
    "sasl.oauthbearer.metadata.authentication.type": _choice("none", "azure_imds", "aws_iam"),
}
_PRODUCER: Mapping[str, Native] = {
    "acks": _whole(-1, 1000),
    "transactional.id": _text(),
    "transaction.timeout.ms": _whole(1000),
    "enable.idempotence": _flag(),
    "enable.gapless.guarantee": _flag(),
    "queue.buffering.max.messages": _whole(0),
    "queue.buffering.max.kbytes": _whole(1),
    "linger.ms": Native("decimal", 0, 900_000),
    "retries": _whole(0),
    "queue.buffering.backpressure.threshold": _whole(1, 1_000_000),
    "compression.type": _choice("none", "gzip", "snappy", "lz4", "zstd"),
    "compression.level": _whole(-1, 12),
    "batch.num.messages": _whole(1, 1_000_000),
    "batch.size": _whole(1),
    "delivery.report.only.error": _flag(),
    "sticky.partitioning.linger.ms": _whole(0, 900_000),
    "request.timeout.ms": _whole(1, 900_000),
    "message.timeout.ms": _whole(0),
    "queuing.strategy": _choice("fifo", "lifo"),
    "partitioner": _choice(
        "random", "consistent", "consistent_random", "murmur2", "murmur2_random", "fnv1a", "fnv1a_random"
    ),
}
_CONSUMER: Mapping[str, Native] = {
    "group.id": _text(),
    "group.instance.id": _text(),
    "partition.assignment.strategy": _text(),
    "session.timeout.ms": _whole(1, 3_600_000),
    "heartbeat.interval.ms": _whole(1, 3_600_000),
    "group.protocol.type": _text(),
    "group.protocol": _choice("classic", "consumer"),
    "group.remote.assignor": _text(),
    "coordinator.query.interval.ms": _whole(1, 3_600_000),
    "max.poll.interval.ms": _whole(1, 86_400_000),
    "enable.auto.commit": _flag(),
    "auto.commit.interval.ms": _whole(0, 86_400_000),
    "enable.auto.offset.store": _flag(),
    "queued.min.messages": _whole(1, 10_000_000),
    "queued.max.messages.kbytes": _whole(1, 2_097_151),
    "fetch.wait.max.ms": _whole(0, 300_000),
    "fetch.queue.backoff.ms": _whole(0, 300_000),
    "max.partition.fetch.bytes": _whole(1, 1_000_000_000),
    "fetch.max.bytes": _whole(0, 2_147_483_135),
    "fetch.min.bytes": _whole(0),
    "fetch.error.backoff.ms": _whole(0, 300_000),
    "isolation.level": _choice("read_uncommitted", "read_committed"),
    "enable.partition.eof": _flag(),
    "check.crcs": _flag(),
    "auto.offset.reset": _choice("smallest", "earliest", "beginning", "largest", "latest", "end", "error"),
    "max.poll.records": _whole(1),
}


def _of(client: str, table: Mapping[str, Native]) -> dict[str, Native]:
    return {
        name: Native(native.kind, native.low, native.high, native.choices, client) for name, native in table.items()
    }


NATIVE: Mapping[str, Native] = {**_BOTH, **_of("producer", _PRODUCER), **_of("consumer", _CONSUMER)}

#: Second names, each with the one that is used here.
ALIASES: Mapping[str, str] = {
    "metadata.broker.list": "bootstrap.servers",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "sasl.mechanisms": "sasl.mechanism",
    "sasl.oauthbearer.client.id": "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.secret": "sasl.oauthbearer.client.credentials.client.secret",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "queue.buffering.max.ms": "linger.ms",
    "message.send.max.retries": "retries",
    "compression.codec": "compression.type",
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "auto.commit.enable": "enable.auto.commit",
}

#: What delivery is built on: a user's value would break it. Each with what to do instead.
OWNED: Mapping[str, str] = {
    "enable.auto.offset.store": "offsets are committed once the sink has flushed",
    "enable.partition.eof": "ends of partitions end a bulk run, and only such a run is told of them",
    "enable.gapless.guarantee": "it is switched on with enable.idempotence, and off where records are sent one by one",
    "delivery.report.only.error": "every delivery is heard of",
    "transactional.id": "exactly-once is not built yet; leave it out",
    "queuing.strategy": "order is kept; leave it out",
    "group.protocol.type": "leave it out",
    "enable.random.seed": "leave it out",
    "internal.termination.signal": "leave it out",
    "statistics.interval.ms": "metrics are counted without it (metrics.port, metrics.file)",
}


def is_client_key(name: str) -> bool:
    """Whether a Kafka client, Java's or librdkafka, has a setting of this name."""
    return name in NATIVE or name in ALIASES or name in JAVA_NAMES or name.startswith(("ssl.", "sasl."))
