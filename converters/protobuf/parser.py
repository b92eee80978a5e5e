"""The text of a `.proto` file to its descriptor.

    message Order { int64 id = 1; repeated Item items = 2; }  ──►  its descriptor, and params of confluent.field_meta

Reads the languages proto2 and proto3: packages, imports, messages, enums, oneofs, maps, reserved numbers, options. Of
options it keeps `default`, `packed`, `allow_alias` and the params of `confluent.field_meta`; extensions and services,
which say nothing of how a message is encoded here, are skipped. Whether names and numbers fit together is checked where
the descriptor is added to a pool.

Used by: files.py.
Source: the language's specification.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from google.protobuf import descriptor_pb2

from engine.api.errors import DataError

__all__ = ["DEPTH_MAX", "Params", "parse"]

#: Messages within each other.
DEPTH_MAX = 64
#: Params of `confluent.field_meta` by the full name of the field.
Params = dict[str, dict[str, str]]

_TOKEN = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<word>[A-Za-z_][\w.]*|\.[A-Za-z_][\w.]*)|(?P<number>-?(?:0[xX][0-9a-fA-F]+|[\d.]+(?:[eE][+-]?\d+)?))"""
    r"""|(?P<sign>[{}\[\]()<>;:,=/-])""",
    re.DOTALL,
)
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in (
        "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
        "sfixed64", "bool", "string", "bytes",
    )
}  # fmt: skip
_LABELS = {
    "optional": _Field.LABEL_OPTIONAL,
    "required": _Field.LABEL_REQUIRED,
    "repeated": _Field.LABEL_REPEATED,
}
_NUMBER_MAX = 2**29 - 1


def parse(name: str, text: str) -> tuple[descriptor_pb2.FileDescriptorProto, Params]:
    """The descriptor of a file of this name, and what its fields' metadata say. Raises DataError with the line."""
    return _Parser(name, text).file()


