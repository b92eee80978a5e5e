"""Records for `millrace try`, out of a file: a line of JSON each.

    {"topic": "orders", "key": "7", "value": {"id": 7}, "headers": {"trace": "x"}, "timestamp": 1566570894346}

All members may be left out. For a sink, texts are the bytes of the topic in UTF-8, and whatever else is written as
compact JSON; `key_base64` and `value_base64` give any bytes. For a source, key and value are what the task returns, as
values without a schema; `key_schema` and `value_schema`, as Connect's JSON envelope writes them, give them one.

Used by: engine.commands.trial.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.api.converter import Converter
from engine.api.errors import ConfigError, Problem
from engine.api.record import Header, SourceRecord
from engine.kafka.sample import RawRecord
from engine.plugins.catalog import discover

__all__ = ["read_raw", "read_source"]

_SHARED = frozenset({"topic", "partition", "timestamp", "headers", "key", "value"})
_RAW = _SHARED | {"offset", "key_base64", "value_base64"}
_SOURCE = _SHARED | {"key_schema", "value_schema"}


def read_raw(path: Path, topic: str, count: int) -> list[RawRecord]:
    """Records as a topic holds them. topic: of those that name none. Raises ConfigError."""
    found = []
    for number, line in _lines(path, _RAW, count):
        found.append(
            RawRecord(
                _text(path, number, line, "topic") or topic,
                _whole(path, number, line, "partition") or 0,
                _whole(path, number, line, "offset") or number - 1,
                _whole(path, number, line, "timestamp"),
                _bytes(path, number, line, "key"),
                _bytes(path, number, line, "value"),
                tuple((key, _encoded(value)) for key, value in _headers(path, number, line)),
            )
        )
    return found


def read_source(path: Path, count: int) -> list[SourceRecord]:
    """Records as a source's task returns them. Raises ConfigError."""
    found = []
    for number, line in _lines(path, _SOURCE, count):
        key, value = (_with_schema(path, number, line, name) for name in ("key", "value"))
        found.append(
            SourceRecord(
                topic=_text(path, number, line, "topic") or "topic",
                partition=_whole(path, number, line, "partition"),
                timestamp=_whole(path, number, line, "timestamp"),
                headers=[Header(name, text) for name, text in _headers(path, number, line)],
                key=key[0],
                key_schema=key[1],
                value=value[0],
                value_schema=value[1],
            )
        )
    return found


def _lines(path: Path, members: frozenset[str], count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError([Problem("", f"cannot be read: {error.strerror}", file=str(path))]) from error
    left = count
    for number, line in enumerate(lines, 1):
        if not line.strip() or not left:
            continue
        left -= 1
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _wrong(path, number, f"is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise _wrong(path, number, "is no object; expected a record as {...}")
        unknown = sorted(found.keys() - members)
        if unknown:
            raise _wrong(path, number, f"has {', '.join(unknown)}; expected {', '.join(sorted(members))}")
        yield number, found


def _wrong(path: Path, number: int, words: str) -> ConfigError:
    return ConfigError([Problem("", f"line {number} {words}", file=str(path))])


def _text(path: Path, number: int, line: Mapping[str, Any], name: str) -> str:
    found = line.get(name)
    if found is not None and not isinstance(found, str):
        raise _wrong(path, number, f"has a {name} that is no text")
    return found or ""


def _whole(path: Path, number: int, line: Mapping[str, Any], name: str) -> int | None:
    found = line.get(name)
    if found is not None and (not isinstance(found, int) or isinstance(found, bool)):
        raise _wrong(path, number, f"has a {name} that is no whole number")
    return found


def _headers(path: Path, number: int, line: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """An object, or a list of pairs, as a key may occur several times."""
    found = line.get("headers") or {}
    if isinstance(found, dict):
        return [*found.items()]
    try:
        return msgspec.convert(found, list[tuple[str, Any]])
    except msgspec.ValidationError as error:
        words = 'has headers that are none; expected {"key": value} or [["key", value]]'
        raise _wrong(path, number, words) from error


def _bytes(path: Path, number: int, line: Mapping[str, Any], name: str) -> bytes | None:
    coded = line.get(f"{name}_base64")
    if coded is None:
        return _encoded(line.get(name))
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise _wrong(path, number, f"has a {name}_base64 that is none: {error}") from error


def _encoded(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _with_schema(path: Path, number: int, line: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """The value and its schema, read by the JSON converter that is installed."""
    value, tree = line.get(name), line.get(f"{name}_schema")
    if tree is None:
        return value, None
    converter: Converter = discover().find("converter", "JsonConverter")()
    converter.configure(converter.config.parse({"schemas.enable": "true"}), is_key=name == "key")
    payload = msgspec.json.encode({"schema": tree, "payload": value})
    decoded = converter.to_connect("topic", [payload])
    if decoded.failures:
        raise _wrong(path, number, f"has a {name} that its schema does not fit: {decoded.failures[0].error}")
    return decoded.values[0], decoded.schemas[0]
