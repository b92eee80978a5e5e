"""The context in which a registry is spoken to over https: whom to believe, and what to show.

A store is PEM or PKCS12, which its content says; Java's own format is refused with the command that converts it.

Used by: client.py.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from converters.registry.config import RegistryConfig
from engine.api.config import Password
from engine.api.errors import ConfigError, Problem

__all__ = ["client_context"]

_PREFIX = "schema.registry.ssl."
_JKS = b"\xfe\xed\xfe\xed"
_PEM = b"-----BEGIN"


def client_context(config: RegistryConfig) -> ssl.SSLContext:
    """A client's context; its files are read now. Raises ConfigError that names the key."""
    context = ssl.create_default_context()
    if not config.endpoint_identification:
        context.check_hostname = False
    trust = (config.truststore_certificates or "").encode()
    if config.truststore_location is not None:
        trust = _read("truststore", config.truststore_location, config.truststore_password)
    if trust:
        try:
            context.load_verify_locations(cadata=trust.decode("ascii", "ignore"))
        except ssl.SSLError as error:
            raise _bad("truststore.location", "expected certificates in it") from error
    _show(config, context)
    return context


def _show(config: RegistryConfig, context: ssl.SSLContext) -> None:
    password = config.key_password or config.keystore_password
    if config.keystore_location is not None:
        pair = _read("keystore", config.keystore_location, config.keystore_password)
    elif config.key is not None and config.certificate_chain is not None:
        pair = f"{config.key.reveal()}\n{config.certificate_chain}\n".encode()
    else:
        return
    # On no disk: OpenSSL takes keys from files alone.
    descriptor = os.memfd_create("millrace-registry", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pair)
        # A callable, because a password that is missing would be asked for at the terminal.
        context.load_cert_chain(
            f"/proc/self/fd/{descriptor}", password=lambda: "" if password is None else password.reveal()
        )
    except (ssl.SSLError, ValueError) as error:
        reason = "expected a certificate and its key, without a password or with the one of ssl.key.password"
        raise _bad("keystore.location", reason) from error
    finally:
        os.close(descriptor)


def _read(kind: str, location: str, password: Password | None) -> bytes:
    """What a store holds, as PEM."""
    try:
        content = Path(location).read_bytes()
    except OSError as error:
        raise _bad(f"{kind}.location", f"{location}: {error.strerror}; expected a file to read") from error
    if content.lstrip().startswith(_PEM):
        return content
    if content.startswith(_JKS):
        command = f"keytool -importkeystore -srckeystore {location} -destkeystore {kind}.p12 -deststoretype PKCS12"
        raise _bad(f"{kind}.location", f"Java's own format is not read; expected PEM or PKCS12: {command}")
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  only who has such a store pays for it
        Encoding,
        NoEncryption,
        PrivateFormat,
        pkcs12,
    )

    try:
        store = pkcs12.load_pkcs12(content, None if password is None else password.reveal().encode())
    except ValueError as error:
        reason = f"{location}: neither PEM nor PKCS12, or not with the password of ssl.{kind}.password"
        raise _bad(f"{kind}.location", reason) from error
    parts = [one.certificate.public_bytes(Encoding.PEM) for one in (store.cert, *store.additional_certs) if one]
    if store.key is not None and kind == "keystore":
        parts.insert(0, store.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return b"".join(parts)


def _bad(name: str, reason: str) -> ConfigError:
    key = _PREFIX + name
    return ConfigError([Problem(key, f"Invalid value for configuration {key}: {reason}")])
