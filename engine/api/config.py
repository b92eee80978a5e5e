"""A configuration is declared once, as a typed Struct: parsing, validation and documentation read it there.

    class FileConfig(Config, frozen=True, kw_only=True):
        file: Annotated[str | None, Meta(description="None: standard input.")] = None
        batch_size: Annotated[int, Meta(ge=1)] = field(name="batch.size", default=2000)

    FileConfig.parse({"file": "a.txt", "batch.size": "no"})   raises ConfigError, naming every bad key

Text is read as Kafka's ConfigDef reads it, and refused in its words: trimmed; `true`/`false` in any case; numbers with
an optional sign and without underscores; lists split at commas. Kafka Connect's reference, section 5.8.

How clients show a key is Meta's to say: `title`, and in `extra` `group`, `importance` ("HIGH", "MEDIUM", "LOW"),
`width` ("NONE", "SHORT", "MEDIUM", "LONG"), `dependents` (names of keys).
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
_INT_MAX = 2**31 - 1
#: Java's types of whole numbers, by their largest.
_JAVA_INTS = {2**15 - 1: "SHORT", _INT_MAX: "INT", 2**63 - 1: "LONG"}


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
    metas: tuple[Meta, ...] = ()  # what is declared of it, outermost first

    @property
    def java_type(self) -> str:
        """Kafka's word for what it holds: an int with a bound below 2**31 is an INT, any other a LONG."""
        if get_origin(self.kind) is list:
            return "LIST"
        if self.kind is int:
            return _JAVA_INTS[self.largest]
        return _JAVA_TYPES.get(self.kind, "STRING")

    @property
    def largest(self) -> int:
        """Of Java's type, when it is a whole number."""
        bounds = [int(meta.le) for meta in self.metas if meta.le is not None]
        return min(largest for largest in _JAVA_INTS if largest >= min([*bounds, 2**63 - 1]))

    @property
    def has_bounds(self) -> bool:
        """Whether not every number of its type is taken."""
        return any(meta.ge is not None or meta.le not in (None, *_JAVA_INTS) for meta in self.metas)


_JAVA_TYPES = {Password: "PASSWORD", bool: "BOOLEAN", float: "DOUBLE"}


class Config(Struct, frozen=True, kw_only=True):
    """The base of every declared configuration; on its own it declares nothing."""

    #: Names of keys whose text is compared without regard to case (Java's CaseInsensitiveValidString).
    ignore_case: ClassVar[frozenset[str]] = frozenset()
    #: Beginnings of keys whose names hold something of the user's (`topic.NAME.`): `parse` leaves them alone, and they
    #: are not unknown. Whoever declares them reads them, and tells of bad ones in `Connector.validate`.
    key_prefixes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def parse(cls, properties: Mapping[str, str | None]) -> Self:
        """Read the declared keys; other keys are left alone. Raises ConfigError with every bad or missing key."""
        problems: list[Problem] = []
        values: dict[str, Any] = {}
        for key in keys_of(cls):
            value, messages = cls.read_key(key, properties.get(key.name))
            problems += [Problem(key.name, message) for message in messages[:1]]
            if properties.get(key.name) is not None:
                values[key.attribute] = value
        if problems:
            raise ConfigError(problems)
        return cls(**values)

    @classmethod
    def read_key(cls, key: Key, text: str | None) -> tuple[Any, tuple[str, ...]]:
        """The value of one of its keys, and what is wrong with it, as Kafka would list it.

        text: None: none is given. The value is None when the text is none of its type.
        """
        if text is None:
            if key.default is NODEFAULT:
                return None, (f'Missing required configuration "{key.name}" which has no default value.',)
            return key.default, ()
        try:
            return _read(key, text, fold=key.name in cls.ignore_case), ()
        except _WordsError as error:
            shown = HIDDEN if key.kind is Password else text if error.value is None else text.strip()
            first = str(error) if error.is_whole else f"Invalid value {shown} for configuration {key.name}: {error}"
            if error.value is not None or key.is_nullable or not key.has_bounds:
                return error.value, (first,)
            # Kafka checks the bounds of what could not be read, too.
            return None, (first, f"Invalid value null for configuration {key.name}: Value must be non-null")


@cache
def keys_of(config: type[Config]) -> tuple[Key, ...]:
    """Every key that `config` declares, in order."""
    hints = typing.get_type_hints(config, include_extras=True)
    keys = []
    for field in msgspec.structs.fields(config):
        annotation = hints[field.name]
        kind, is_nullable, metas = _unwrap(annotation)
        description = next((meta.description for meta in metas if meta.description), "")
        default = field.default if field.default_factory is NODEFAULT else field.default_factory()
        keys.append(Key(field.name, field.encode_name, annotation, kind, is_nullable, default, description, metas))
    return tuple(keys)


class _WordsError(ValueError):
    """What is wrong with a text, in Kafka's words. value: what it is all the same; None: no value of its type.

    is_whole: these are all of the words, and name the key.
    """

    def __init__(self, words: str, value: Any = None, *, is_whole: bool = False) -> None:
        super().__init__(words)
        self.value = value
        self.is_whole = is_whole


def _unwrap(annotation: Any) -> tuple[Any, bool, tuple[Meta, ...]]:
    metas: tuple[Meta, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        metas = tuple(extra for extra in extras if isinstance(extra, Meta))
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        assert len(members) == 1, f"a key has one type, and None perhaps: {annotation}"
        kind, _, inner = _unwrap(members[0])
        return kind, True, (*metas, *inner)
    return annotation, False, metas


def _read(key: Key, text: str, *, fold: bool) -> Any:
    text = text if isinstance(text, str) else str(text)
    trimmed = text.strip()
    kind = key.kind
    if kind is Password:
        return Password(trimmed)
    if get_origin(kind) is list:
        if not trimmed and any(meta.min_length for meta in key.metas):
            words = f"Configuration '{key.name}' must not be empty. Valid values include: any non-empty value"
            raise _WordsError(words, [], is_whole=True)
        return _checked(key, [part.strip() for part in trimmed.split(",")] if trimmed else [])
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        for choice in choices:
            if trimmed == choice or (fold and trimmed.lower() == choice.lower()):
                return choice
        how, shown = (" (case insensitive)", [one.upper() for one in choices]) if fold else ("", choices)
        raise _WordsError(f"String must be one of{how}: {', '.join(shown)}", trimmed)
    if kind is bool:
        if trimmed.lower() not in ("true", "false"):
            raise _WordsError("Expected value to be either true or false")
        return trimmed.lower() == "true"
    if kind in _NUMBER:
        return _number(key, trimmed)
    return _checked(key, trimmed)


def _number(key: Key, trimmed: str) -> int | float:
    unread = _WordsError(f"Not a number of type {key.java_type}")
    if not _NUMBER[key.kind].match(trimmed):
        raise unread
    value: int | float = key.kind(trimmed)
    if key.kind is int and not -key.largest - 1 <= value <= key.largest:
        raise unread
    for meta in key.metas:
        if meta.ge is not None and value < meta.ge:
            raise _WordsError(f"Value must be at least {meta.ge}", value)
        if meta.le is not None and value > meta.le:
            raise _WordsError(f"Value must be no more than {meta.le}", value)
    return value


def _checked(key: Key, value: Any) -> Any:
    if value == "" and any(meta.min_length for meta in key.metas):
        raise _WordsError("String must be non-empty", value)
    try:
        return msgspec.convert(value, key.annotation)
    except msgspec.ValidationError as error:
        raise _WordsError(str(error), value) from None
