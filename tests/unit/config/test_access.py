"""Who may use REST is read from a file; what is wrong with it is told, and never a password or its hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.config.access import EXTENSION, JAAS_KEY, KEY, AccessFile, access_file, read_rules
from engine.config.passwords import Hash, hashed, read_hash

#: Quick, for tests: a real one takes a twentieth of a second.
QUICK = "scrypt$2$1$1$c2FsdA==$" + "A" * 43 + "="
JAAS = """
// the worker's own
KafkaClient { some.Module required username="x"; };
/* KafkaConnect { not.This required; }; */
KafkaConnect {
  org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule required
  file="%s";
};
"""


def own(folder: Path, text: str) -> AccessFile:
    path = folder / "access.toml"
    path.write_text(text)
    return AccessFile(KEY, str(path))


def jaas(folder: Path, text: str, users: str = "alice=secret\nbob: two words\n") -> AccessFile:
    path = folder / "jaas.conf"
    (folder / "users.properties").write_text(users)
    path.write_text(text % (folder / "users.properties") if "%s" in text else text)
    return AccessFile(JAAS_KEY, str(path))


def refusal(file: AccessFile) -> str:
    with pytest.raises(ConfigError) as refused:
        read_rules(file)
    (problem,) = refused.value.problems
    assert problem.key == file.key
    return problem.message


def test_a_password_fits_its_own_hash_alone_and_a_hash_survives_being_written() -> None:
    first, second = hashed("secret"), hashed("secret")
    assert first != second
    again = read_hash(str(first))
    assert again == first
    assert again.fits("secret")
    assert not again.fits("Secret")
    assert "secret" not in str(first)


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "",
        "scrypt$1$2$3",
        "md5$1$1$1$AAAA$AAAA",
        QUICK.replace("$2$", "$3$"),
        QUICK.replace("$2$", "$1073741824$"),
    ],
)
def test_what_is_no_hash_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="hash") as refused:
        read_hash(text)
    assert not text or text not in str(refused.value)


def test_users_and_certificates_have_roles(tmp_path: Path) -> None:
    text = (
        f'[users.alice]\nrole = "write"\npassword = "{QUICK}"\n[[certificates]]\nsubject = "CN=a, O=b"\nrole = "read"\n'
    )
    rules = read_rules(own(tmp_path, text))
    assert rules.users["alice"][0] == "write"
    assert isinstance(rules.users["alice"][1], Hash)
    assert rules.certificates == {"CN=a,O=b": "read"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names nobody"),
        ("[users", "expected"),
        ('[users.a]\nrole = "admin"\npassword = "x"', "role"),
        ('[users.a]\nrole = "read"\npassword = "geheim"', "users.a.password"),
        ('[users.a]\nrole = "read"', "password"),
        (f'[users."a:b"]\nrole = "read"\npassword = "{QUICK}"', "colon"),
        ('[[certificates]]\nsubject = "CN=a"\n', "role"),
        ("[people]\n", "people"),
    ],
)
def test_a_file_of_rules_that_is_wrong_is_told(tmp_path: Path, text: str, word: str) -> None:
    message = refusal(own(tmp_path, text))
    assert word in message
    assert "geheim" not in message


def test_the_file_of_kafka_connects_extension_is_read(tmp_path: Path) -> None:
    rules = read_rules(jaas(tmp_path, JAAS))
    assert [(name, role) for name, (role, _) in rules.users.items()] == [("alice", "write"), ("bob", "write")]
    assert rules.users["bob"][1].fits("two words")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("KafkaClient { a.B required; };", "KafkaConnect"),
        ("KafkaConnect { com.sun.security.auth.module.LdapLoginModule required; };", "LdapLoginModule is Java's"),
        (JAAS.replace("file=", "path="), 'file="..."'),
        (JAAS.replace("%s", "/nowhere"), "No such file"),
    ],
)
def test_a_jaas_file_that_is_wrong_is_told(tmp_path: Path, text: str, word: str) -> None:
    assert word in refusal(jaas(tmp_path, text))


def test_a_jaas_file_that_names_nobody_lets_nobody_in(tmp_path: Path) -> None:
    # Kafka Connect would let everybody in.
    assert "names nobody" in refusal(jaas(tmp_path, JAAS, users="# none yet\n"))


def test_keys_name_one_file() -> None:
    assert access_file(None, None, []) is None
    assert access_file("a.toml", None, []) == AccessFile(KEY, "a.toml")
    for name in (EXTENSION, "BasicAuthSecurityRestExtension"):
        assert access_file(None, "jaas.conf", [name]) == AccessFile(JAAS_KEY, "jaas.conf")


@pytest.mark.parametrize(
    ("path", "jaas_path", "extensions", "key"),
    [
        (None, None, ["com.example.Extension"], "rest.extension.classes"),
        (None, None, [EXTENSION], "rest.extension.classes"),
        ("a.toml", "jaas.conf", [EXTENSION], "rest.access.file"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(
    path: str | None, jaas_path: str | None, extensions: list[str], key: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        access_file(path, jaas_path, extensions)
    assert [problem.key for problem in refused.value.problems] == [key]
