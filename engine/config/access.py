"""Who may use REST: a file of users and certificates with their roles, or the one that Kafka Connect's extension reads.

    [users.alice]                                      KafkaConnect {
    role = "write"                                       ...PropertyFileLoginModule required
    password = "scrypt$16384$8$1$..."                    file="/etc/connect/users.properties";
                                                       };
    [[certificates]]
    subject = "CN=grafana,O=example"                   alice=secret       whoever is named may write
    role = "read"

Used by: engine.config.rest (checks at the start), engine.control.access (asks).
Not here: passwords (passwords.py), what a role may do (engine.control.access).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from engine.api.errors import ConfigError, Problem
from engine.config.passwords import Hash, hashed, read_hash
from engine.config.properties import PropertiesSyntaxError, parse_properties

__all__ = ["EXTENSION", "AccessFile", "Role", "Rules", "access_file", "read_rules"]

KEY, JAAS_KEY, EXTENSIONS_KEY = "rest.access.file", "java.security.auth.login.config", "rest.extension.classes"
EXTENSION = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension"
_MODULE = "org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule"

Role = Literal["read", "write"]

_COMMENT = re.compile(r"/\*.*?\*/|(?m:^\s*//[^\n]*$)", re.DOTALL)
_ENTRY = re.compile(r"\bKafkaConnect\s*\{(?P<modules>.*?)\}\s*;", re.DOTALL)
_LOGIN = re.compile(r"\s*(?P<module>[\w.$]+)\s+\w+(?P<options>[^;]*);")
_FILE = re.compile(r"""\bfile\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"';]+))""")


class AccessFile(Struct, frozen=True):
    """Where the rules stand."""

    key: str  # that names it
    path: str


class Rules(Struct, frozen=True):
    """Who may do what."""

    users: Mapping[str, tuple[Role, Hash]]
    certificates: Mapping[str, Role]  # by the subject
    files: tuple[str, ...]  # that they were read from


class _User(Struct, forbid_unknown_fields=True):
    role: Role
    password: str


class _Certificate(Struct, forbid_unknown_fields=True):
    subject: str
    role: Role


class _File(Struct, forbid_unknown_fields=True):
    users: dict[str, _User] = {}
    certificates: list[_Certificate] = []


def access_file(path: str | None, jaas_path: str | None, extensions: list[str]) -> AccessFile | None:
    """Where the keys say that the rules stand; None: everybody may do everything. Raises ConfigError."""
    foreign = [name for name in extensions if name not in (EXTENSION, EXTENSION.rpartition(".")[2])]
    if foreign:
        message = f"extensions are Java's, and are not loaded; expected {EXTENSION}, or nothing"
        raise _error(EXTENSIONS_KEY, foreign[0], message)
    if extensions and path is not None:
        raise _error(KEY, path, f"expected this or {EXTENSION}, not both")
    if extensions and jaas_path is None:
        message = (
            f"its JAAS file is needed; expected {JAAS_KEY} beside it, which Kafka Connect's JVM takes as -D{JAAS_KEY}"
        )
        raise _error(EXTENSIONS_KEY, extensions[0], message)
    if extensions and jaas_path is not None:
        return AccessFile(JAAS_KEY, jaas_path)
    return None if path is None else AccessFile(KEY, path)


def read_rules(file: AccessFile) -> Rules:
    """The rules as they are now. Raises ConfigError; no message shows a password or its hash."""
    return _read_jaas(file) if file.key == JAAS_KEY else _read_own(file)


def _read_own(file: AccessFile) -> Rules:
    try:
        found = msgspec.convert(tomllib.loads(_text(file, file.path)), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise _error(file.key, file.path, f"{error}; expected [users.NAME] and [[certificates]] with a role") from error
    users = {}
    for name, user in found.users.items():
        try:
            users[name] = (user.role, read_hash(user.password))
        except ValueError as error:
            raise _error(file.key, file.path, f"users.{name}.password: {error}") from error
        if ":" in name or not name:
            raise _error(file.key, file.path, f"users.{name}: a name must not be empty or have a colon in it")
    certificates = {re.sub(r",\s+", ",", one.subject.strip()): one.role for one in found.certificates}
    return _checked(file, Rules(users, certificates, (file.path,)))


def _read_jaas(file: AccessFile) -> Rules:
    entry = _ENTRY.search(_COMMENT.sub("", _text(file, file.path)))
    login = None if entry is None else _LOGIN.match(entry["modules"])
    if login is None:
        raise _error(file.key, file.path, f"expected an entry KafkaConnect with {_MODULE}")
    if login["module"] != _MODULE:
        raise _error(
            file.key, file.path, f"login module {login['module']} is Java's, and is not loaded; expected {_MODULE}"
        )
    option = _FILE.search(login["options"])
    if option is None:
        raise _error(file.key, file.path, 'expected the option file="..." of the login module')
    path = option["double"] or option["single"] or option["bare"] or ""
    try:
        passwords = parse_properties(_text(file, path))
    except PropertiesSyntaxError as error:
        raise _error(file.key, path, str(error)) from error
    users: dict[str, tuple[Role, Hash]] = {name: ("write", hashed(password)) for name, password in passwords.items()}
    return _checked(file, Rules(users, {}, (file.path, path)))


def _checked(file: AccessFile, rules: Rules) -> Rules:
    if not rules.users and not rules.certificates:
        raise _error(file.key, rules.files[-1], "it names nobody, so that nobody could ask; expected at least one user")
    return rules


def _text(file: AccessFile, path: str) -> str:
    try:
        return Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise _error(file.key, path, f"{error.strerror}; expected a file to read") from error
    except UnicodeDecodeError as error:
        raise _error(file.key, path, "it is no text in UTF-8") from error


def _error(key: str, value: str, reason: str) -> ConfigError:
    return ConfigError([Problem(key, f"Invalid value {value} for configuration {key}: {reason}")])
