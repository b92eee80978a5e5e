"""Files of a pipeline: a worker's properties and any number of connectors, as text by dotted key.

    worker.properties                       [worker]                     TOML; "a.b" = 1 and a.b = 1 and
    connector.properties   connector.json   [connectors.NAME]            [worker.a] b = 1 mean the same key

A `.json` file is one of those that connect-standalone takes: a flat object, or `{"name": .., "config": {..}}`.

Used by: engine.launch (loads), engine.commands (loads), engine.demo, engine.plan.
Not here: what a key means (worker.py, connector.py), variables in values (providers.py).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.api.errors import Problem
from engine.config.problems import did_you_mean, raise_all
from engine.config.properties import PropertiesSyntaxError, parse_properties

__all__ = ["ConnectorFile", "Pipeline", "load", "load_connectors", "load_standalone"]

_INITIAL_STATES = ("RUNNING", "PAUSED", "STOPPED")
_TOML_TABLES = ("worker", "connectors")
_OTHER_FORMATS = (".toml", ".json")


class ConnectorFile(Struct, frozen=True):
    """One connector as its file says it: text, variables not resolved."""

    name: str
    properties: dict[str, str]  # with `name`
    file: str
    initial_state: str = "RUNNING"  # or PAUSED, STOPPED


class Pipeline(Struct, frozen=True):
    """What the files of one run say together."""

    worker: dict[str, str]
    worker_file: str  # empty: no file speaks of the worker
    connectors: tuple[ConnectorFile, ...]


class _Found(Struct):
    """What has been read so far; everything that is wrong is kept until the last file."""

    workers: list[tuple[str, dict[str, str]]] = []
    connectors: list[ConnectorFile] = []
    problems: list[Problem] = []

    def blame(self, file: str, message: str, key: str = "", connector: str = "") -> None:
        self.problems.append(Problem(key, message, connector, file))


def load(paths: Sequence[str | Path]) -> Pipeline:
    """Read files of any kind, in any order. Raises ConfigError with everything that is wrong in all of them."""
    found = _Found()
    for path in paths:
        _read(found, Path(path))
    return _joined(found)


def load_connectors(paths: Sequence[Path]) -> tuple[tuple[ConnectorFile, ...], list[str]]:
    """The connectors of files, and the files that speak of a worker as well. Raises ConfigError as `load` does."""
    found = _Found()
    for path in paths:
        _read(found, path)
    workers = [file for file, _ in found.workers]
    found.workers.clear()
    return _joined(found).connectors, workers


def load_standalone(worker_file: str | Path, connector_files: Sequence[str | Path]) -> Pipeline:
    """Read files as connect-standalone's arguments name them: the worker's first. Raises ConfigError as `load` does."""
    found = _Found()
    worker = Path(worker_file)
    # A name that ends in neither is one of properties, as for Kafka Connect.
    if worker.suffix in _OTHER_FORMATS:
        _read(found, worker)
    else:
        _read_properties(found, worker, "worker")
    for path in map(Path, connector_files):
        if path.suffix in _OTHER_FORMATS:
            _read(found, path)
        else:
            _read_properties(found, path, "connector")
    return _joined(found, needs_connectors=False)


def _joined(found: _Found, *, needs_connectors: bool = True) -> Pipeline:
    for file, _ in found.workers[1:]:
        found.blame(file, f"a second definition of the worker; the first is in {found.workers[0][0]}. Expected one")
    first_files: dict[str, str] = {}
    for connector in found.connectors:
        name, file = connector.name, connector.file
        if name in first_files:
            first = first_files[name]
            message = f"a second connector of this name; the first is in {first}. Expected names that differ"
            found.blame(file, message, "name", name)
        else:
            first_files[name] = file
    if needs_connectors and not found.connectors and not found.problems:
        found.blame("", "no connectors: expected a [connectors.NAME] table, or a file with connector.class")
    raise_all(found.problems)
    worker_file, worker = found.workers[0] if found.workers else ("", {})
    return Pipeline(worker, worker_file, tuple(found.connectors))


def _read(found: _Found, path: Path) -> None:
    readers = {".properties": _read_properties, ".json": _read_json, ".toml": _read_toml}
    reader = readers.get(path.suffix)
    if reader is None:
        found.blame(str(path), f'unknown kind of file "{path.suffix}": expected .toml, .properties or .json')
    else:
        reader(found, path)


def _text(found: _Found, path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        found.blame(str(path), f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found.blame(str(path), f"line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8; expected UTF-8 text")
    return None


# Properties


def _read_properties(found: _Found, path: Path, kind: str = "") -> None:
    text = _text(found, path)
    if text is None:
        return
    try:
        properties = parse_properties(text)
    except PropertiesSyntaxError as error:
        found.blame(str(path), str(error))
        return
    if kind == "connector" or (not kind and "connector.class" in properties):
        _add_connector(found, path, properties)
    else:
        found.workers.append((str(path), properties))


def _add_connector(found: _Found, path: Path, properties: dict[str, str], initial_state: str = "RUNNING") -> None:
    name = properties.get("name")
    if name is None:
        found.blame(str(path), 'Missing required configuration "name" which has no default value', "name")
        return
    found.connectors.append(ConnectorFile(name.strip(), properties, str(path), initial_state))


# JSON


def _read_json(found: _Found, path: Path) -> None:
    text = _text(found, path)
    if text is None:
        return
    try:
        # Numbers stay the text they are, as Connect reads them.
        document = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        found.blame(str(path), f"line {error.lineno}, column {error.colno}: {error.msg}; expected JSON")
        return
    except RecursionError:
        found.blame(str(path), "nested too deeply; expected a flat JSON object of texts")
        return
    if not isinstance(document, dict):
        found.blame(str(path), "expected a JSON object")
    elif isinstance(document.get("config"), dict):
        _read_create_request(found, path, document)
    else:
        properties = _flat_json(found, path, document)
        if properties is not None:
            _add_connector(found, path, properties)


def _read_create_request(found: _Found, path: Path, document: dict[str, Any]) -> None:
    properties = _flat_json(found, path, document["config"])
    if properties is None:
        return
    name = document.get("name", properties.get("name"))
    if name is not None and properties.setdefault("name", str(name)) != name:
        found.blame(
            str(path),
            f'"name" is "{name}" and "config" says "{properties["name"]}"; expected the same name in both',
            "name",
        )
        return
    state = document.get("initial_state", "RUNNING")
    if not isinstance(state, str) or state.upper() not in _INITIAL_STATES:
        found.blame(str(path), f'"initial_state" is {state!r}; expected one of {", ".join(_INITIAL_STATES)}')
        return
    _add_connector(found, path, properties, state.upper())


def _flat_json(found: _Found, path: Path, document: dict[str, Any]) -> dict[str, str] | None:
    properties = {}
    is_good = True
    for key, value in document.items():
        if isinstance(value, bool):
            properties[key] = "true" if value else "false"
        elif isinstance(value, str):
            properties[key] = value
        else:
            kind = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "null"
            found.blame(str(path), f'"{key}" is {kind}; expected a text, a number or true or false', key)
            is_good = False
    return properties if is_good else None


# TOML


def _read_toml(found: _Found, path: Path) -> None:
    text = _text(found, path)
    if text is None:
        return
    try:
        document = tomllib.loads(text, parse_float=_java_float)
    except tomllib.TOMLDecodeError as error:
        hint = ""
        if "overwrite" in str(error) or "already" in str(error) or "twice" in str(error):
            hint = '; a key that also begins longer keys must be written in quotes, as "key.converter"'
        found.blame(str(path), f"{error}{hint}")
        return
    except RecursionError:
        found.blame(str(path), "nested too deeply")
        return
    for key, value in document.items():
        if key not in _TOML_TABLES:
            advice = did_you_mean(key, _TOML_TABLES) or "; expected [worker] and [connectors.NAME]"
            found.blame(str(path), f'unknown table or key "{key}"{advice}', key)
        elif not isinstance(value, dict):
            found.blame(str(path), f'"{key}" is not a table; expected [worker] and [connectors.NAME]', key)
    worker = document.get("worker")
    if isinstance(worker, dict):
        found.workers.append((str(path), _flat_toml(found, path, worker, "")))
    connectors = document.get("connectors")
    for name, table in connectors.items() if isinstance(connectors, dict) else ():
        if not isinstance(table, dict):
            found.blame(str(path), f'"connectors.{name}" is not a table; expected [connectors.{name}]', name)
            continue
        _add_connector(found, path, {"name": name, **_flat_toml(found, path, table, name)})


def _flat_toml(found: _Found, path: Path, table: Mapping[str, Any], connector: str) -> dict[str, str]:
    properties: dict[str, str] = {}
    for key, value in _leaves(table, ""):
        if key in properties:
            found.blame(
                str(path), f'"{key}" is given twice, in quotes and as a table; expected it once', key, connector
            )
        try:
            properties[key] = _java_text(value)
        except ValueError as error:
            found.blame(str(path), f'"{key}": {error}', key, connector)
    return properties


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _java_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, list):
        if any(isinstance(element, (list, dict)) for element in value):
            raise ValueError("a list within a list; expected a list of texts")
        elements = [_java_text(element) for element in value]
        for element in elements:
            if "," in element:
                raise ValueError(f'"{element}" holds a comma, which would end the element; expected one without')
        return ",".join(elements)
    raise ValueError(f"{value} is a date or time; expected it in quotes")


def _java_float(text: str) -> str:
    named = {"inf": "Infinity", "nan": "NaN"}.get(text.lstrip("+-"))
    if named is None:
        return text.replace("_", "")
    return "-" + named if text.startswith("-") and named == "Infinity" else named
