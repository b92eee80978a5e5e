"""A struct of Connect to a message of Protocol Buffers: which field goes where, decided once.

Used by: converter.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import EncodeError

from converters.protobuf import names
from converters.protobuf.from_connect import ProtoSchemas
from converters.protobuf.indexes import written_indexes
from converters.protobuf.reader import is_map
from converters.protobuf.values import checked, to_message
from converters.registry.converter import Column
from engine.api.errors import DataError
from engine.api.schema import Schema, schema_of
from engine.api.validation import java_class

__all__ = ["ProtobufWriter"]

Change = Callable[[Any], Any]
#: Attribute and name of a field of a struct, name in the message, and how its value is written.
Put = tuple[str, str, str, Schema, Change]


class ProtobufWriter:
    """Writes values of one schema."""

    def __init__(
        self, schema: Schema, descriptor: Any, indexes: tuple[int, ...], rules: ProtoSchemas, *, is_strict: bool
    ) -> None:
        """is_strict: a field that the message lacks is an error, else it is left out."""
        self._rules = rules
        self._is_strict = is_strict
        self._indexes = written_indexes(indexes)
        self._make = self._struct(schema, descriptor)

    def write(self, values: Sequence[Any], prefix: bytes) -> Column:
        """The payloads of values, none of which is None; each begins with `prefix`."""
        column = Column([], [])
        head = prefix + self._indexes
        for index, value in enumerate(values):
            try:
                column.slots.append(head + self._make(value).SerializeToString())
            except (DataError, EncodeError, ValueError, TypeError, RecursionError) as error:
                told = error if isinstance(error, DataError) else DataError(f"no message of its schema: {error}")
                column.slots.append(None)
                column.failures.append((index, told))
        return column

    def _struct(self, schema: Schema, descriptor: Any) -> Change:
        kind = message_factory.GetMessageClass(descriptor)
        puts: list[Put] = []
        unions = []
        for field, attribute in zip(schema.fields, schema.struct_type.__struct_fields__, strict=True):
            if names.is_union(field.schema):
                unions.append((attribute, field.name, field.schema, self._puts(field.schema, descriptor)))
            else:
                puts += self._put(field.name, attribute, field.schema, descriptor)

        def make(value: Any) -> Any:
            if schema_of(value) != schema:
                raise DataError(f"Mismatching struct schema: class {java_class(value)}")
            found: dict[str, Any] = {}
            _collect(value, puts, found)
            for attribute, name, union, inner in unions:
                held = getattr(value, attribute)
                if held is None and union.optional:
                    continue
                if schema_of(held) != union:
                    raise DataError(f"Mismatching struct schema: class {java_class(held)}").within(f".{name}")
                chosen = [one for one in inner if getattr(held, one[0]) is not None][:1]
                if not chosen:
                    raise DataError("Cannot find non-null field").within(f".{name}")
                _collect(held, chosen, found)
            return kind(**found)

        return make

    def _puts(self, schema: Schema, descriptor: Any) -> list[Put]:
        attributes = schema.struct_type.__struct_fields__
        return [
            put
            for field, attribute in zip(schema.fields, attributes, strict=True)
            for put in self._put(field.name, attribute, field.schema, descriptor)
        ]

    def _put(self, name: str, attribute: str, schema: Schema, descriptor: Any) -> list[Put]:
        target = self._rules.name(name)
        field = descriptor.fields_by_name.get(target)
        if field is None:
            if not self._is_strict:
                return []
            raise DataError(
                f"the registered message {descriptor.full_name} has no field {target}; "
                "latest.compatibility.strict=false (id.compatibility.strict=false) leaves such fields out"
            )
        try:
            return [(attribute, name, target, schema, self._field(schema, field))]
        except DataError as error:
            raise DataError(f"{name}: {error}") from error

    def _field(self, schema: Schema, field: Any) -> Change:
        if schema.type == "MAP":
            if not is_map(field):
                raise _no_place(schema, field)
            return self._map(schema, field)
        if (schema.type == "ARRAY") != field.is_repeated or is_map(field):
            raise _no_place(schema, field)
        if schema.type != "ARRAY":
            return self._single(schema, field)
        assert schema.value_schema is not None
        one = self._single(schema.value_schema, field)

        def change(value: Any) -> Any:
            if not isinstance(value, list | tuple):
                raise DataError(f"Invalid type for ARRAY: class {java_class(value)}")
            return [_within(f"[{index}]", one, element) for index, element in enumerate(value)]

        return change

    def _single(self, schema: Schema, field: Any) -> Change:
        message = field.message_type
        if schema.logical is not None:
            if message is None or message.full_name != names.LOGICAL[schema.logical][0]:
                raise _no_place(schema, field)
            return to_message(schema, message_factory.GetMessageClass(message))
        if schema.type == "STRUCT":
            if message is None:
                raise _no_place(schema, field)
            return self._struct(schema, message)
        if message is not None:
            value = message.fields_by_name.get("value")
            if value is None or not message.full_name.startswith("google.protobuf.") or schema.type in ("ARRAY", "MAP"):
                raise _no_place(schema, field)
            kind, one = message_factory.GetMessageClass(message), self._single(schema, value)
            return lambda held: kind(value=one(held))
        if field.enum_type is not None:
            return _symbols(schema, field)
        if schema.type in ("ARRAY", "MAP") or _KINDS[schema.type] != _kind(field):
            raise _no_place(schema, field)
        return checked(schema)

    def _map(self, schema: Schema, field: Any) -> Change:
        assert schema.key_schema is not None
        assert schema.value_schema is not None
        key_field, value_field = field.message_type.fields
        key, value = self._field(schema.key_schema, key_field), self._field(schema.value_schema, value_field)
        is_native = field.message_type.GetOptions().map_entry
        kind = message_factory.GetMessageClass(field.message_type)

        def change(held: Any) -> Any:
            if not isinstance(held, dict):
                raise DataError(f"Invalid type for MAP: class {java_class(held)}")
            if is_native:
                return {_within(".key", key, one): _within(f".{one}", value, other) for one, other in held.items()}
            entries = []
            for one, other in held.items():
                parts = {}
                if one is not None:
                    parts["key"] = _within(".key", key, one)
                if other is not None:
                    parts["value"] = _within(f".{one}", value, other)
                entries.append(kind(**parts))
            return entries

        return change


_KINDS = {
    "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int", "FLOAT32": "float", "FLOAT64": "float",
    "BOOLEAN": "bool", "STRING": "str", "BYTES": "bytes",
}  # fmt: skip
_CPP_KINDS = {1: "int", 2: "int", 3: "int", 4: "int", 5: "float", 6: "float", 7: "bool", 9: "str"}


def _kind(field: Any) -> str:
    return "bytes" if field.type == field.TYPE_BYTES else _CPP_KINDS.get(field.cpp_type, "message")


def _collect(value: Any, puts: Sequence[Put], found: dict[str, Any]) -> None:
    for attribute, name, target, schema, change in puts:
        held = getattr(value, attribute)
        if held is None:
            held = schema.default
            if held is None:
                if not schema.optional:
                    raise DataError("Found null value for non-optional schema").within(f".{name}")
                continue
        found[target] = _within(f".{name}", change, held)


def _symbols(schema: Schema, field: Any) -> Change:
    if schema.type != "STRING":
        raise _no_place(schema, field)
    numbers: dict[str, int] = {value.name: value.number for value in field.enum_type.values}

    def number(value: Any) -> int:
        if not isinstance(value, str) or value not in numbers:
            raise DataError(f"{value!r} is no value of the enum {field.enum_type.full_name}")
        return numbers[value]

    return number


def _within(step: str, change: Change, value: Any) -> Any:
    try:
        return change(value)
    except DataError as error:
        error.within(step)
        raise
    except (ValueError, TypeError) as error:
        raise DataError(str(error)).within(step) from error


def _no_place(schema: Schema, field: Any) -> DataError:
    shown = f"{schema.type} {schema.name}" if schema.name else schema.type
    return DataError(f"{shown} cannot be written to the field {field.full_name} of the registered message")
