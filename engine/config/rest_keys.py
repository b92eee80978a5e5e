"""The worker's keys of its REST interface, declared: Kafka Connect's, with its defaults, and ours.

Used by: engine.config.worker_keys (they are the worker's), engine.config.rest (reads them).
Not here: keys of TLS, which may have a prefix (tls.py).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from engine.api.config import Config

__all__ = ["RestKeys"]

#: Smaller than this not even a modest configuration would fit.
_BODY_BYTES_MIN = 4096
#: Well below what a message between control and the supervisor takes (engine.shm.link).
_BODY_BYTES_MAX = 16 * 1024 * 1024


class RestKeys(Config, frozen=True, kw_only=True):
    """Where and how `millrace standalone` serves REST."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"rest.advertised.listener"})

    listeners: Annotated[
        list[str],
        Meta(
            min_length=1,
            description="Where `millrace standalone` serves REST: http://HOST:PORT or https://HOST:PORT, separated by "
            "commas; without host on all interfaces, with port 0 on one that is free. Keys of TLS stand below.",
        ),
    ] = field(default_factory=lambda: ["http://:8083"])
    admin_listeners: Annotated[
        list[str] | None,
        Meta(
            description="Where `/admin/loggers` is served, as `listeners`. Absent: on `listeners`; empty: nowhere.",
        ),
    ] = field(name="admin.listeners", default=None)
    rest_advertised_host_name: Annotated[
        str | None,
        Meta(description="The host in the worker's id. Absent: the advertised listener's or the machine's."),
    ] = field(name="rest.advertised.host.name", default=None)
    rest_advertised_port: Annotated[
        int | None, Meta(description="The port in the worker's id. Absent: that of the advertised listener.")
    ] = field(name="rest.advertised.port", default=None)
    rest_advertised_listener: Annotated[
        Literal["http", "https"] | None,
        Meta(description="Which listener the worker's id names: the first of this protocol. Absent: http if there is."),
    ] = field(name="rest.advertised.listener", default=None)
    access_control_allow_origin: Annotated[
        str,
        Meta(
            description="Origins whose pages may ask (CORS): `*`, or regular expressions, separated by commas. Empty: "
            "none, and no header of CORS is sent."
        ),
    ] = field(name="access.control.allow.origin", default="")
    access_control_allow_methods: Annotated[
        str, Meta(description="Methods that such pages may use. Empty: GET, POST and HEAD.")
    ] = field(name="access.control.allow.methods", default="")
    response_http_headers_config: Annotated[
        str,
        Meta(
            description="Headers of every answer: rules `ACTION NAME:VALUE`, separated by commas, one with a comma in "
            "double quotes. ACTION is set, add, setDate or addDate; the value of the last two is in ms from now."
        ),
    ] = field(name="response.http.headers.config", default="")
    rest_extension_classes: Annotated[
        list[str],
        Meta(
            description="Java's extensions of REST. One is understood: "
            "`org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension`, which wants "
            "java.security.auth.login.config beside it."
        ),
    ] = field(name="rest.extension.classes", default_factory=list)
    ssl_client_auth: Annotated[
        Literal["required", "requested", "none"],
        Meta(description="Whether clients of https listeners show a certificate, which the truststore has to know."),
    ] = field(name="ssl.client.auth", default="none")

    # Ours
    rest_access_file: Annotated[
        str | None,
        Meta(
            description="Ours. A TOML file of who may use REST: users with hashed passwords, and certificates, each "
            "with the role read or write (docs/operations.md). Absent: everybody may do everything."
        ),
    ] = field(name="rest.access.file", default=None)
    java_security_auth_login_config: Annotated[
        str | None,
        Meta(
            description="Ours; Kafka Connect's JVM takes it as -D. The JAAS file of the extension above: its entry "
            "`KafkaConnect` with a PropertyFileLoginModule. Whoever its file names may write."
        ),
    ] = field(name="java.security.auth.login.config", default=None)
    rest_body_bytes_max: Annotated[
        int,
        Meta(
            ge=_BODY_BYTES_MIN,
            le=_BODY_BYTES_MAX,
            description="Ours. A request's body beyond this is refused, and what would let a configuration become "
            "larger piece by piece: 413.",
        ),
    ] = field(name="rest.body.bytes.max", default=1024 * 1024)
    rest_connections_max: Annotated[
        int,
        Meta(
            ge=4,
            le=10_000,
            description="Ours. Connections of one listener; what comes beyond it is told to come back later: 503.",
        ),
    ] = field(name="rest.connections.max", default=100)
    rest_request_timeout_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=2**31 - 1,
            description="Ours. How long a request may take to arrive, its body included, before its connection is "
            "closed: 408.",
        ),
    ] = field(name="rest.request.timeout.ms", default=30_000)
