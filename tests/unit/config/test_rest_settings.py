"""What the worker's keys say of REST is checked before anything starts, and what is wrong is told by key and value."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.config.listeners import Place
from engine.config.rest import Header, RestSettings, read_rest
from engine.config.rest_keys import RestKeys
from engine.config.tls import make_context
from tests.harness.certificates import Authority


def read(properties: Mapping[str, str]) -> RestSettings:
    return read_rest(RestKeys.parse(dict(properties)), properties)


def problems(properties: Mapping[str, str]) -> dict[str, str]:
    with pytest.raises(ConfigError) as refused:
        read(properties)
    return {problem.key: problem.message for problem in refused.value.problems}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def keystore(authority: Authority) -> Path:
    return authority.issue(authority.file.with_name("me.pem"), "me")


def pkcs12(keystore: Path, password: str) -> Path:
    path = keystore.with_suffix(".p12")
    command = ["openssl", "pkcs12", "-export", "-in", str(keystore), "-out", str(path), "-passout", f"pass:{password}"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


def test_there_are_listeners_of_both_protocols_and_admin_ones(keystore: Path) -> None:
    settings = read(
        {
            "listeners": "HTTP://:8083, https://[::1]:8443",
            "admin.listeners": "http://localhost:9000",
            "listeners.https.ssl.keystore.location": str(keystore),
        }
    )
    assert settings.places == (
        Place("", 8083, "http", "public"),
        Place("::1", 8443, "https", "public"),
        Place("localhost", 9000, "http", "admin"),
    )
    assert [settings.tls_of(place) is not None for place in settings.places] == [False, True, False]


def test_an_empty_list_of_admin_listeners_serves_loggers_nowhere() -> None:
    assert [place.part for place in read({"admin.listeners": ""}).places] == ["public"]
    assert [place.part for place in read({}).places] == ["all"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    told = problems(
        {
            "listeners": "ftp://:1,https://:8443",
            "admin.listeners": "http://:70000",
            "access.control.allow.origin": "https?://(",
            "response.http.headers.config": "put X:1",
        }
    )
    assert told["listeners"].startswith("Invalid value ftp://:1 for configuration listeners: expected http://HOST:PORT")
    assert "70000" in told["admin.listeners"]
    assert "no regular expression" in told["access.control.allow.origin"]
    assert "put is none of" in told["response.http.headers.config"]
    assert set(told) == {"listeners", "admin.listeners", "access.control.allow.origin", "response.http.headers.config"}


def test_an_https_listener_needs_a_certificate() -> None:
    assert "needs a certificate" in problems({"listeners": "https://:8443"})["ssl.keystore.location"]


def test_keys_with_the_prefix_count_alone(keystore: Path) -> None:
    told = problems(
        {
            "listeners": "https://:8443",
            "ssl.keystore.location": str(keystore),
            "listeners.https.ssl.client.auth": "none",
        }
    )
    assert list(told) == ["listeners.https.ssl.keystore.location"]


def test_pem_in_a_file_pem_in_the_values_and_pkcs12_are_read(keystore: Path, authority: Authority) -> None:
    key, chain = keystore.read_text().split("-----BEGIN CERTIFICATE")
    inline = {"ssl.keystore.key": key, "ssl.keystore.certificate.chain": f"-----BEGIN CERTIFICATE{chain}"}
    store = {"ssl.keystore.location": str(pkcs12(keystore, "secret")), "ssl.keystore.password": "secret"}
    for given in ({"ssl.keystore.location": str(keystore)}, inline, store):
        trust = {"ssl.client.auth": "required", "ssl.truststore.location": str(authority.file)}
        tls = read({"listeners": "https://:8443", **given, **trust}).tls
        assert tls is not None
        assert len(make_context(tls).get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("given", "key", "word"),
    [
        ({"ssl.keystore.location": "/nowhere"}, "ssl.keystore.location", "No such file"),
        ({"ssl.keystore.location": "{p12}", "ssl.keystore.password": "wrong"}, "ssl.keystore.location", "password"),
        ({"ssl.keystore.location": "{jks}"}, "ssl.keystore.location", "keytool -importkeystore"),
        ({"ssl.keystore.location": "{authority}"}, "ssl.keystore.location", "its key"),
        ({"ssl.enabled.protocols": "SSLv3"}, "ssl.enabled.protocols", "TLSv1.2"),
        ({"ssl.cipher.suites": "TLS_RSA"}, "ssl.cipher.suites", "OpenSSL's names"),
        ({"ssl.client.auth": "required"}, "ssl.client.auth", "ssl.truststore.location"),
        ({"ssl.client.auth": "maybe"}, "ssl.client.auth", "String must be one of"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_do(
    keystore: Path, authority: Authority, given: Mapping[str, str], key: str, word: str
) -> None:
    jks = keystore.with_name("me.jks")
    jks.write_bytes(b"\xfe\xed\xfe\xed\0\0\0\2")
    places = {"p12": pkcs12(keystore, "secret"), "jks": jks, "authority": authority.file}
    filled = {name: value.format(**places) for name, value in given.items()}
    told = problems({"listeners": "https://:8443", "ssl.keystore.location": str(keystore), **filled})
    assert word in told[key]
    assert "wrong" not in told[key]


def test_rules_for_headers_are_read_as_kafka_connect_reads_them() -> None:
    text = 'set X-Frame-Options: DENY, "add Cache-Control: no-cache, no-store",setDate Expires:3600000'
    assert read({"response.http.headers.config": text}).headers == (
        Header("X-Frame-Options", "DENY"),
        Header("Cache-Control", "no-cache, no-store", is_added=True),
        Header("Expires", "3600000", is_date=True),
    )


@pytest.mark.parametrize("rule", ["set", "set X", "set X:", "set X Y:1", "set X:1:2", "setDate X:soon", "set X:a\x01"])
def test_a_rule_of_another_form_is_refused(rule: str) -> None:
    assert list(problems({"response.http.headers.config": rule})) == ["response.http.headers.config"]
