"""A configuration is declared once, as a typed Struct: parsing, validation and documentation read it there.

    class FileConfig(Config, frozen=True, kw_only=True):
        file: Annotated[str | None, Meta(description="None: standard input.")] = None
        batch_size: Annotated[int, Meta(ge=1)] = field(name="batch.size", default=2000)

    FileConfig.parse({"file": "a.txt", "batch.size": "no"})   raises ConfigError, naming every bad key

Text is read as Kafka's ConfigDef reads it: trimmed; `true`/`false` in any case; numbers with an optional
sign and without underscores; lists split at commas. Kafka Connect's reference, section 5.8.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from engine.api.errors import ConfigError, Problem

__all__ = ["HIDDEN", "Config", "Key", "Password", "keys_of"]

HIDDEN = "[hidden]"

_NUMBER = {int: re.compile(r"[+-]?[0-9]+\Z"), float: re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")}
_KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false"}


class Password(str):
    """A secret: `str(value)` and formatting show `[hidden]`; `reveal()` gives the text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def reveal(self) -> str:
        """The secret itself, for the client that needs it."""
        return "".join(self)


class Key(NamedTuple):
    """One declared key, for docs, validation answers and parsing."""

    attribute: str
    name: str
    annotation: Any  # with Annotated and Meta
    kind: Any  # without: int, bool, str, Password, list[str], Literal[...]
    is_nullable: bool
    default: Any  # NODEFAULT: required
    description: str


class Config(Struct, frozen=True, kw_only=True):
    """The base of every declared configuration; on its own it declares nothing."""

    #: Names of keys whose text is compared without regard to case (Java's CaseInsensitiveValidString).
    ignore_case: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def parse(cls, properties: Mapping[str, str | None]) -> Self:
        """Read the declared keys; other keys are left alone. Raises ConfigError with every bad or missing key."""
        problems: list[Problem] = []
        values: dict[str, Any] = {}
        for key in keys_of(cls):
            text = properties.get(key.name)
            if text is None:
                if key.default is NODEFAULT:
                    problems.append(
                        Problem(
                            key.name,
                            f'Missing required configuration "{key.name}" which has no default value: '
                            f"give it {_expected(key)}",
                        )
                    )
                continue
            try:
                values[key.attribute] = _read(key, text, fold=key.name in cls.ignore_case)
            except ValueError as error:
                shown = HIDDEN if key.kind is Password else text
                problems.append(Problem(key.name, f"Invalid value {shown} for configuration {key.name}: {error}"))
        if problems:
            raise ConfigError(problems)
        return cls(**values)


@cache
def keys_of(config: type[Config]) -> tuple[Key, ...]:
    """Every key that `config` declares, in order."""
    hints = typing.get_type_hints(config, include_extras=True)
    keys = []
    for field in msgspec.structs.fields(config):
        annotation = hints[field.name]
        kind, is_nullable, description = _unwrap(annotation)
        default = field.default if field.default_factory is NODEFAULT else field.default_factory()
        keys.append(Key(field.name, field.encode_name, annotation, kind, is_nullable, default, description))
    return tuple(keys)


def _unwrap(annotation: Any) -> tuple[Any, bool, str]:
    description = ""
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        description = " ".join(extra.description for extra in extras if isinstance(extra, Meta) and extra.description)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        assert len(members) == 1, f"a key has one type, and None perhaps: {annotation}"
        kind, _, inner = _unwrap(members[0])
        return kind, True, description or inner
    return annotation, False, description


def _expected(key: Key) -> str:
    if get_origin(key.kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(key.kind)))
    if get_origin(key.kind) is list:
        return "a list, separated by commas"
    return _KIND_NAMES.get(key.kind, "a text")


def _read(key: Key, text: str, *, fold: bool) -> Any:
    text = text if isinstance(text, str) else str(text)
    trimmed = text.strip()
    kind = key.kind
    if kind is Password:
        return Password(trimmed)
    if get_origin(kind) is list:
        return _checked(key, [part.strip() for part in trimmed.split(",")] if trimmed else [])
    if get_origin(kind) is Literal:
        for choice in get_args(kind):
            if trimmed == choice or (fold and trimmed.lower() == choice.lower()):
                return choice
        raise ValueError(f"expected {_expected(key)}")
    if kind is bool:
        if trimmed.lower() not in ("true", "false"):
            raise ValueError("Expected value to be either true or false")
        return trimmed.lower() == "true"
    if kind in _NUMBER:
        if not _NUMBER[kind].match(trimmed):
            raise ValueError(f"expected {_expected(key)}")
        return _checked(key, kind(trimmed))
    return _checked(key, trimmed)


def _checked(key: Key, value: Any) -> Any:
    try:
        return msgspec.convert(value, key.annotation)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
