"""A registry that asks who comes: by password, by token or by certificate, over TLS; who is refused is told, once.

The registry is real; before it stands a door (tests/harness/gate.py).
"""

from __future__ import annotations

import subprocess
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from converters.avro import AvroConfig, AvroConverter
from engine.api.errors import ConfigError, RefusedError
from engine.api.schema import INT32
from tests.harness.certificates import Authority
from tests.harness.gate import Gate
from tests.harness.registry import SchemaRegistry

pytestmark = pytest.mark.slow

USER, PASSWORD, TOKEN = "alice", "won:der@land", "c0ffee.c0ffee-c0ffee"
SSL = "schema.registry.ssl."
#: Ways to say who one is, all good.
WAYS: dict[str, dict[str, str]] = {
    "USER_INFO": {"basic.auth.credentials.source": "USER_INFO", "basic.auth.user.info": f"{USER}:{PASSWORD}"},
    "USER_INFO with the prefix": {
        "schema.registry.basic.auth.credentials.source": "USER_INFO",
        "schema.registry.basic.auth.user.info": f"{USER}:{PASSWORD}",
        "basic.auth.user.info": "somebody:else",
    },
    "URL": {"schema.registry.url": "//alice:won%3Ader%40land@"},
    "token": {"bearer.auth.token": TOKEN},
    "token with the prefix": {"schema.registry.bearer.auth.token": TOKEN, "bearer.auth.token": "another"},
}
#: The same, all bad.
BAD: dict[str, dict[str, str]] = {
    "nothing": {},
    "USER_INFO": {"basic.auth.credentials.source": "USER_INFO", "basic.auth.user.info": f"{USER}:looking-glass"},
    "URL": {"schema.registry.url": "//alice:looking-glass@"},
    "token": {"bearer.auth.token": "looking-glass"},
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    return authority.issue(authority.file.with_name("gate.pem"), "gate")


@pytest.fixture
def gate(registry: SchemaRegistry, certificate: Path) -> Iterator[Gate]:
    """Asks for a password or token."""
    with Gate(registry.port, certificate) as made:
        made.users[USER] = PASSWORD
        made.tokens.add(TOKEN)
        yield made


@pytest.fixture
def strict(registry: SchemaRegistry, certificate: Path, authority: Authority) -> Iterator[Gate]:
    """Asks for a certificate."""
    with Gate(registry.port, certificate, clients=authority.file) as made:
        yield made


def converter(gate: Gate, keys: dict[str, str]) -> AvroConverter:
    """One that asks at the gate; a key about the address says what stands before the host."""
    url = gate.url.replace("//", keys.get("schema.registry.url", "//"))
    made = AvroConverter()
    made.configure(AvroConfig.parse({**keys, "schema.registry.url": url}), is_key=False)
    return made


def trusting(authority: Authority, keys: dict[str, str]) -> dict[str, str]:
    return {f"{SSL}truststore.location": str(authority.file), **keys}


def assert_works(gate: Gate, keys: dict[str, str]) -> None:
    topic = f"orders-{uuid.uuid4().hex[:8]}"
    written = converter(gate, keys).from_connect(topic, [7], [INT32])
    assert not written.failures, written.failures
    read = converter(gate, keys).to_connect(topic, written.payloads)
    assert not read.failures, read.failures
    assert [*read.values] == [7]


def refusal(gate: Gate, keys: dict[str, str]) -> str:
    """What is said of a refusal, with all that lies behind it; writing and reading are refused alike."""
    made = converter(gate, keys)
    failures = [
        *made.from_connect("orders", [7, 8], [INT32, INT32]).failures,
        *made.to_connect("orders", [b"\0\0\0\0\1\2"]).failures,
    ]
    assert [type(failure.error) for failure in failures] == [RefusedError] * 3
    for failure in failures:
        whole = "".join(traceback.format_exception(failure.error))
        for secret in (PASSWORD, "won%3Ader%40land", TOKEN, "looking-glass"):
            assert secret not in whole
    return str(failures[0].error)


@pytest.mark.parametrize("way", WAYS)
def test_who_says_who_he_is_comes_in(gate: Gate, authority: Authority, way: str) -> None:
    assert_works(gate, trusting(authority, WAYS[way]))
    assert set(gate.answers) == {200}


@pytest.mark.parametrize("way", BAD)
def test_who_is_not_known_is_refused_and_no_secret_is_told(gate: Gate, authority: Authority, way: str) -> None:
    told = refusal(gate, trusting(authority, BAD[way]))
    assert f"the schema registry at {gate.url} refuses this client" in told
    assert "401" in told
    assert set(gate.answers) == {401}


def test_who_was_refused_comes_in_once_he_is_known(gate: Gate, authority: Authority) -> None:
    made = converter(gate, trusting(authority, BAD["USER_INFO"]))
    assert made.from_connect("orders", [7], [INT32]).failures
    gate.users[USER] = "looking-glass"
    assert not made.from_connect(f"orders-{uuid.uuid4().hex[:8]}", [7], [INT32]).failures


def pkcs12(pair: Path, *more: str) -> Path:
    """The pair as Java's tools write it."""
    path = pair.with_suffix(".p12")
    command = ["openssl", "pkcs12", "-export", "-in", str(pair), "-out", str(path), "-passout", f"pass:{PASSWORD}"]
    subprocess.run([*command, *more], check=True, capture_output=True, timeout=60)
    return path


def locked(pair: Path) -> Path:
    """The pair with a key that a password locks."""
    path = pair.with_name("locked.pem")
    command = ["openssl", "pkey", "-aes256", "-in", str(pair), "-passout", f"pass:{PASSWORD}"]
    key = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    path.write_bytes(key + pair.read_bytes().partition(b"-----END PRIVATE KEY-----\n")[2])
    return path


@pytest.mark.parametrize("form", ["PEM", "locked PEM", "PKCS12", "text"])
def test_who_shows_a_certificate_comes_in(strict: Gate, authority: Authority, tmp_path: Path, form: str) -> None:
    pair = authority.issue(tmp_path / "client.pem", "client")
    key, end, chain = pair.read_text().partition("-----END PRIVATE KEY-----\n")
    forms: dict[str, Callable[[], dict[str, Any]]] = {
        "PEM": lambda: {"keystore.location": pair},
        "locked PEM": lambda: {"keystore.location": locked(pair), "key.password": PASSWORD},
        "PKCS12": lambda: {
            "keystore.location": pkcs12(pair, "-certfile", str(authority.file)),
            "keystore.password": PASSWORD,
            "truststore.location": pkcs12(authority.file, "-nokeys"),
            "truststore.password": PASSWORD,
        },
        "text": lambda: {
            "keystore.key": key + end,
            "keystore.certificate.chain": chain,
            "truststore.certificates": authority.file.read_text(),
        },
    }
    own = {f"{SSL}{name}": str(value) for name, value in forms[form]().items()}
    assert_works(strict, own if form == "text" else trusting(authority, own))


def test_who_shows_none_or_a_strangers_certificate_is_refused(
    strict: Gate, authority: Authority, tmp_path: Path
) -> None:
    told = refusal(strict, trusting(authority, {}))
    assert f"no TLS with the schema registry at {strict.url}" in told
    assert "CERTIFICATE_REQUIRED" in told
    stranger = Authority(tmp_path / "stranger").issue(tmp_path / "client.pem", "client")
    told = refusal(strict, trusting(authority, {f"{SSL}keystore.location": str(stranger)}))
    assert "UNKNOWN_CA" in told
    assert not strict.answers


def test_a_registry_with_a_strangers_certificate_is_told_no_secret(gate: Gate, tmp_path: Path) -> None:
    for trusted in ({}, {f"{SSL}truststore.location": str(Authority(tmp_path / "another").file)}):
        told = refusal(gate, {**WAYS["USER_INFO"], **trusted})
        assert "its certificate is not trusted" in told
        assert f"{SSL}truststore" in told
    assert not gate.answers


def test_a_registry_of_another_name_is_trusted_where_that_was_asked_for(
    registry: SchemaRegistry, certificate: Path, authority: Authority
) -> None:
    with Gate(registry.port, certificate, host="127.0.0.2") as elsewhere:
        assert "127.0.0.2" in refusal(elsewhere, trusting(authority, {}))
        assert_works(elsewhere, trusting(authority, {f"{SSL}endpoint.identification.algorithm": ""}))


def test_with_a_truststore_nobody_else_is_trusted(gate: Gate, authority: Authority) -> None:
    context = converter(gate, trusting(authority, {}))._registry._context
    assert context is not None
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("keys", "key", "told"),
    [
        ({"bearer.auth.token": "c0ffee\nc0ffee"}, "bearer.auth.token", "visible ASCII characters"),
        ({"bearer.auth.token": "ünder"}, "bearer.auth.token", "visible ASCII characters"),
        ({f"{SSL}truststore.location": "/nowhere"}, f"{SSL}truststore.location", "expected a file to read"),
        ({f"{SSL}keystore.location": "{certificate}.key"}, f"{SSL}keystore.location", "a certificate and its key"),
        (
            {f"{SSL}keystore.location": "{p12}", f"{SSL}keystore.password": "c0ffee"},
            f"{SSL}keystore.location",
            "not with the password",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anybody_is_asked(
    gate: Gate, certificate: Path, keys: dict[str, str], key: str, told: str
) -> None:
    places = {"certificate": certificate, "p12": pkcs12(certificate)}
    with pytest.raises(ConfigError) as refused:
        converter(gate, {name: value.format(**places) for name, value in keys.items()})
    (problem,) = refused.value.problems
    assert problem.key == key
    assert told in problem.message
    assert "c0ffee" not in "".join(traceback.format_exception(refused.value))
    assert not gate.answers
