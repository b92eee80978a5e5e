"""The keys of every converter with a schema registry, as Kafka Connect's users know them.

Keys about the connection may begin with `schema.registry.` or not; with it they come first.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from engine.api.config import Config, Password

__all__ = ["RegistryConfig"]

_INT_MAX = 2**31 - 1
_REGISTRY = {"group": "Schema Registry", "width": "LONG"}
_SUBJECTS = {"group": "Schemas", "width": "MEDIUM"}


def _key(name: str, default: Any) -> Any:
    return field(name=name, default=default)


class RegistryConfig(Config, frozen=True, kw_only=True):
    """Where schemas are kept, and how."""

    url: Annotated[
        list[str],
        Meta(
            min_length=1,
            title="Schema Registry URLs",
            description="Addresses of the schema registry, separated by commas; the next is asked when one is away.",
            extra={**_REGISTRY, "importance": "HIGH"},
        ),
    ] = field(name="schema.registry.url")
    auto_register: Annotated[
        bool,
        Meta(
            description="Whether a schema that the registry does not know is registered.",
            extra={**_SUBJECTS, "importance": "MEDIUM"},
        ),
    ] = _key("auto.register.schemas", default=True)
    use_schema_id: Annotated[
        int,
        Meta(
            ge=-1,
            le=_INT_MAX,
            description="Write everything under the schema of this id; auto.register.schemas must be false. -1: off.",
            extra={**_SUBJECTS, "importance": "LOW"},
        ),
    ] = _key("use.schema.id", default=-1)
    use_latest_version: Annotated[
        bool,
        Meta(
            description="Write under the subject's latest schema; auto.register.schemas must be false.",
            extra={**_SUBJECTS, "importance": "LOW"},
        ),
    ] = _key("use.latest.version", default=False)
    id_strict: Annotated[
        bool,
        Meta(
            description="Whether a value must have nothing that the schema of use.schema.id lacks.",
            extra={**_SUBJECTS, "importance": "LOW"},
        ),
    ] = _key("id.compatibility.strict", default=True)
    latest_strict: Annotated[
        bool,
        Meta(
            description="Whether a value must have nothing that the latest schema lacks.",
            extra={**_SUBJECTS, "importance": "LOW"},
        ),
    ] = _key("latest.compatibility.strict", default=True)
    latest_cache_seconds: Annotated[
        int,
        Meta(
            ge=-1,
            le=_INT_MAX,
            description="Seconds after which the latest version is asked for again; -1: never.",
            extra={**_SUBJECTS, "importance": "LOW"},
        ),
    ] = _key("latest.cache.ttl.sec", default=-1)
    normalize: Annotated[
        bool,
        Meta(
            description="Whether the registry normalizes schemas when it compares them.",
            extra={**_SUBJECTS, "importance": "LOW"},
        ),
    ] = _key("normalize.schemas", default=False)
    key_strategy: Annotated[
        str,
        Meta(
            description="What the subject of a key's schema is called after: Topic, Record or TopicRecord, or Java's "
            "name of the strategy.",
            extra={**_SUBJECTS, "importance": "MEDIUM"},
        ),
    ] = _key("key.subject.name.strategy", default="TopicNameStrategy")
    value_strategy: Annotated[
        str,
        Meta(
            description="As key.subject.name.strategy, for values.",
            extra={**_SUBJECTS, "importance": "MEDIUM"},
        ),
    ] = _key("value.subject.name.strategy", default="TopicNameStrategy")
    schemas_cache: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="How many schemas are kept ready, in each direction.",
            extra={**_SUBJECTS, "importance": "LOW"},
        ),
    ] = _key("schemas.cache.config", default=1000)
    basic_source: Annotated[
        Literal["URL", "USER_INFO"],
        Meta(
            description="Where name and password are: in the address, or in basic.auth.user.info.",
            extra={**_REGISTRY, "importance": "MEDIUM"},
        ),
    ] = _key("basic.auth.credentials.source", default="URL")
    basic_user_info: Annotated[
        Password | None,
        Meta(description="name:password, for basic.auth.credentials.source=USER_INFO.", extra=_REGISTRY),
    ] = _key("basic.auth.user.info", default=None)
    registry_basic_source: Annotated[
        Literal["URL", "USER_INFO"] | None,
        Meta(description="The same as basic.auth.credentials.source.", extra=_REGISTRY),
    ] = _key("schema.registry.basic.auth.credentials.source", default=None)
    registry_basic_user_info: Annotated[
        Password | None, Meta(description="The same as basic.auth.user.info.", extra=_REGISTRY)
    ] = _key("schema.registry.basic.auth.user.info", default=None)
    bearer_source: Annotated[
        Literal["STATIC_TOKEN"], Meta(description="Where the token is: in bearer.auth.token.", extra=_REGISTRY)
    ] = _key("bearer.auth.credentials.source", default="STATIC_TOKEN")
    bearer_token: Annotated[
        Password | None, Meta(description="A token that is sent with every request.", extra=_REGISTRY)
    ] = _key("bearer.auth.token", default=None)
    registry_bearer_token: Annotated[
        Password | None, Meta(description="The same as bearer.auth.token.", extra=_REGISTRY)
    ] = _key("schema.registry.bearer.auth.token", default=None)
    proxy_host: Annotated[
        str | None, Meta(description="An HTTP proxy on the way to the registry.", extra=_REGISTRY)
    ] = _key("proxy.host", default=None)
    proxy_port: Annotated[int, Meta(ge=-1, le=65_535, description="The port of proxy.host.", extra=_REGISTRY)] = _key(
        "proxy.port", default=-1
    )
    connect_timeout_ms: Annotated[
        int,
        Meta(
            ge=1, le=_INT_MAX, description="How long a connection to the registry may take to come up.", extra=_REGISTRY
        ),
    ] = _key("http.connect.timeout.ms", default=5_000)
    read_timeout_ms: Annotated[
        int, Meta(ge=1, le=_INT_MAX, description="How long the registry may take to answer.", extra=_REGISTRY)
    ] = _key("http.read.timeout.ms", default=15_000)
    truststore_location: Annotated[
        str | None,
        Meta(description="File with the authorities of the registry's certificate: PEM or PKCS12.", extra=_REGISTRY),
    ] = _key("schema.registry.ssl.truststore.location", default=None)
    truststore_password: Annotated[Password | None, Meta(description="Of a PKCS12 truststore.", extra=_REGISTRY)] = (
        _key("schema.registry.ssl.truststore.password", default=None)
    )
    truststore_certificates: Annotated[
        str | None, Meta(description="Authorities as PEM, instead of a file.", extra=_REGISTRY)
    ] = _key("schema.registry.ssl.truststore.certificates", default=None)
    keystore_location: Annotated[
        str | None,
        Meta(description="File with the certificate, its chain and the key to show: PEM or PKCS12.", extra=_REGISTRY),
    ] = _key("schema.registry.ssl.keystore.location", default=None)
    keystore_password: Annotated[Password | None, Meta(description="Of a PKCS12 keystore.", extra=_REGISTRY)] = _key(
        "schema.registry.ssl.keystore.password", default=None
    )
    key_password: Annotated[
        Password | None,
        Meta(description="Of the key in a PEM file. Absent: the keystore's password.", extra=_REGISTRY),
    ] = _key("schema.registry.ssl.key.password", default=None)
    certificate_chain: Annotated[
        str | None, Meta(description="Certificate and chain as PEM, instead of a file.", extra=_REGISTRY)
    ] = _key("schema.registry.ssl.keystore.certificate.chain", default=None)
    key: Annotated[Password | None, Meta(description="The key as PEM, instead of a file.", extra=_REGISTRY)] = _key(
        "schema.registry.ssl.keystore.key", default=None
    )
    endpoint_identification: Annotated[
        str,
        Meta(description="https: the certificate must be of the host's name. Empty: of any.", extra=_REGISTRY),
    ] = _key("schema.registry.ssl.endpoint.identification.algorithm", default="https")
