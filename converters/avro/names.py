"""The names by which Connect's schemas survive in Avro's: properties, parameters and records of Confluent's converter.

Source: what that converter registers, and its documentation.
"""

from __future__ import annotations

import re
from urllib.parse import quote_plus

from engine.api.errors import DataError

__all__ = ["check_name", "full_name", "scrubbed", "split"]

NAMESPACE = "io.confluent.connect.avro"
DEFAULT_NAME = "ConnectDefault"
ENTRY_NAME = "MapEntry"
UNION = f"{NAMESPACE}.Union"
#: Parameters of a Connect schema.
ENUM = f"{NAMESPACE}.Enum"
ENUM_DOC = f"{NAMESPACE}.enum.doc."
ENUM_DEFAULT = f"{NAMESPACE}.enum.default."
RECORD_DOC = f"{NAMESPACE}.record.doc"
FIELD_DOC = f"{NAMESPACE}.field.doc."
FIELD_DEFAULT = f"{NAMESPACE}.field.default"
PRECISION = "connect.decimal.precision"
PRECISION_DEFAULT = 64
FIXED_SIZE = "connect.fixed.size"
#: Properties of a schema of Avro.
DOC, VERSION, PARAMETERS = "connect.doc", "connect.version", "connect.parameters"
DEFAULT, NAME, TYPE = "connect.default", "connect.name", "connect.type"
INTERNAL_TYPE = "connect.internal.type"
PASSED = "avro"  # properties that begin so are parameters of the same name

#: Types of Avro that are written by their name alone.
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

_DEFAULT_FULL = re.compile(rf"{re.escape(NAMESPACE)}\.{DEFAULT_NAME}[0-9]*\Z")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_START = re.compile(r"[A-Za-z_]")
_REST = re.compile(r"[^A-Za-z0-9_]")


def is_default(name: str) -> bool:
    """Whether a record was given this name because its schema has none."""
    return _DEFAULT_FULL.match(name) is not None


def split(name: str) -> tuple[str, str]:
    """Namespace (empty: none) and last part of a full name."""
    space, _, last = name.rpartition(".")
    return space, last


def full_name(name: str, space: str) -> str:
    """The full name of one that stands in a namespace."""
    return name if "." in name or not space else f"{space}.{name}"


def scrubbed(name: str) -> str:
    """A name of which every part is one that Avro takes."""
    return ".".join(map(_scrubbed_word, name.split(".")))


def check_name(name: str, what: str) -> str:
    """The name. Raises DataError for one that Avro does not take."""
    if not all(map(_WORD.match, name.split("."))):
        raise DataError(
            f'the name "{name}" of {what} cannot stand in Avro, which takes letters, digits and _ after a first letter '
            "or _; scrub.invalid.names=true replaces what cannot stand"
        )
    return name


def _scrubbed_word(word: str) -> str:
    encoded = quote_plus(word, safe="*")
    if not _START.match(encoded):
        encoded = f"x{encoded}"
    return _REST.sub("_", encoded)