class _Parser:
    def __init__(self, name: str, text: str) -> None:
        self._text = text
        self._tokens = self._scanned(text)
        self._at = 0
        self._made = descriptor_pb2.FileDescriptorProto(name=name)
        self._params: Params = {}
        self._depth = 0

    def _scanned(self, text: str) -> list[tuple[str, int]]:
        tokens = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._error(f"{text[at]!r} has no place here", at)
            if found.lastgroup is not None:
                tokens.append((found[0], at))
            at = found.end()
        return tokens

    def _error(self, told: str, at: int) -> DataError:
        return DataError(f"no schema of Protocol Buffers: line {self._text.count(chr(10), 0, at) + 1}: {told}")

    def _peek(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._error("the text ends too early", len(self._text))
        self._at += 1
        return token

    def _wrong(self, expected: str) -> DataError:
        token, at = self._tokens[self._at - 1]
        return self._error(f"{token!r}, expected {expected}", at)

    def _takes(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise self._wrong(f"{token!r}")

    def _name(self) -> str:
        token = self._next()
        if not re.match(r"[A-Za-z_]\w*\Z", token):
            raise self._wrong("a name")
        return token

    def _type(self) -> str:
        token = self._next()
        if not re.match(r"\.?[A-Za-z_][\w.]*\Z", token):
            raise self._wrong("a type")
        return token

    def _int(self) -> int:
        token = self._next()
        try:
            return int(token, 0) if not re.match(r"-?0[0-7]+\Z", token) else int(token, 8)
        except ValueError:
            raise self._wrong("a number") from None

    def _string(self) -> str:
        token = self._next()
        if token[0] not in "\"'":
            raise self._wrong("a text in quotes")
        text = str(ast.literal_eval(token))
        while self._peek()[:1] in ('"', "'"):
            text += str(ast.literal_eval(self._next()))
        return text

    def file(self) -> tuple[descriptor_pb2.FileDescriptorProto, Params]:
        """All of the text."""
        self._made.syntax = "proto2"
        while self._at < len(self._tokens):
            word = self._next()
            if word in ("syntax", "edition"):
                self._expect("=")
                self._made.syntax = self._string()
                if word == "edition" or self._made.syntax not in ("proto2", "proto3"):
                    raise self._wrong('syntax "proto2" or "proto3"')
                self._expect(";")
            elif word == "package":
                self._made.package = self._type()
                self._expect(";")
            elif word == "import":
                is_public = self._takes("public")
                self._takes("weak")
                self._made.dependency.append(self._string())
                if is_public:
                    self._made.public_dependency.append(len(self._made.dependency) - 1)
                self._expect(";")
            elif word == "message":
                self._message(self._made.message_type.add(), self._made.package)
            elif word == "enum":
                self._enum(self._made.enum_type.add())
            elif word in ("option", "service", "extend"):
                self._skip()
            elif word != ";":
                raise self._wrong("message, enum, import, package, option")
        return self._made, self._params

    def _skip(self) -> None:
        """To the end of a statement or of its block."""
        depth = 0
        while True:
            sign = self._next()
            if sign == "{":
                depth += 1
            elif sign == "}":
                depth -= 1
                if depth == 0 and self._peek() != ";":
                    return
            elif sign == ";" and depth == 0:
                return

    def _message(self, made: descriptor_pb2.DescriptorProto, scope: str) -> None:
        made.name = self._name()
        full = f"{scope}.{made.name}" if scope else made.name
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._wrong(f"at most {DEPTH_MAX} messages within each other")
        self._expect("{")
        while not self._takes("}"):
            word = self._peek()
            if word == "message" and self._is_definition():
                self._next()
                self._message(made.nested_type.add(), full)
            elif word == "enum" and self._is_definition():
                self._next()
                self._enum(made.enum_type.add())
            elif word == "oneof" and self._is_definition():
                self._next()
                self._oneof(made, full)
            elif word in ("option", "reserved", "extensions", "extend") and self._peek_at(1) != "=":
                self._next()
                self._skip()
            elif not self._takes(";"):
                self._field(made, full)
        self._depth -= 1
        self._add_synthetic_oneofs(made)

    def _is_definition(self) -> bool:
        """Whether the word at hand begins a definition, and is not the type of a field."""
        return self._peek_at(2) == "{"

    def _peek_at(self, ahead: int) -> str:
        at = self._at + ahead
        return self._tokens[at][0] if at < len(self._tokens) else ""

    def _oneof(self, made: descriptor_pb2.DescriptorProto, full: str) -> None:
        made.oneof_decl.add().name = self._name()
        index = len(made.oneof_decl) - 1
        self._expect("{")
        while not self._takes("}"):
            if self._peek() == "option" and self._peek_at(1) != "=":
                self._skip()
            elif not self._takes(";"):
                self._field(made, full, oneof_index=index)

    def _field(self, made: descriptor_pb2.DescriptorProto, full: str, oneof_index: int | None = None) -> None:
        field = made.field.add()
        label = self._peek()
        field.label = _Field.LABEL_OPTIONAL
        if label in _LABELS and self._peek_at(2) != "=":
            self._next()
            field.label = _LABELS[label]
            field.proto3_optional = label == "optional" and self._made.syntax == "proto3"
        kind = self._type()
        if kind == "group":
            raise self._wrong("a type; groups are not read")
        if kind == "map" and self._takes("<"):
            self._map(made, field)
        elif kind in _SCALARS:
            field.type = _SCALARS[kind]
            field.name = self._name()
        else:
            field.type_name = kind
            field.name = self._name()
        if oneof_index is not None:
            field.oneof_index = oneof_index
        self._expect("=")
        field.number = self._int()
        if not 1 <= field.number <= _NUMBER_MAX:
            raise self._wrong(f"the number of a field, 1 to {_NUMBER_MAX}")
        if self._takes("["):
            self._options(field, f"{full}.{field.name}")
        self._expect(";")

    def _map(self, made: descriptor_pb2.DescriptorProto, field: Any) -> None:
        key = self._type()
        self._expect(",")
        value = self._type()
        self._expect(">")
        field.name = self._name()
        entry = made.nested_type.add()
        entry.name = "".join(part[:1].upper() + part[1:] for part in field.name.split("_")) + "Entry"
        entry.options.map_entry = True
        for number, (name, kind) in enumerate((("key", key), ("value", value)), 1):
            one = entry.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
            if kind in _SCALARS:
                one.type = _SCALARS[kind]
            else:
                one.type_name = kind
        field.label = _Field.LABEL_REPEATED
        field.type_name = entry.name

    def _options(self, field: Any, full: str) -> None:
        while True:
            name = self._option_name()
            self._expect("=")
            value = self._value()
            if name == "default":
                field.default_value = "true" if value is True else "false" if value is False else str(value)
            elif name == "packed":
                field.options.packed = bool(value)
            elif name.startswith("(confluent.field_meta)"):
                meta = {name.rpartition(".")[2]: value} if name.endswith(".params") else value
                self._params.setdefault(full, {}).update(_params_of(meta))
            if self._takes("]"):
                return
            self._expect(",")

    def _option_name(self) -> str:
        name = ""
        while True:
            if self._takes("("):
                name += f"({self._type().lstrip('.')})"
                self._expect(")")
            else:
                name += self._next()
            if self._peek() == "=":
                return name

    def _value(self) -> Any:
        found = self._peek()
        if found in ("{", "<"):
            return self._aggregate()
        if found == "[":
            self._next()
            values = []
            while not self._takes("]"):
                values.append(self._value())
                self._takes(",")
            return values
        if found[:1] in ('"', "'"):
            return self._string()
        self._next()
        if found == "-":
            return f"-{self._next()}"
        return {"true": True, "false": False}.get(found, found)

    def _aggregate(self) -> dict[str, Any]:
        end = "}" if self._next() == "{" else ">"
        found: dict[str, Any] = {}
        while not self._takes(end):
            name = self._next()
            if name == "[":
                name = self._type()
                self._expect("]")
            if not self._takes(":") and self._peek() not in ("{", "<"):
                raise self._wrong("':'")
            value = self._value()
            if name in found:
                before = found[name] if isinstance(found[name], list) else [found[name]]
                found[name] = [*before, *(value if isinstance(value, list) else [value])]
            else:
                found[name] = value
            if not self._takes(","):
                self._takes(";")
        return found

    def _enum(self, made: descriptor_pb2.EnumDescriptorProto) -> None:
        made.name = self._name()
        self._expect("{")
        while not self._takes("}"):
            if self._peek() == "option" and self._peek_at(1) != "=":
                self._next()
                if self._peek() == "allow_alias":
                    self._next()
                    self._expect("=")
                    made.options.allow_alias = self._next() == "true"
                    self._expect(";")
                else:
                    self._skip()
            elif self._peek() == "reserved" and self._peek_at(1) != "=":
                self._skip()
            elif not self._takes(";"):
                value = made.value.add(name=self._name())
                self._expect("=")
                value.number = self._int()
                if self._takes("["):
                    while self._next() != "]":
                        pass
                self._expect(";")

    @staticmethod
    def _add_synthetic_oneofs(made: descriptor_pb2.DescriptorProto) -> None:
        """As the language has it: an `optional` of proto3 is a oneof of its own, behind the others."""
        for field in made.field:
            if field.proto3_optional:
                field.oneof_index = len(made.oneof_decl)
                made.oneof_decl.add().name = f"_{field.name}"


def _params_of(meta: Any) -> dict[str, str]:
    params = meta.get("params", []) if isinstance(meta, dict) else []
    pairs = params if isinstance(params, list) else [params]
    return {str(one.get("key")): str(one.get("value")) for one in pairs if isinstance(one, dict)}
