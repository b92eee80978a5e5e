"""Certificates and keys as Java's users keep them, into a context of Python's: for a server and for a client.

    Stores(prefix="ssl.", location="me.p12", password="...")    what keys say; those are named when something is wrong
    load_key(context, stores)      who we are: certificate, chain and key
    load_trust(context, stores)    whom we believe: certificates of authorities

What a store is, its content says: PEM (everything in one file) or PKCS12, which Java's tools write too. A store in
Java's own format is refused with the command that converts it.

Used by: engine.config.tls (serves REST), converters.registry.tls (asks a registry).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from engine.api.errors import ConfigError, Problem

__all__ = ["Stores", "load_key", "load_trust"]

_JKS = b"\xfe\xed\xfe\xed"
_PEM = b"-----BEGIN"


class Stores(Struct, frozen=True):
    """What one side of a connection shows and whom it believes; never logged: it holds secrets."""

    prefix: str  # of the keys that said so, for messages: "ssl."
    location: str | None = None
    password: str | None = None
    key_password: str | None = None  # None: the keystore's
    pem: str = ""  # certificate, chain and key, where they are not in a file
    trust_location: str | None = None
    trust_password: str | None = None
    trust_pem: str = ""

    @property
    def has_key(self) -> bool:
        """Whether there is something to show."""
        return self.location is not None or bool(self.pem)

    @property
    def has_trust(self) -> bool:
        """Whether somebody is named who is believed."""
        return self.trust_location is not None or bool(self.trust_pem)

    @property
    def files(self) -> tuple[str, ...]:
        """Those that it stands in."""
        return tuple(path for path in (self.location, self.trust_location) if path is not None)


def load_key(context: ssl.SSLContext, stores: Stores) -> None:
    """Let a context show what the stores hold now. Raises ConfigError that names the key."""
    password = stores.key_password or stores.password or ""
    pem = stores.pem.encode()
    if stores.location is not None:
        pem = _pem_of(stores, "keystore", stores.location, stores.password)
    try:
        with _as_file(pem) as path:
            # A callable: what is asked for at the terminal otherwise, and waited for, is a password that is missing.
            context.load_cert_chain(path, password=lambda: password)
    except (ssl.SSLError, ValueError) as error:
        reason = "expected a certificate and its key, without a password or with the one of ssl.key.password"
        raise _error(stores, "keystore.location", stores.location or "its key", reason) from error


def load_trust(context: ssl.SSLContext, stores: Stores) -> None:
    """Let a context believe the authorities that the stores hold now. Raises ConfigError that names the key."""
    pem = stores.trust_pem.encode()
    if stores.trust_location is not None:
        pem = _pem_of(stores, "truststore", stores.trust_location, stores.trust_password)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        shown = stores.trust_location or "ssl.truststore.certificates"
        raise _error(stores, "truststore.location", shown, "expected certificates in it") from error


def _pem_of(stores: Stores, kind: str, location: str, password: str | None) -> bytes:
    """What a store holds, as PEM."""
    try:
        content = Path(location).read_bytes()
    except OSError as error:
        raise _error(stores, f"{kind}.location", location, f"{error.strerror}; expected a file to read") from error
    if content.lstrip().startswith(_PEM):
        return content
    if content.startswith(_JKS):
        command = f"keytool -importkeystore -srckeystore {location} -destkeystore {kind}.p12 -deststoretype PKCS12"
        reason = f"Java's own format is not read; expected PEM or PKCS12: {command}"
        raise _error(stores, f"{kind}.location", location, reason)
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
        raise _error(stores, f"{kind}.location", location, reason) from error
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


def _error(stores: Stores, name: str, value: str, reason: str) -> ConfigError:
    key = f"{stores.prefix}{name}"
    return ConfigError([Problem(key, f"Invalid value {value} for configuration {key}: {reason}")])
