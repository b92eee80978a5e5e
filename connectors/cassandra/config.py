"""The keys of the Cassandra sink; those of each table are read by mapping.py.

Used by: changes.py, mapping.py, rights.py, session.py, sink.py, tables.py, writer.py.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from engine.api.config import Config, Password

__all__ = ["CassandraSinkConfig", "Level"]

_INT_MAX = 2**31 - 1
_CONNECTION = {"group": "Cassandra", "width": "LONG"}
_WRITING = {"group": "Writing", "width": "SHORT"}
_TLS = {"group": "TLS", "width": "LONG"}

Level = Literal["ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "LOCAL_ONE"]


def _key(name: str, default: Any) -> Any:
    return field(name=name, default=default)


class CassandraSinkConfig(Config, frozen=True, kw_only=True):
    """Where Cassandra is, and how it is written to."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"consistency.level"})
    key_prefixes: ClassVar[tuple[str, ...]] = ("topic.",)

    contact_points: Annotated[
        list[str],
        Meta(
            min_length=1,
            description="Hosts of the cluster to ask first, separated by commas.",
            extra={**_CONNECTION, "importance": "HIGH"},
        ),
    ] = field(name="contact.points")
    port: Annotated[
        int, Meta(ge=1, le=65_535, description="The port of all hosts.", extra={**_CONNECTION, "importance": "HIGH"})
    ] = 9042
    local_datacenter: Annotated[
        str | None,
        Meta(
            description="The datacenter whose hosts are written to. Absent: that of the first contact point.",
            extra=_CONNECTION,
        ),
    ] = _key("local.datacenter", default=None)
    username: Annotated[str | None, Meta(description="Who we are. Absent: nobody.", extra=_CONNECTION)] = None
    password: Annotated[Password | None, Meta(description="The password of username.", extra=_CONNECTION)] = None
    credentials_file: Annotated[
        str | None,
        Meta(
            description="A file with the lines username=... and password=..., read for each connection; instead of "
            "username and password.",
            extra=_CONNECTION,
        ),
    ] = _key("credentials.file", default=None)
    connect_timeout_ms: Annotated[
        int, Meta(ge=1, le=_INT_MAX, description="How long a connection may take to come up.", extra=_CONNECTION)
    ] = _key("connect.timeout.ms", default=5_000)
    request_timeout_ms: Annotated[
        int, Meta(ge=1, le=_INT_MAX, description="How long a request may take to be answered.", extra=_CONNECTION)
    ] = _key("request.timeout.ms", default=12_000)

    consistency_level: Annotated[
        Level, Meta(description="How many replicas must have a row. A table may have its own.", extra=_WRITING)
    ] = _key("consistency.level", default="LOCAL_QUORUM")
    batch_by: Annotated[
        Literal["partition", "replicas"],
        Meta(
            description="What rows of one batch have in common: their partition, or the hosts that keep them.",
            extra=_WRITING,
        ),
    ] = _key("batch.by", default="partition")
    batch_rows: Annotated[
        int, Meta(ge=1, le=65_535, description="The most rows in one batch. 1: no batches.", extra=_WRITING)
    ] = _key("batch.rows", default=100)
    batch_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=_INT_MAX,
            description="The most bytes of values in one batch, unless a row alone has more.",
            extra=_WRITING,
        ),
    ] = _key("batch.bytes", default=5_000)
    requests_max: Annotated[
        int, Meta(ge=1, le=1_024, description="The most requests on their way at a time, of each task.", extra=_WRITING)
    ] = _key("requests.max", default=64)
    create_tables: Annotated[
        bool, Meta(description="Whether a missing table is made from the first record's schema.", extra=_WRITING)
    ] = _key("create.tables", default=False)
    add_columns: Annotated[
        bool, Meta(description="Whether a column that is missing is added from the schema.", extra=_WRITING)
    ] = _key("add.columns", default=False)

    tls: Annotated[bool, Meta(description="Whether connections are encrypted.", extra=_TLS)] = _key(
        "ssl.enabled", default=False
    )
    truststore_location: Annotated[
        str | None,
        Meta(
            description="File with the authorities of the hosts' certificates: PEM or PKCS12. Absent: the machine's.",
            extra=_TLS,
        ),
    ] = _key("ssl.truststore.location", default=None)
    truststore_password: Annotated[Password | None, Meta(description="Of a PKCS12 truststore.", extra=_TLS)] = _key(
        "ssl.truststore.password", default=None
    )
    truststore_certificates: Annotated[
        str | None, Meta(description="Authorities as PEM, instead of a file.", extra=_TLS)
    ] = _key("ssl.truststore.certificates", default=None)
    keystore_location: Annotated[
        str | None,
        Meta(description="File with the certificate, its chain and the key to show: PEM or PKCS12.", extra=_TLS),
    ] = _key("ssl.keystore.location", default=None)
    keystore_password: Annotated[Password | None, Meta(description="Of a PKCS12 keystore.", extra=_TLS)] = _key(
        "ssl.keystore.password", default=None
    )
    key_password: Annotated[
        Password | None, Meta(description="Of the key in a PEM file. Absent: the keystore's password.", extra=_TLS)
    ] = _key("ssl.key.password", default=None)
    endpoint_identification: Annotated[
        str, Meta(description="https: a host's certificate must be of its name. Empty: of any.", extra=_TLS)
    ] = _key("ssl.endpoint.identification.algorithm", default="https")
