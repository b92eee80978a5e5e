"""TLS of the REST interface: its keys, as Kafka Connect names them, and the context that they make.

    listeners.https.ssl.keystore.location=me.pem     any key with the prefix: those with it count, and no other
    ssl.keystore.location=me.p12                     else those without

Used by: engine.config.rest (reads), engine.control.http (serves).
Not here: the stores themselves (engine.api.tls), TLS towards Kafka (clients_security.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from engine.api.config import Config, Password
from engine.api.errors import ConfigError, Problem
from engine.api.tls import Stores, load_key, load_trust

__all__ = [
    "ADMIN_HTTPS",
    "HTTPS",
    "HTTPS_PREFIXES",
    "TLS_IGNORED",
    "Tls",
    "TlsKeys",
    "make_context",
    "read_tls",
    "renew",
]

HTTPS, ADMIN_HTTPS = "listeners.https.", "admin.listeners.https."
HTTPS_PREFIXES = (ADMIN_HTTPS, HTTPS)
#: Java's, without effect here, with the reason.
TLS_IGNORED: Mapping[str, str] = {
    **dict.fromkeys(("ssl.keystore.type", "ssl.truststore.type"), "what a store is, its content says"),
    **dict.fromkeys(
        (
            "ssl.protocol",
            "ssl.provider",
            "ssl.secure.random.implementation",
            "ssl.keymanager.algorithm",
            "ssl.trustmanager.algorithm",
            "ssl.engine.factory.class",
        ),
        "it is about Java's own TLS",
    ),
    "ssl.endpoint.identification.algorithm": "a server does not look for the names of its clients",
}


_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {"required": ssl.CERT_REQUIRED, "requested": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


class TlsKeys(Config, frozen=True, kw_only=True):
    """Keys of https listeners; with the prefix `listeners.https.` or `admin.listeners.https.`, or without."""

    keystore_location: Annotated[
        str | None, Meta(description="File with the certificate, its chain and the key: PEM or PKCS12.")
    ] = field(name="ssl.keystore.location", default=None)
    keystore_password: Annotated[Password | None, Meta(description="Of a PKCS12 keystore.")] = field(
        name="ssl.keystore.password", default=None
    )
    key_password: Annotated[
        Password | None, Meta(description="Of the key in a PEM file. Absent: the keystore's password.")
    ] = field(name="ssl.key.password", default=None)
    certificate_chain: Annotated[str | None, Meta(description="Certificate and chain as PEM, instead of a file.")] = (
        field(name="ssl.keystore.certificate.chain", default=None)
    )
    key: Annotated[Password | None, Meta(description="The key as PEM, instead of a file.")] = field(
        name="ssl.keystore.key", default=None
    )
    truststore_location: Annotated[
        str | None, Meta(description="File with the authorities of clients' certificates: PEM or PKCS12.")
    ] = field(name="ssl.truststore.location", default=None)
    truststore_password: Annotated[Password | None, Meta(description="Of a PKCS12 truststore.")] = field(
        name="ssl.truststore.password", default=None
    )
    truststore_certificates: Annotated[str | None, Meta(description="Authorities as PEM, instead of a file.")] = field(
        name="ssl.truststore.certificates", default=None
    )
    client_auth: Annotated[
        Literal["required", "requested", "none"], Meta(description="Whether clients show a certificate.")
    ] = field(name="ssl.client.auth", default="none")
    enabled_protocols: Annotated[list[str], Meta(description="TLSv1.2, TLSv1.3 or both.")] = field(
        name="ssl.enabled.protocols", default_factory=lambda: ["TLSv1.2", "TLSv1.3"]
    )
    cipher_suites: Annotated[
        list[str], Meta(description="Ciphers of TLSv1.2 by OpenSSL's names, separated by commas. Empty: Python's.")
    ] = field(name="ssl.cipher.suites", default_factory=list)


class Tls(Struct, frozen=True):
    """How one listener speaks TLS; never logged: it holds secrets."""

    stores: Stores
    client_auth: str
    versions: tuple[str, ...]
    ciphers: str  # empty: the default

    @property
    def files(self) -> tuple[str, ...]:
        """Those that it stands in."""
        return self.stores.files


def read_tls(properties: Mapping[str, str], prefix: str) -> Tls:
    """The keys with this prefix or, if there is none of them, those without. Raises ConfigError with every problem."""
    own = {key.removeprefix(prefix): value for key, value in properties.items() if key.startswith(prefix)}
    used = prefix if own else ""
    given = own or properties
    try:
        keys = TlsKeys.parse({name: given.get(name) for name in given})
    except ConfigError as error:
        raise ConfigError([_prefixed(problem, used) for problem in error.problems]) from error
    chain, key = keys.certificate_chain, keys.key
    stores = Stores(
        prefix=f"{used}ssl.",
        location=keys.keystore_location,
        password=_revealed(keys.keystore_password),
        key_password=_revealed(keys.key_password),
        pem="" if chain is None or key is None else f"{key.reveal()}\n{chain}\n",
        trust_location=keys.truststore_location,
        trust_password=_revealed(keys.truststore_password),
        trust_pem=keys.truststore_certificates or "",
    )
    tls = Tls(stores, keys.client_auth, tuple(keys.enabled_protocols), ":".join(keys.cipher_suites))
    make_context(tls)
    return tls


def renew(context: ssl.SSLContext, tls: Tls) -> None:
    """Let a context that serves have what the files hold now, for connections to come.

    Authorities that were taken away count until the process ends. Raises ConfigError; then it is as before.
    """
    make_context(tls)  # half of a new pair would spoil the one that serves
    load_key(context, tls.stores)
    if tls.client_auth != "none":
        load_trust(context, tls.stores)


def make_context(tls: Tls) -> ssl.SSLContext:
    """A server's context; its files are read now. Raises ConfigError that names the key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    unknown = [version for version in tls.versions if version not in _VERSIONS]
    if unknown or not tls.versions:
        raise _error(tls, "enabled.protocols", ",".join(tls.versions), "expected TLSv1.2, TLSv1.3 or both")
    versions = [_VERSIONS[version] for version in tls.versions]
    context.minimum_version, context.maximum_version = min(versions), max(versions)
    if tls.ciphers:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError as error:
            example = "expected OpenSSL's names, such as ECDHE-RSA-AES256-GCM-SHA384"
            raise _error(tls, "cipher.suites", tls.ciphers, example) from error
    if not tls.stores.has_key:
        key = f"{tls.stores.prefix}keystore.location"
        message = f"{key}: an https listener needs a certificate and its key; expected a PEM or PKCS12 file"
        raise ConfigError([Problem(key, message)])
    load_key(context, tls.stores)
    if tls.client_auth != "none":
        if not tls.stores.has_trust:
            example = "expected ssl.truststore.location beside it, a PEM or PKCS12 file of authorities"
            raise _error(tls, "client.auth", tls.client_auth, f"whose certificates? {example}")
        load_trust(context, tls.stores)
        context.verify_mode = _CLIENT_AUTH[tls.client_auth]
    return context


def _revealed(password: Password | None) -> str | None:
    return None if password is None else password.reveal()


def _prefixed(problem: Problem, prefix: str) -> Problem:
    return Problem(prefix + problem.key, problem.message.replace(problem.key, prefix + problem.key))


def _error(tls: Tls, name: str, value: str, reason: str) -> ConfigError:
    key = f"{tls.stores.prefix}{name}"
    return ConfigError([Problem(key, f"Invalid value {value} for configuration {key}: {reason}")])
