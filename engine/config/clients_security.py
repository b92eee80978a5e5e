"""Keystores, truststores and logins as Java users write them, in librdkafka's words or refused with the way there.

    ssl.truststore.type=PEM, .location=ca.pem          ssl.ca.location=ca.pem
    ssl.truststore.certificates=-----BEGIN ...         ssl.ca.pem=-----BEGIN ...
    ssl.keystore.type=PEM, .location=me.pem            ssl.certificate.location=me.pem, ssl.key.location=me.pem
    ssl.keystore.type=PKCS12, .location=me.p12         ssl.keystore.location=me.p12
    sasl.jaas.config=...PlainLoginModule required ..   sasl.username=.., sasl.password=..

librdkafka reads PEM, and PKCS12 for the client's own key; never JKS.

Used by: clients_consumer.py, clients_producer.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from engine.config.clients_draft import Draft
from engine.config.clients_java import REFUSED
from engine.config.clients_layers import Given

__all__ = ["take_security"]

_STORE_TYPES = ("JKS", "PKCS12", "PEM")
_PKCS12_SUFFIXES = (".p12", ".pfx", ".pkcs12")

_JAAS = re.compile(r"\s*(?P<module>[\w.$]+)\s+(?P<flag>\w+)(?P<options>.*?);?\s*\Z", re.DOTALL)
_JAAS_OPTION = re.compile(
    r"""\s*(?P<name>[\w.-]+)\s*=\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"';]+))"""
)
_SECURITY = "org.apache.kafka.common.security."
_PASSWORD_MODULES: Mapping[str, tuple[str, ...]] = {
    f"{_SECURITY}plain.PlainLoginModule": ("PLAIN",),
    f"{_SECURITY}scram.ScramLoginModule": ("SCRAM-SHA-256", "SCRAM-SHA-512"),
}
_OTHER_MODULES: Mapping[str, str] = {
    "com.sun.security.auth.module.Krb5LoginModule": (
        "use sasl.mechanism=GSSAPI with sasl.kerberos.principal, sasl.kerberos.keytab and sasl.kerberos.service.name"
    ),
    f"{_SECURITY}oauthbearer.OAuthBearerLoginModule": REFUSED["sasl.login.callback.handler.class"].partition("; ")[2],
}
_SASL_PROTOCOLS = ("sasl_plaintext", "sasl_ssl")


def take_security(given: dict[str, Given], draft: Draft) -> None:
    """Settle everything of `ssl.` and `sasl.` that needs more than one word to translate; takes it out of `given`."""
    _take_truststore(given, draft)
    _take_keystore(given, draft)
    _take_hostname_check(given, draft)
    _take_ciphers(given, draft)
    _take_login(given, draft)


def _take_truststore(given: dict[str, Given], draft: Draft) -> None:
    store, kind = given.pop("ssl.truststore.location", None), given.pop("ssl.truststore.type", None)
    inline = given.pop("ssl.truststore.certificates", None)
    given.pop("ssl.truststore.password", None)  # PEM files of certificates have none
    kind_name = _store_type(kind, draft)
    if inline is not None and inline.value:
        draft.settle("ssl.ca.pem", inline.value)
    if store is None or not store.value or kind_name is None:
        return
    if kind_name == "PEM":
        draft.settle("ssl.ca.location", store.value)
        return
    if kind_name == "PKCS12" or _is_pkcs12(store.value):
        command = f"openssl pkcs12 -in {store.value} -nokeys -out ca.pem"
    else:
        command = f"keytool -list -rfc -keystore {store.value} > ca.pem"
    prefix = store.key.removesuffix("location")
    draft.blame(
        store,
        f"librdkafka cannot read a {kind_name or 'JKS'} truststore; expected a PEM file: {command}, "
        f"then {prefix}type=PEM and {prefix}location=ca.pem",
    )


