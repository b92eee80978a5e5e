"""Settings of Java's Kafka clients that librdkafka names differently, or does not have.

    renamed      librdkafka has an equal                        translated
    ignored      nothing of it matters to a line                accepted with a warning
    refused      it would change what happens, and cannot       an error that says what to use

Interceptors are a program's own code between a client and its records: they can change all that a record is, and what
leaves one out may send the wrong thing. So they are refused, but for those that are known to touch no key and no value:
Confluent's, which count for its Control Center, and those of Brave (Zipkin) and OpenTelemetry, which trace. Their own
settings go with them.

Source: Kafka 4.3's ProducerConfig and ConsumerConfig; Kafka Connect's reference, appendix A; brave-kafka-interceptor's
README, for settings that begin with "zipkin." (OpenTelemetry's are no settings of clients).

Used by: the other readers of client settings in this folder, engine.config.document.
Not here: keystores, truststores, JAAS (clients_security.py), rules of several settings (clients.py).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ASSIGNORS",
    "IGNORED",
    "INTERCEPTORS",
    "INTERCEPTOR_SETTINGS",
    "JAVA_NAMES",
    "PASSIVE_CLASSES",
    "PASSIVE_INTERCEPTORS",
    "REFUSED",
    "RENAMED",
    "RENAMED_OF",
    "UNKNOWN_INTERCEPTOR",
]

#: Java's name to librdkafka's, for both clients.
RENAMED: Mapping[str, str] = {
    "send.buffer.bytes": "socket.send.buffer.bytes",
    "receive.buffer.bytes": "socket.receive.buffer.bytes",
    "max.request.size": "message.max.bytes",
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "buffer.memory": "queue.buffering.max.kbytes",
}
#: As RENAMED, where the clients differ. Java's metadata.max.age.ms is how often it looks for new topics; librdkafka
#: calls that by another name, and has a setting of this name too: how long an answer is believed.
RENAMED_OF: Mapping[str, Mapping[str, str]] = {
    "producer": {"metadata.max.age.ms": "topic.metadata.refresh.interval.ms"},
    "consumer": {
        "metadata.max.age.ms": "topic.metadata.refresh.interval.ms",
        "request.timeout.ms": "socket.timeout.ms",
    },
    "admin": {
        "metadata.max.age.ms": "topic.metadata.refresh.interval.ms",
        "request.timeout.ms": "socket.timeout.ms",
    },
}

_METRICS = "metrics are served to Prometheus (metrics.port, metrics.file)"
_JVM = "it belongs to Java's cryptography; librdkafka uses OpenSSL"
_LOGIN = "librdkafka refreshes logins by itself"

#: Java's names that change nothing here, each with the reason that the warning gives.
IGNORED: Mapping[str, str] = {
    "metric.reporters": _METRICS,
    "metrics.sample.window.ms": _METRICS,
    "metrics.num.samples": _METRICS,
    "metrics.recording.level": _METRICS,
    "auto.include.jmx.reporter": _METRICS,
    "max.block.ms": "a source waits for room as long as it takes",
    "socket.connection.setup.timeout.max.ms": "librdkafka has one time budget, socket.connection.setup.timeout.ms",
    "metadata.max.idle.ms": "librdkafka keeps what it knows of the topics it uses",
    "partitioner.adaptive.partitioning.enable": "records without a key go to the partitions in turn",
    "partitioner.availability.timeout.ms": "records without a key go to the partitions in turn",
    "compression.gzip.level": "its compression.type is not in use",
    "compression.lz4.level": "its compression.type is not in use",
    "compression.zstd.level": "its compression.type is not in use",
    "transaction.timeout.ms": "there are no transactions yet",
    "transaction.two.phase.commit.enable": "there are no transactions yet",
    "default.api.timeout.ms": "the worker's startup.timeout.ms bounds the search for brokers and offsets",
    "auto.commit.interval.ms": "offsets are committed at the worker's offset.flush.interval.ms",
    "internal.leave.group.on.close": "a task leaves its group when it stops for good",
    "internal.throw.on.fetch.stable.offset.unsupported": "it is internal to Java's client",
    "config.providers": "providers are the worker's",
    "security.providers": _JVM,
    "ssl.protocol": _JVM,
    "ssl.enabled.protocols": _JVM,
    "ssl.provider": _JVM,
    "ssl.secure.random.implementation": _JVM,
    "ssl.trustmanager.algorithm": _JVM,
    "ssl.keymanager.algorithm": _JVM,
    "sasl.kerberos.ticket.renew.jitter": _LOGIN,
    "sasl.kerberos.ticket.renew.window.factor": _LOGIN,
    "sasl.login.refresh.window.factor": _LOGIN,
    "sasl.login.refresh.window.jitter": _LOGIN,
    "sasl.login.refresh.min.period.seconds": _LOGIN,
    "sasl.login.refresh.buffer.seconds": _LOGIN,
    "sasl.login.connect.timeout.ms": _LOGIN,
    "sasl.login.read.timeout.ms": _LOGIN,
    "sasl.login.retry.backoff.ms": _LOGIN,
    "sasl.login.retry.backoff.max.ms": _LOGIN,
}

INTERCEPTORS = "interceptor.classes"
_NOT_WATCHED = "Java's interceptors are not loaded: Confluent's Control Center will not see this client"
_NOT_TRACED = (
    "Java's interceptors are not loaded: there will be no spans of this client, and its records get no trace headers"
)
#: Interceptors that only watch or trace, each with what will be missing.
PASSIVE_INTERCEPTORS: Mapping[str, str] = {
    f"{package}{client}Interceptor": missing
    for package, missing in (
        ("io.confluent.monitoring.clients.interceptor.Monitoring", _NOT_WATCHED),
        ("brave.kafka.interceptor.Tracing", _NOT_TRACED),
        ("io.opentelemetry.instrumentation.kafkaclients.Tracing", _NOT_TRACED),
        ("io.opentelemetry.instrumentation.kafkaclients.v2_6.Tracing", _NOT_TRACED),
    )
    for client in ("Producer", "Consumer")
}
#: How the names of their settings begin.
INTERCEPTOR_SETTINGS: Mapping[str, str] = {"confluent.monitoring.interceptor.": _NOT_WATCHED, "zipkin.": _NOT_TRACED}

UNKNOWN_INTERCEPTOR = (
    "Java's interceptors are not loaded, and may change records: leave out one that only watches, and let a transform "
    "do the work of one that does more"
)

_OIDC = (
    "use sasl.oauthbearer.method=oidc with sasl.oauthbearer.client.credentials.client.id, "
    "sasl.oauthbearer.client.credentials.client.secret and sasl.oauthbearer.token.endpoint.url"
)

#: Java's names that cannot be left out of account, each with what to use.
REFUSED: Mapping[str, str] = {
    "sasl.login.class": f"Java's login classes are not loaded; {_OIDC}",
    "sasl.login.callback.handler.class": f"Java's login classes are not loaded; {_OIDC}",
    "sasl.client.callback.handler.class": f"Java's login classes are not loaded; {_OIDC}",
    INTERCEPTORS: f"{UNKNOWN_INTERCEPTOR}. Those of Confluent's monitoring, of Brave and of OpenTelemetry are left "
    "out with a warning",
    "ssl.engine.factory.class": "Java's classes are not loaded; use ssl.ca.location, ssl.certificate.location and "
    "ssl.key.location with PEM files",
    "group.remote.assignor": "it belongs to group.protocol=consumer, which is not built yet; leave both out",
}

#: (De)serializers that do nothing to what a converter has made, or would not here.
PASSIVE_CLASSES = frozenset(
    f"org.apache.kafka.common.serialization.{kind}{side}"
    for kind in ("ByteArray", "String")
    for side in ("Serializer", "Deserializer")
)

_CLIENTS = "org.apache.kafka.clients.consumer."

#: Java's assignors to librdkafka's.
ASSIGNORS: Mapping[str, str] = {
    f"{_CLIENTS}RangeAssignor": "range",
    f"{_CLIENTS}RoundRobinAssignor": "roundrobin",
    f"{_CLIENTS}CooperativeStickyAssignor": "cooperative-sticky",
    "range": "range",
    "roundrobin": "roundrobin",
    "cooperative-sticky": "cooperative-sticky",
}

#: Handled one by one in clients.py and clients_security.py.
_SPECIAL = (
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "exclude.internal.topics",
    "partitioner.class",
    "partitioner.ignore.keys",
    "sasl.jaas.config",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
    "ssl.truststore.certificates",
    "ssl.keystore.type",
    "ssl.keystore.key",
    "ssl.keystore.certificate.chain",
)

JAVA_NAMES = frozenset({*RENAMED, *IGNORED, *REFUSED, *_SPECIAL, "delivery.timeout.ms", "request.timeout.ms"})
