"""A schema of Connect to the text of a `.proto` file.

    STRUCT Order(id INT64, level INT8, note optional STRING)
    message Order { int64 id = 1; int32 level = 2 [(confluent.field_meta) = {...}]; optional string note = 3; }

Used by: converter.py.
Source: what Confluent's converter registers (its ProtobufData).
"""

from __future__ import annotations

import re
from urllib.parse import quote_plus

from converters.protobuf import names
from engine.api.errors import DataError
from engine.api.schema import Field, Schema

__all__ = ["ProtoSchemas"]

_SCALARS = {
    "INT8": "int32", "INT16": "int32", "INT32": "int32", "INT64": "int64", "FLOAT32": "float", "FLOAT64": "double",
    "BOOLEAN": "bool", "STRING": "string", "BYTES": "bytes",
}  # fmt: skip
_WRAPPERS = {
    "INT8": "Int32Value", "INT16": "Int32Value", "INT32": "Int32Value", "INT64": "Int64Value", "FLOAT32": "FloatValue",
    "FLOAT64": "DoubleValue", "BOOLEAN": "BoolValue", "STRING": "StringValue", "BYTES": "BytesValue",
}  # fmt: skip
_MAP_KEYS = frozenset({"INT8", "INT16", "INT32", "INT64", "BOOLEAN", "STRING"})
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class ProtoSchemas:
    """Makes files by the rules of one configured converter."""

    def __init__(self, *, has_wrappers: bool, has_optionals: bool, scrubs: bool) -> None:
        """has_wrappers: optional scalars are wrapper messages. has_optionals: they have the label `optional`."""
        self.has_wrappers = has_wrappers
        self.has_optionals = has_optionals
        self._scrubs = scrubs

    def of(self, schema: Schema | None) -> str:
        """The text of the file for values of `schema`. Raises DataError for one that there is none for."""
        if schema is None or schema.type != "STRUCT" or schema.name == names.UNION:
            raise DataError(
                "a message of Protocol Buffers is a struct", expected="a value with a schema of type STRUCT"
            )
        try:
            return _Making(self, schema).text
        except RecursionError:
            raise DataError("a schema that is nested too deeply for Protocol Buffers") from None

    def name(self, name: str) -> str:
        """A name that a file takes."""
        if self._scrubs:
            encoded = quote_plus(name, safe="*")
            return re.sub(r"[^A-Za-z0-9_]", "_", encoded if re.match(r"[A-Za-z]", encoded) else f"x{encoded}")
        if not _WORD.match(name):
            raise DataError(
                f'the name "{name}" cannot stand in Protocol Buffers, which take letters, digits and _; '
                "scrub.invalid.names=true replaces what cannot stand"
            )
        return name


