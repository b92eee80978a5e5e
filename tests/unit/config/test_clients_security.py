"""Logins and stores of Java are read in librdkafka's words or refused with the way there, and secrets stay hidden."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.api.errors import ConfigError
from engine.config.clients import ClientSettings, producer_settings
from engine.config.worker import WorkerConfig

WORKER = WorkerConfig(key_converter="K", value_converter="V", offset_storage_file_filename="offsets")
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
SASL = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}


def settings_of(connector: Mapping[str, str], secrets: tuple[str, ...] = ()) -> ClientSettings:
    return producer_settings(
        {},
        {f"producer.override.{key}": value for key, value in connector.items()},
        worker_config=WORKER,
        name="n",
        task=0,
        secrets=secrets,
    )


def problems_of(connector: Mapping[str, str], secrets: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        settings_of(connector, secrets)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "password"),
    [
        ('username="alice" password="s3cret";', "s3cret"),
        ("username='alice'  password='a b;c' ;", "a b;c"),
        (r'username=alice password="say \"x\"";', 'say "x"'),
        ('\n  username="alice"\n  password="p=q"\n  user_alice="ignored" ;', "p=q"),
    ],
)
def test_a_login_with_a_password_is_read_as_java_reads_it(options: str, password: str) -> None:
    client = settings_of({**SASL, "sasl.jaas.config": f"{PLAIN} required {options}"})
    assert client.settings["sasl.username"] == "alice"
    assert client.settings["sasl.password"] == password
    assert client.settings["security.protocol"] == "sasl_ssl"
    assert password in client.secrets


def test_a_login_module_must_fit_its_mechanism() -> None:
    login = {
        "security.protocol": "SASL_SSL",
        "sasl.jaas.config": f'{SCRAM} required username="u" password="topsecret";',
    }
    assert settings_of({**login, "sasl.mechanism": "SCRAM-SHA-512"}).settings["sasl.mechanism"] == "SCRAM-SHA-512"
    for mechanism in ({}, {"sasl.mechanism": "PLAIN"}):
        problem = problems_of({**login, **mechanism})
        assert "expected SCRAM-SHA-256 or SCRAM-SHA-512" in problem
        assert "topsecret" not in problem


@pytest.mark.parametrize(
    ("jaas", "way"),
    [
        ("com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true;", "sasl.kerberos.keytab"),
        (
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientSecret='xyzzy';",
            "sasl.oauthbearer.method=oidc",
        ),
        ("software.amazon.msk.auth.iam.IAMLoginModule required;", "producer.override.sasl.username"),
        (f'{PLAIN} required username="u";', 'no option "password"'),
        ("nonsense", "expected a login module"),
    ],
)
def test_other_logins_are_refused_with_what_to_use(jaas: str, way: str) -> None:
    problem = problems_of({**SASL, "sasl.jaas.config": jaas})
    assert way in problem
    assert "xyzzy" not in problem


def test_a_login_that_no_protocol_uses_is_warned_about() -> None:
    client = settings_of({"sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p"})
    assert "security.protocol is neither SASL_PLAINTEXT nor SASL_SSL" in client.warnings[0]


def test_pem_stores_are_taken_as_files_and_inline() -> None:
    files = settings_of(
        {
            "security.protocol": "SSL",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": "/ca.pem",
            "ssl.keystore.type": "pem",
            "ssl.keystore.location": "/me.pem",
            "ssl.key.password": "k3y",
            "ssl.endpoint.identification.algorithm": "",
        }
    )
    assert files.settings["ssl.ca.location"] == "/ca.pem"
    assert files.settings["ssl.certificate.location"] == files.settings["ssl.key.location"] == "/me.pem"
    assert files.settings["ssl.endpoint.identification.algorithm"] == "none"
    assert "k3y" in files.secrets
    inline = settings_of(
        {
            "ssl.truststore.certificates": "CA",
            "ssl.keystore.key": "PRIVATE",
            "ssl.keystore.certificate.chain": "CHAIN",
        }
    )
    assert inline.settings["ssl.ca.pem"] == "CA"
    assert inline.settings["ssl.key.pem"] == "PRIVATE"
    assert inline.settings["ssl.certificate.pem"] == "CHAIN"
    assert "PRIVATE" in inline.secrets


@pytest.mark.parametrize("kind", [{"ssl.keystore.type": "PKCS12"}, {}], ids=["by type", "by name"])
def test_a_pkcs12_keystore_is_librdkafkas_own(kind: dict[str, str]) -> None:
    client = settings_of({**kind, "ssl.keystore.location": "/me.p12", "ssl.keystore.password": "changeit"})
    assert client.settings["ssl.keystore.location"] == "/me.p12"
    assert client.settings["ssl.keystore.password"] == "changeit"
    assert client.secrets == ("changeit",)


@pytest.mark.parametrize(
    ("store", "command"),
    [
        ({"ssl.truststore.location": "/t.jks"}, "keytool -list -rfc -keystore /t.jks > ca.pem"),
        (
            {"ssl.truststore.location": "/t.p12", "ssl.truststore.type": "PKCS12"},
            "openssl pkcs12 -in /t.p12 -nokeys -out ca.pem",
        ),
        ({"ssl.keystore.location": "/k.jks", "ssl.keystore.type": "JKS"}, "-deststoretype PKCS12"),
        ({"ssl.keystore.type": "BCFKS", "ssl.keystore.location": "/k"}, "expected one of JKS, PKCS12, PEM"),
        ({"ssl.cipher.suites": "TLS_RSA_WITH_AES_256"}, "OpenSSL's names"),
    ],
)
def test_stores_that_librdkafka_cannot_read_are_refused_with_the_command_that_converts_them(
    store: dict[str, str], command: str
) -> None:
    problem = problems_of({"security.protocol": "SSL", "ssl.truststore.password": "hush", **store})
    assert command in problem
    assert "hush" not in problem


def test_a_value_that_came_from_a_provider_is_not_shown() -> None:
    problem = problems_of({"linger.ms": "hunter2", "sasl.password": ""}, secrets=("hunter2",))
    assert "Invalid value [hidden] for configuration producer.override.linger.ms" in problem
    assert "hunter2" not in problem
