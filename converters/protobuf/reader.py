"""A message of Protocol Buffers to a struct of Connect: its schema, and functions that read a field each.

Used by: converter.py.
Source: what Confluent's converter makes of each type (its ProtobufData).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.message import DecodeError

from converters.protobuf import names
from converters.protobuf.files import ProtoFile
from converters.protobuf.indexes import read_indexes
from converters.protobuf.values import from_message, ranged
from converters.registry.converter import Column
from converters.registry.wire import HEADER_BYTES
from engine.api.errors import DataError
from engine.api.map_keys import as_key
from engine.api.schema import DATE, TIME, TIMESTAMP, Schema
from engine.api.structs import INT_RANGES

__all__ = ["Planned", "Planner", "ProtobufReader", "is_map"]

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    _Field.TYPE_INT32: "INT32", _Field.TYPE_SINT32: "INT32", _Field.TYPE_SFIXED32: "INT32",
    _Field.TYPE_UINT32: "INT64", _Field.TYPE_FIXED32: "INT64",
    _Field.TYPE_INT64: "INT64", _Field.TYPE_SINT64: "INT64", _Field.TYPE_SFIXED64: "INT64",
    _Field.TYPE_UINT64: "INT64", _Field.TYPE_FIXED64: "INT64",
    _Field.TYPE_FLOAT: "FLOAT32", _Field.TYPE_DOUBLE: "FLOAT64", _Field.TYPE_BOOL: "BOOLEAN",
    _Field.TYPE_STRING: "STRING", _Field.TYPE_BYTES: "BYTES",
}  # fmt: skip
_UNSIGNED = (_Field.TYPE_UINT64, _Field.TYPE_FIXED64)
_NARROW = {"int8": "INT8", "int16": "INT16"}
_LOGICAL = {
    "google.type.Date": DATE,
    "google.type.TimeOfDay": TIME,
    "google.protobuf.Timestamp": TIMESTAMP,
}
_WRAPPERS = {
    f"google.protobuf.{name}Value": kind
    for name, kind in {
        "Double": "FLOAT64", "Float": "FLOAT32", "Int64": "INT64", "UInt64": "INT64", "Int32": "INT32",
        "UInt32": "INT64", "Bool": "BOOLEAN", "String": "STRING", "Bytes": "BYTES",
    }.items()
}  # fmt: skip
Change = Callable[[Any], Any]


class Planned(NamedTuple):
    """What a field or message is to Connect. change: None: values are what they are."""

    schema: Schema
    change: Change | None


def is_map(field: Any) -> bool:
    """Whether a field holds entries of a map."""
    message = field.message_type
    return (
        field.is_repeated
        and message is not None
        and message.name.endswith("Entry")
        and [one.name for one in message.fields] == ["key", "value"]
    )


class ProtobufReader:
    """Reads payloads of one registered file, of whichever message they are."""

    def __init__(self, file: ProtoFile, planner: Planner, version: int | None) -> None:
        self.schema: Schema | None = None
        self._file = file
        self._planner = planner
        self._version = version
        self._kept: dict[tuple[int, ...], tuple[Any, Planned]] = {}

    def read(self, payloads: Sequence[bytes]) -> Column:
        """The values of payloads, which begin with magic byte, id and message indexes."""
        schemas: list[Schema | None] = []
        column = Column([], [], schemas)
        for index, payload in enumerate(payloads):
            try:
                indexes, at = read_indexes(payload, HEADER_BYTES)
                kind, planned = self._of(indexes)
                assert planned.change is not None
                column.slots.append(planned.change(kind.FromString(payload[at:])))
                schemas.append(planned.schema)
            except (DataError, DecodeError, RecursionError) as error:
                told = error if isinstance(error, DataError) else DataError(f"no message of its schema: {error}")
                column.slots.append(None)
                schemas.append(None)
                column.failures.append((index, told))
        return column

    def _of(self, indexes: tuple[int, ...]) -> tuple[Any, Planned]:
        found = self._kept.get(indexes)
        if found is None:
            descriptor = self._file.message(indexes)
            planned = self._planner.message(descriptor, version=self._version)
            found = self._kept[indexes] = message_factory.GetMessageClass(descriptor), planned
        return found


class Planner:
    """The rules of one configured converter, for one file."""

    def __init__(self, file: ProtoFile, *, has_wrappers: bool, has_optionals: bool, is_enhanced: bool) -> None:
        self._params = file.params
        self._has_wrappers = has_wrappers
        self._has_optionals = has_optionals
        self._is_enhanced = is_enhanced
        self._within: list[str] = []

    def message(self, descriptor: Any, *, version: int | None = None, **attributes: Any) -> Planned:
        """The struct of a message. Raises DataError for one that holds itself."""
        if descriptor.full_name in self._within:
            raise DataError(f"the message {descriptor.full_name} holds itself, which no schema here can")
        self._within.append(descriptor.full_name)
        try:
            return self._struct(descriptor, version=version, **attributes)
        finally:
            self._within.pop()

    def _struct(self, descriptor: Any, **attributes: Any) -> Planned:
        synthetic = _synthetic(descriptor)
        fields: list[tuple[str, Schema, Change]] = []
        for oneof in descriptor.oneofs:
            if oneof.name not in synthetic:
                planned = self._oneof(oneof)
                assert planned.change is not None
                fields.append((f"{oneof.name}_{oneof.index}", planned.schema, planned.change))
        for field in descriptor.fields:
            if field.containing_oneof is None or field.containing_oneof.name in synthetic:
                planned = self._field(field)
                fields.append((field.name, planned.schema, _getter(field, planned.change)))
        name = descriptor.full_name if self._is_enhanced else descriptor.name
        schema = Schema.struct({name: one for name, one, _ in fields}, name=name, **attributes)
        return Planned(schema, _maker(schema, [get for _, _, get in fields]))

    def _oneof(self, oneof: Any) -> Planned:
        fields = {}
        found: list[Change | None] = []
        for field in oneof.fields:
            planned = self._field(field)
            fields[field.name] = planned.schema.replaced(optional=True)  # one of them has a value
            found.append(planned.change)
        schema = Schema.struct(fields, name=f"{names.UNION}.{oneof.name}", optional=True)
        kind = schema.struct_type
        changes = dict(zip(fields, zip(kind.__struct_fields__, found, strict=True), strict=True))

        def get(message: Any) -> Any:
            name = message.WhichOneof(oneof.name)
            if name is None:
                return None
            attribute, change = changes[name]
            value = getattr(message, name)
            return kind(**{attribute: value if change is None else _within(f".{name}", change, value)})

        return Planned(schema, get)

    def _field(self, field: Any) -> Planned:
        planned = self._single(field)
        tag = {names.TAG: str(field.number)}
        schema = planned.schema
        if is_map(field):
            return self._map(field, tag)
        if field.is_repeated:
            element = schema.replaced(optional=True)
            change = planned.change
            schema = Schema.array(element, optional=True, parameters=tag)
            return Planned(schema, _list_of(change))
        is_optional = schema.optional or not self._has_wrappers
        if self._has_optionals and field.message_type is None and field.enum_type is None:
            is_optional = field.has_presence and not field.is_required
        parameters = {**(schema.parameters or {}), **tag}
        return Planned(schema.replaced(optional=is_optional, parameters=parameters), planned.change)

    def _single(self, field: Any) -> Planned:
        """A field as if it were not repeated."""
        if field.enum_type is not None:
            return _enum(field.enum_type)
        if field.message_type is not None:
            return self._message(field) if not is_map(field) else Planned(Schema("STRING"), None)
        kind = _SCALARS.get(field.type)
        if kind is None:
            raise DataError(f"the field {field.full_name} is a group, which is not read")
        params = self._params.get(field.full_name, {})
        if kind == "INT32" and params.get("connect.type") in _NARROW:
            narrow = _NARROW[params["connect.type"]]
            return Planned(Schema(narrow), ranged(narrow))
        return Planned(Schema(kind), ranged("INT64") if field.type in _UNSIGNED else None)

    def _message(self, field: Any) -> Planned:
        name = field.message_type.full_name
        if name in _LOGICAL:
            schema = _LOGICAL[name].replaced(optional=True)
            return Planned(schema, from_message(schema))
        if name == "confluent.type.Decimal":
            params = self._params.get(field.full_name, {})
            precision = {"connect.decimal.precision": params["precision"]} if "precision" in params else None
            scale = params.get("scale", "0")
            if not scale.lstrip("-").isdigit():
                raise DataError(f"the scale of {field.full_name} is {scale}", expected="a number")
            schema = Schema.decimal(int(scale), optional=True, parameters=precision)
            return Planned(schema, from_message(schema))
        if self._has_wrappers and name in _WRAPPERS:
            told = self._params.get(field.full_name, {}).get("connect.type", "")
            kind = _NARROW.get(told, "INT32") if name.endswith(".Int32Value") else _WRAPPERS[name]
            get = attrgetter("value")
            if kind not in INT_RANGES:
                return Planned(Schema(kind, optional=True), get)
            check = ranged(kind)
            return Planned(Schema(kind, optional=True), lambda message: check(get(message)))
        # With its own parameters from the start: values are of the class of the very schema.
        own = None if field.is_repeated else {names.TAG: str(field.number)}
        return self.message(field.message_type, optional=True, parameters=own)

    def _map(self, field: Any, tag: dict[str, str]) -> Planned:
        key_field, value_field = field.message_type.fields
        key, value = self._field(key_field), self._field(value_field)
        schema = Schema.map(
            key.schema, value.schema, name=names.map_name(field.message_type.name), optional=True, parameters=tag
        )
        if field.message_type.GetOptions().map_entry:
            return Planned(schema, lambda held: _changed_map(held.items(), key.change, value.change))
        get_key, get_value = _getter(key_field, key.change), _getter(value_field, value.change)
        return Planned(schema, lambda held: {as_key(get_key(entry)): get_value(entry) for entry in held})


def _synthetic(descriptor: Any) -> set[str]:
    proto = descriptor_pb2.DescriptorProto()
    descriptor.CopyToProto(proto)
    return {proto.oneof_decl[field.oneof_index].name for field in proto.field if field.proto3_optional}


def _getter(field: Any, change: Change | None) -> Change:
    """Reads a field of a message; None where it is not there."""
    get = attrgetter(field.name)
    name = field.name
    if field.has_presence and not field.is_repeated:
        if change is None:
            return lambda message: get(message) if message.HasField(name) else None
        return lambda message: change(get(message)) if message.HasField(name) else None
    return get if change is None else lambda message: change(get(message))


def _maker(schema: Schema, getters: list[Change]) -> Change:
    kind = schema.struct_type
    attributes = kind.__struct_fields__
    triples = [
        (attribute, field.name, get) for attribute, field, get in zip(attributes, schema.fields, getters, strict=True)
    ]

    def make(message: Any) -> Any:
        found = {}
        for attribute, name, get in triples:
            try:
                found[attribute] = get(message)
            except DataError as error:
                error.within(f".{name}")
                raise
        return kind(**found)

    return make


def _list_of(change: Change | None) -> Change:
    if change is None:
        return list
    return lambda held: [_within(f"[{index}]", change, one) for index, one in enumerate(held)]


def _changed_map(pairs: Any, key: Change | None, value: Change | None) -> dict[Any, Any]:
    if key is None and value is None:
        return dict(pairs)
    return {
        one if key is None else key(one): other if value is None else _within(f".{one}", value, other)
        for one, other in pairs
    }


def _within(step: str, change: Change, value: Any) -> Any:
    try:
        return change(value)
    except DataError as error:
        error.within(step)
        raise


def _enum(descriptor: Any) -> Planned:
    symbols: dict[int, str] = {value.number: value.name for value in reversed(descriptor.values)}
    parameters = {names.ENUM: descriptor.name}
    parameters |= {f"{names.ENUM}.{value.name}": str(value.number) for value in descriptor.values}
    schema = Schema("STRING", name=descriptor.name, optional=True, parameters=parameters)

    def symbol(number: int) -> str:
        found = symbols.get(number)
        if found is None:
            raise DataError(f"{number} is no value of the enum {descriptor.full_name}")
        return found

    return Planned(schema, symbol)