class _Making:
    def __init__(self, rules: ProtoSchemas, schema: Schema) -> None:
        self._rules = rules
        self._imports: set[str] = set()
        self._nameless = 0
        self._messages: dict[str, Schema] = {}  # by their full names, so that one stands once
        space, _, last = (schema.name or self._default()).rpartition(".")
        self._package = ".".join(map(rules.name, space.split("."))) if space else ""
        lines = self._message(rules.name(last), schema)
        head = ['syntax = "proto3";', *([f"package {self._package};"] if space else []), ""]
        imports = [f'import "{name}";' for name in sorted(self._imports)]
        self.text = "\n".join([*head, *imports, *([""] if imports else []), *lines, ""])

    def _default(self) -> str:
        self._nameless += 1
        return f"ConnectDefault{self._nameless}"

    def _message(self, name: str, schema: Schema) -> list[str]:
        inner: list[str] = []
        fields: list[str] = []
        numbers = _numbers(schema)
        taken = {name}
        for field in schema.fields:
            if names.is_union(field.schema):
                oneof = self._rules.name(names.union_name(field.schema))
                fields.append(f"oneof {oneof} {{")
                fields += [
                    f"  {self._field(one, numbers[field.name, one.name], inner, taken, in_oneof=True)}"
                    for one in field.schema.fields
                ]
                fields.append("}")
            else:
                fields.append(self._field(field, numbers[field.name, ""], inner, taken))
        return [f"message {name} {{", *(f"  {line}" for line in (*fields, *inner)), "}"]

    def _field(self, field: Field, number: int, inner: list[str], taken: set[str], *, in_oneof: bool = False) -> str:
        schema = field.schema
        name = self._rules.name(field.name)
        label = ""
        if schema.type == "ARRAY":
            if in_oneof:
                raise DataError(f"{field.name}: an array cannot stand in a oneof")
            assert schema.value_schema is not None
            if schema.value_schema.type == "ARRAY":
                raise DataError(f"{field.name}: Array cannot be nested")
            kind, options = self._type(schema.value_schema.replaced(optional=False), name, inner, taken)
            label = "repeated "
            if schema.value_schema.type == "MAP":
                raise DataError(f"{field.name}: a map cannot be the element of an array in Protocol Buffers")
        elif schema.type == "MAP":
            if in_oneof:
                raise DataError(f"{field.name}: a map cannot stand in a oneof")
            kind, label = self._map(schema, name, inner, taken)
            options = ""
        else:
            kind, options = self._type(schema, name, inner, taken)
            is_scalar = schema.logical is None and schema.type != "STRUCT"
            if is_scalar and schema.optional and self._rules.has_optionals and not in_oneof:
                label = "optional "
        return f"{label}{kind} {name} = {number}{options};"

    def _map(self, schema: Schema, name: str, inner: list[str], taken: set[str]) -> tuple[str, str]:
        key, value = schema.key_schema, schema.value_schema
        assert key is not None
        assert value is not None
        is_plain = key.type in _MAP_KEYS and not key.optional and key.logical is None and not value.optional
        if is_plain and value.type not in ("ARRAY", "MAP") and not _has_meta(key) and not _has_meta(value):
            return f"map<{_SCALARS[key.type]}, {self._type(value, name, inner, taken)[0]}>", ""
        entry = Schema.struct({"key": key, "value": value})
        made = _unused(names.entry_name(name), taken)
        inner += self._message(made, entry)
        return made, "repeated "

    def _type(self, schema: Schema, name: str, inner: list[str], taken: set[str]) -> tuple[str, str]:
        """The type of a value that is neither a list nor a map, and the options of its field."""
        if schema.logical is not None:
            kind, file = names.LOGICAL[schema.logical]
            self._imports.add(file)
            return kind, self._meta({"scale": str(schema.scale)}) if schema.logical == "Decimal" else ""
        if schema.type == "STRUCT":
            return self._nested(schema, name, inner, taken), ""
        symbols = names.symbols(schema)
        if symbols:
            made = self._rules.name((schema.parameters or {})[names.ENUM].rpartition(".")[2] or f"{name}Enum")
            if made not in taken:
                taken.add(made)
                inner += [f"enum {made} {{", *(f"  {one} = {tag};" for one, tag in symbols.items()), "}"]
            return made, ""
        if self._rules.has_wrappers and schema.optional:
            self._imports.add("google/protobuf/wrappers.proto")
            kind = f"google.protobuf.{_WRAPPERS[schema.type]}"
        else:
            kind = _SCALARS[schema.type]
        options = self._meta({"connect.type": schema.type.lower()}) if schema.type in ("INT8", "INT16") else ""
        return kind, options

    def _nested(self, schema: Schema, name: str, inner: list[str], taken: set[str]) -> str:
        bare = schema.replaced(optional=False, parameters=None)
        made = self._rules.name((schema.name or self._default()).rpartition(".")[2])
        if made == name:
            made = f"{made}Message"
        before = self._messages.get(made)
        if before == bare and made in taken:
            return made
        made = _unused(made, taken)
        self._messages[made] = bare
        inner += self._message(made, schema)
        return made

    def _meta(self, params: dict[str, str]) -> str:
        self._imports.add("confluent/meta.proto")
        shown = ", ".join(f'{{ key: "{key}", value: "{value}" }}' for key, value in params.items())
        return f" [(confluent.field_meta) = {{ params: [{shown}] }}]"


def _has_meta(schema: Schema) -> bool:
    return schema.type in ("INT8", "INT16") or schema.logical == "Decimal"


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _numbers(schema: Schema) -> dict[tuple[str, str], int]:
    """The number of each field: the one that its parameter tells, else the next that is free."""
    told: dict[tuple[str, str], str | None] = {}
    for field in schema.fields:
        parts = (
            [(one.name, one.schema) for one in field.schema.fields]
            if names.is_union(field.schema)
            else [("", field.schema)]
        )
        for name, part in parts:
            told[field.name, name] = (part.parameters or {}).get(names.TAG)
    used = {int(number) for number in told.values() if number is not None and number.isdigit()}
    found: dict[tuple[str, str], int] = {}
    taken: set[int] = set()
    following = 1
    for place, number in told.items():
        if number is not None and number.isdigit() and int(number) > 0 and int(number) not in taken:
            found[place] = int(number)
        else:
            while following in used or following in taken or 19_000 <= following <= 19_999:
                following += 1
            found[place] = following
        taken.add(found[place])
    return found