def _take_keystore(given: dict[str, Given], draft: Draft) -> None:
    kind = given.pop("ssl.keystore.type", None)
    for java, native in (
        ("ssl.keystore.key", "ssl.key.pem"),
        ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ):
        inline = given.pop(java, None)
        if inline is not None and inline.value:
            draft.settle(native, inline.value)
    store = given.pop("ssl.keystore.location", None)
    password = given.pop("ssl.keystore.password", None)
    kind_name = _store_type(kind, draft)
    if store is None or not store.value or kind_name is None:
        return
    if kind_name == "PEM":
        draft.settle("ssl.certificate.location", store.value)
        draft.settle("ssl.key.location", store.value)
    elif kind_name == "PKCS12" or (not kind_name and _is_pkcs12(store.value)):
        draft.settle("ssl.keystore.location", store.value)
        if password is not None:
            draft.settle("ssl.keystore.password", password.value)
    else:
        prefix = store.key.removesuffix("location")
        draft.blame(
            store,
            "librdkafka cannot read a JKS keystore; expected PKCS12: keytool -importkeystore "
            f"-srckeystore {store.value} -destkeystore client.p12 -deststoretype PKCS12, "
            f"then {prefix}type=PKCS12 and {prefix}location=client.p12",
        )


def _store_type(kind: Given | None, draft: Draft) -> str | None:
    """The type in capitals; empty: not given; None: it will not do, which has been said."""
    name = "" if kind is None else kind.value.upper()
    if kind is not None and name and name not in _STORE_TYPES:
        draft.blame(kind, f"expected one of {', '.join(_STORE_TYPES)}")
        return None
    return name


def _is_pkcs12(path: str) -> bool:
    return PurePath(path).suffix.lower() in _PKCS12_SUFFIXES


def _take_hostname_check(given: dict[str, Given], draft: Draft) -> None:
    check = given.pop("ssl.endpoint.identification.algorithm", None)
    if check is not None:
        # Java switches the check off by an empty text.
        draft.take_native(check, "ssl.endpoint.identification.algorithm", check.value or "none")


def _take_ciphers(given: dict[str, Given], draft: Draft) -> None:
    ciphers = given.pop("ssl.cipher.suites", None)
    if ciphers is None or not ciphers.value:
        return
    if "TLS_" in ciphers.value:
        draft.blame(ciphers, "expected OpenSSL's names, separated by colons, such as ECDHE-RSA-AES256-GCM-SHA384")
    else:
        draft.settle("ssl.cipher.suites", ciphers.value)


def _take_login(given: dict[str, Given], draft: Draft) -> None:
    protocol, mechanism = given.get("security.protocol"), given.get("sasl.mechanism")
    jaas = given.pop("sasl.jaas.config", None)
    if jaas is not None and jaas.value:
        draft.keep_secret(jaas.value)
        _take_jaas(jaas, mechanism, draft)
    for name in ("sasl.mechanism", "sasl.username"):
        login = given.get(name) or (jaas if name == "sasl.username" else None)
        if login is not None and (protocol is None or protocol.value.lower() not in _SASL_PROTOCOLS):
            prefix = login.key.removesuffix(login.name)
            draft.warn(login, f"{prefix}security.protocol is neither SASL_PLAINTEXT nor SASL_SSL")
            return


def _take_jaas(jaas: Given, mechanism: Given | None, draft: Draft) -> None:
    parsed = _JAAS.match(jaas.value)
    if parsed is None:
        draft.blame(jaas, 'expected a login module, "required" and its options, as Java writes them')
        return
    module = parsed["module"]
    prefix = jaas.key.removesuffix("sasl.jaas.config")
    if module not in _PASSWORD_MODULES:
        way = _OTHER_MODULES.get(module, f"use {prefix}sasl.username and {prefix}sasl.password")
        draft.problem(jaas, f"{jaas.key}: login module {module} is Java's and is not loaded; {way}")
        return
    expected = _PASSWORD_MODULES[module]
    if mechanism is None or mechanism.value.upper() not in expected:
        found = "not given (GSSAPI by default)" if mechanism is None else mechanism.value
        draft.problem(
            jaas,
            f"{jaas.key} has login module {module}, but {prefix}sasl.mechanism is {found}; "
            f"expected {' or '.join(expected)}",
        )
    options = {option["name"]: _unquoted(option) for option in _JAAS_OPTION.finditer(parsed["options"])}
    for name in ("username", "password"):
        if name in options:
            draft.settle(f"sasl.{name}", options[name])
        else:
            draft.problem(jaas, f'{jaas.key} has no option "{name}"; expected {name}="..."')
    if "password" in options:
        draft.keep_secret(options["password"])


def _unquoted(option: re.Match[str]) -> str:
    if option["double"] is not None:
        return re.sub(r"\\(.)", r"\1", option["double"])
    return option["single"] if option["single"] is not None else option["bare"]
