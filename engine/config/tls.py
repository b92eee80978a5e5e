"""TLS of the REST interface: its keys, as Kafka Connect names them, and the context that they make.

    listeners.https.ssl.keystore.location=me.pem     any key with the prefix: those with it count, and no other
    ssl.keystore.location=me.p12                     else those without

What a keystore is, its content says: PEM (certificate, chain and key in one file) or PKCS12, which Java's tools write
too. A store in Java's own format is refused with the command that converts it.

Used by: engine.config.rest (reads), engine.control.http (serves).
Not here: TLS towards Kafka (clients_security.py).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from engine.api.config import Config, Password
from engine.api.errors import ConfigError, Problem

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


_JKS = b"\xfe\xed\xfe\xed"
_PEM = b"-----BEGIN"
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

    prefix: str  # of the keys that said so, for messages
    location: str | None
    password: str | None
    key_password: str | None
    pem: str  # certificate, chain and key, where they are not in a file
    trust_location: str | None
    trust_password: str | None
    trust_pem: str
    client_auth: str
    versions: tuple[str, ...]
    ciphers: str  # empty: the default

    @property
    def files(self) -> tuple[str, ...]:
        """Those that it stands in."""
        return tuple(path for path in (self.location, self.trust_location) if path is not None)


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
    pem = "" if chain is None or key is None else f"{key.reveal()}\n{chain}\n"
    tls = Tls(
        prefix=used,
        location=keys.keystore_location,
        password=_revealed(keys.keystore_password),
        key_password=_revealed(keys.key_password),
        pem=pem,
        trust_location=keys.truststore_location,
        trust_password=_revealed(keys.truststore_password),
        trust_pem=keys.truststore_certificates or "",
        client_auth=keys.client_auth,
        versions=tuple(keys.enabled_protocols),
        ciphers=":".join(keys.cipher_suites),
    )
    make_context(tls)
    return tls


def renew(context: ssl.SSLContext, tls: Tls) -> None:
    """Let a context that serves have what the files hold now, for connections to come.

    Authorities that were taken away count until the process ends. Raises ConfigError; then it is as before.
    """
    make_context(tls)  # half of a new pair would spoil the one that serves
    _load_key(tls, context)
    if tls.client_auth != "none":
        _load_trust(tls, context)


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
    _load_key(tls, context)
    if tls.client_auth != "none":
        _load_trust(tls, context)
        context.verify_mode = _CLIENT_AUTH[tls.client_auth]
    return context


def _load_key(tls: Tls, context: ssl.SSLContext) -> None:
    if tls.location is None and not tls.pem:
        key = f"{tls.prefix}ssl.keystore.location"
        message = f"{key}: an https listener needs a certificate and its key; expected a PEM or PKCS12 file"
        raise ConfigError([Problem(key, message)])
    pem, password = tls.pem.encode(), tls.key_password
    if tls.location is not None:
        pem = _store(tls, "keystore", tls.location)
        if not pem.lstrip().startswith(_PEM):
            pem, password = _pem_of(tls, "keystore", tls.location, pem, tls.password), None
        elif password is None:
            password = tls.password
    try:
        with _as_file(pem) as path:
            # A callable: what is asked for at the terminal otherwise, and waited for, is a password that is missing.
            context.load_cert_chain(path, password=lambda: password or "")
    except (ssl.SSLError, ValueError) as error:
        shown = "its key" if tls.location is None else tls.location
        reason = "expected a certificate and its key, without a password or with the one of ssl.key.password"
        raise _error(tls, "keystore.location", shown, reason) from error


def _load_trust(tls: Tls, context: ssl.SSLContext) -> None:
    pem = tls.trust_pem.encode()
    if tls.trust_location is not None:
        pem = _store(tls, "truststore", tls.trust_location)
        if not pem.lstrip().startswith(_PEM):
            pem = _pem_of(tls, "truststore", tls.trust_location, pem, tls.trust_password)
    if not pem:
        reason = "whose certificates? expected ssl.truststore.location beside it, a PEM or PKCS12 file of authorities"
        raise _error(tls, "client.auth", tls.client_auth, reason)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except ssl.SSLError as error:
        shown = tls.trust_location or "ssl.truststore.certificates"
        raise _error(tls, "truststore.location", shown, "expected certificates in it") from error


def _store(tls: Tls, kind: str, location: str) -> bytes:
    try:
        content = Path(location).read_bytes()
    except OSError as error:
        raise _error(tls, f"{kind}.location", location, f"{error.strerror}; expected a file to read") from error
    if content.startswith(_JKS):
        command = f"keytool -importkeystore -srckeystore {location} -destkeystore {kind}.p12 -deststoretype PKCS12"
        reason = f"Java's own format is not read; expected PEM or PKCS12: {command}"
        raise _error(tls, f"{kind}.location", location, reason)
    return content


def _pem_of(tls: Tls, kind: str, location: str, content: bytes, password: str | None) -> bytes:
    """What a PKCS12 store holds."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  only who has such a store pays for it
        Encoding,
        NoEncryption,
        PrivateFormat,
        pkcs12,
    )

    try:
        store = pkcs12.load_pkcs12(content, None if password is None else password.encode())
    except ValueError as error:
        reason = f"neither PEM nor PKCS12, or not with the password of ssl.{kind}.password"
        raise _error(tls, f"{kind}.location", location, reason) from error
    parts = []
    if store.key is not None and kind == "keystore":
        parts.append(store.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificates = [store.cert, *store.additional_certs]
    parts += [one.certificate.public_bytes(Encoding.PEM) for one in certificates if one is not None]
    return b"".join(parts)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path for content that is on no disk: OpenSSL takes keys from files alone."""
    descriptor = os.memfd_create("millrace-tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _revealed(password: Password | None) -> str | None:
    return None if password is None else password.reveal()


def _prefixed(problem: Problem, prefix: str) -> Problem:
    return Problem(prefix + problem.key, problem.message.replace(problem.key, prefix + problem.key))


def _error(tls: Tls, name: str, value: str, reason: str) -> ConfigError:
    key = f"{tls.prefix}ssl.{name}"
    return ConfigError([Problem(key, f"Invalid value {value} for configuration {key}: {reason}")])
