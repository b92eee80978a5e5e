"""The context in which a registry is spoken to over https: whom to believe, and what to show.

Without a truststore those are believed whom the machine believes; with one, nobody else, as in Java.

Used by: client.py.
"""

from __future__ import annotations

import ssl

from converters.registry.config import RegistryConfig
from engine.api.tls import Stores, load_key, load_trust

__all__ = ["client_context"]


def client_context(config: RegistryConfig) -> ssl.SSLContext:
    """A client's context; its files are read now. Raises ConfigError that names the key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = bool(config.endpoint_identification)
    stores = _stores(config)
    if stores.has_trust:
        load_trust(context, stores)
    else:
        context.load_default_certs()
    if stores.has_key:
        load_key(context, stores)
    return context


def _stores(config: RegistryConfig) -> Stores:
    chain, key = config.certificate_chain, config.key
    return Stores(
        prefix="schema.registry.ssl.",
        location=config.keystore_location,
        password=config.keystore_password and config.keystore_password.reveal(),
        key_password=config.key_password and config.key_password.reveal(),
        pem="" if chain is None or key is None else f"{key.reveal()}\n{chain}\n",
        trust_location=config.truststore_location,
        trust_password=config.truststore_password and config.truststore_password.reveal(),
        trust_pem=config.truststore_certificates or "",
    )
