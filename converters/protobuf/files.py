"""Registered files of Protocol Buffers, with all that they import, in a pool of their own.

A registry gives a file as its text, or as its descriptor in base64; what a file imports is among its references, or one
of the files that everybody knows: google.protobuf, google.type, confluent.

Used by: converter.py.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from converters.protobuf.parser import Params, parse
from engine.api.errors import DataError

__all__ = ["KNOWN", "ProtoFile", "proto_file"]

MAIN = "millrace-registered.proto"
#: Those of the field options that hold what `confluent.field_meta` says, and its params within.
_META_NUMBER, _PARAMS_NUMBER = 1088, 2

_TEXTS = {
    "google/type/date.proto": """syntax = "proto3"; package google.type;
        message Date { int32 year = 1; int32 month = 2; int32 day = 3; }""",
    "google/type/timeofday.proto": """syntax = "proto3"; package google.type;
        message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }""",
    "confluent/type/decimal.proto": """syntax = "proto3"; package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }""",
    "confluent/meta.proto": """syntax = "proto3"; package confluent;
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }""",
}
#: Files that need no reference.
KNOWN: Mapping[str, descriptor_pb2.FileDescriptorProto] = {
    **{name: parse(name, text)[0] for name, text in _TEXTS.items()},
    **{
        module.DESCRIPTOR.name: descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        for module in (
            any_pb2, api_pb2, descriptor_pb2, duration_pb2, empty_pb2, field_mask_pb2, source_context_pb2, struct_pb2,
            timestamp_pb2, type_pb2, wrappers_pb2,
        )
    },
}  # fmt: skip


class ProtoFile:
    """One registered file."""

    def __init__(self, descriptor: Any, params: Params) -> None:
        proto = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(proto)
        #: Names of its messages, in the order in which they stand in it.
        self.names = [message.name for message in proto.message_type]
        self.params = params
        self._messages = [descriptor.message_types_by_name[name] for name in self.names]

    def message(self, indexes: tuple[int, ...]) -> Any:
        """The message that a list of indexes leads to. Raises DataError."""
        found: Any = None
        messages = self._messages
        for index in indexes:
            if not 0 <= index < len(messages):
                raise DataError(f"the message index {[*indexes]} leads to none of the schema's messages")
            found = messages[index]
            messages = [*found.nested_types]
        if found is None:
            raise DataError("a schema without messages")
        return found


def proto_file(text: str, referred: Mapping[str, str]) -> ProtoFile:
    """A registered file. referred: the files it imports, by the names that it uses. Raises DataError."""
    files: dict[str, tuple[descriptor_pb2.FileDescriptorProto, Params]] = {
        name: _parsed(name, one) for name, one in referred.items()
    }
    files[MAIN] = _parsed(MAIN, text)
    pool = DescriptorPool()
    added: set[str] = set()
    params: Params = {}
    _add(MAIN, files, pool, added, params, ())
    return ProtoFile(pool.FindFileByName(MAIN), params)


def _add(
    name: str,
    files: Mapping[str, tuple[descriptor_pb2.FileDescriptorProto, Params]],
    pool: DescriptorPool,
    added: set[str],
    params: Params,
    within: tuple[str, ...],
) -> None:
    if name in added:
        return
    if name in within:
        raise DataError(f"{name} imports itself")
    if name in files:
        descriptor, own = files[name]
        params.update(own)
    elif name in KNOWN:
        descriptor = KNOWN[name]
    else:
        raise DataError(f"the schema imports {name}, which is not among its references")
    for one in descriptor.dependency:
        _add(one, files, pool, added, params, (*within, name))
    try:
        pool.Add(descriptor)
        pool.FindFileByName(name)
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"no schema of Protocol Buffers: {name}: {error}") from error
    added.add(name)


def _parsed(name: str, text: str) -> tuple[descriptor_pb2.FileDescriptorProto, Params]:
    if re.match(r"[A-Za-z0-9+/\s]+={0,2}\s*\Z", text):
        try:
            made = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError, DecodeError):
            return parse(name, text)
        made.name = name
        params: Params = {}
        for message in made.message_type:
            _collect(message, made.package, params)
        return made, params
    return parse(name, text)


def _collect(message: descriptor_pb2.DescriptorProto, scope: str, params: Params) -> None:
    full = f"{scope}.{message.name}" if scope else message.name
    for field in message.field:
        found = _params(field.options.SerializeToString())
        if found:
            params[f"{full}.{field.name}"] = found
            field.options.Clear()  # this pool knows no such option
    for one in message.nested_type:
        _collect(one, full, params)


def _params(options: bytes) -> dict[str, str]:
    """What `confluent.field_meta` says, read from the bytes of options that this process knows no extension for."""
    metas = [_pieces(one) for one in _pieces(options).get(_META_NUMBER, ())]
    pairs = [_pieces(one) for meta in metas for one in meta.get(_PARAMS_NUMBER, ())]
    return {pair[1][0].decode(): pair.get(2, [b""])[0].decode() for pair in pairs if 1 in pair}


def _pieces(encoded: bytes) -> dict[int, list[bytes]]:
    """The parts of a message that have a length, by their numbers."""
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(encoded):
        tag, at = _varint(encoded, at)
        if tag & 7 == 2:
            size, at = _varint(encoded, at)
            found.setdefault(tag >> 3, []).append(encoded[at : at + size])
            at += size
        elif tag & 7 == 0:
            _, at = _varint(encoded, at)
        else:
            at += {1: 8, 5: 4}.get(tag & 7, len(encoded))
    return found


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(encoded):
        byte = encoded[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return number, at
