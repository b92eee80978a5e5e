"""Which class a configured name means.

    package.module:Class   package.module.Class              a path: imported as it is
    org.apache.kafka.connect.file.FileStreamSinkConnector    Kafka Connect's Java name of one of ours
    FileStreamSinkConnector   FileStreamSink                 an entry point: its class's name, with or without the
                                                             kind's suffix, or the name it was registered under

Only the class that is asked for is imported; names come from the metadata of installed distributions. An alias
of two different classes means neither, as in Kafka Connect.

Used by: engine.plan, engine.launch (both in a probe: importing a plugin runs its code).
Not here: Java's names (java_names.py), importing (loading.py), asking a class anything (engine.plan).
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from engine.api.connector import Connector, SourceConnector
from engine.api.converter import Converter, HeaderConverter
from engine.api.errors import ConfigError, NotFoundError
from engine.api.provider import ConfigProvider
from engine.api.transform import Predicate, Transform
from engine.config.problems import did_you_mean
from engine.plugins import java_names
from engine.plugins.loading import load, path_of
from engine.plugins.probe import Tell, in_probe

__all__ = ["Catalog", "Kind", "PluginInfo", "discover", "list_in_probe"]

#: For importing everything that is installed.
LISTING_SECONDS = 60.0

Kind = Literal["connector", "converter", "header_converter", "transform", "predicate", "config_provider"]


class _KindFacts(Struct, frozen=True):
    """How one kind of plugins is found and called."""

    group: str  # of entry points
    base: type[Any]
    words: str  # for people, in the plural
    suffixes: tuple[str, ...]  # that a name may do without


_KINDS: Mapping[Kind, _KindFacts] = {
    "connector": _KindFacts("millrace.connectors", Connector, "connectors", ("Connector",)),
    "converter": _KindFacts("millrace.converters", Converter, "converters", ("Converter",)),
    "header_converter": _KindFacts(
        "millrace.header_converters", HeaderConverter, "header converters", ("HeaderConverter", "Converter")
    ),
    "transform": _KindFacts("millrace.transforms", Transform, "transforms", ("Transformation", "Transform")),
    "predicate": _KindFacts("millrace.predicates", Predicate, "predicates", ("Predicate",)),
    "config_provider": _KindFacts(
        "millrace.config_providers", ConfigProvider, "config providers", ("ConfigProvider", "Provider")
    ),
}


#: Kafka Connect's word for each type it lists, in its order.
_REST_TYPES: Mapping[str, str] = {
    "sink": "sink",
    "source": "source",
    "transform": "transformation",
    "predicate": "predicate",
    "converter": "converter",
    "header_converter": "header_converter",
}


class PluginInfo(Struct, frozen=True, kw_only=True):
    """One installed plugin, as `millrace plugins` shows it."""

    path: str  # "package.module:Class"
    type: str  # source, sink, converter, header_converter, transform, predicate, config_provider
    version: str
    aliases: tuple[str, ...]  # other names it answers to, Java's among them
    origin: str  # distribution and its version
    problem: str = ""  # why it cannot be used; then the type of a connector is "connector"


class _Entry(Struct, frozen=True):
    """A registered plugin: what the metadata tell without importing it."""

    path: str
    simple_name: str
    aliases: tuple[str, ...]
    distribution: str
    distribution_version: str


def discover() -> Catalog:
    """The catalog of what is installed. Costs a look at every distribution's metadata, a few milliseconds."""
    groups = [importlib.metadata.entry_points(group=facts.group) for facts in _KINDS.values()]
    return Catalog(point for group in groups for point in group)


def list_in_probe(timeout_seconds: float = LISTING_SECONDS) -> list[PluginInfo]:
    """What is installed, looked at in a child, as every plugin is imported. Raises ProbeError."""

    def question(tell: Tell) -> bytes:
        tell("importing the installed plugins")
        return msgspec.msgpack.encode(discover().listing())

    return msgspec.msgpack.decode(in_probe(question, timeout_seconds=timeout_seconds), type=list[PluginInfo])


class Catalog:
    """Names to classes, over a fixed set of entry points."""

    def __init__(self, points: Iterable[importlib.metadata.EntryPoint]) -> None:
        kinds = {facts.group: kind for kind, facts in _KINDS.items()}
        self._entries: dict[Kind, dict[str, _Entry]] = {kind: {} for kind in _KINDS}
        for point in points:
            kind = kinds.get(point.group)
            if kind is not None:
                entries = self._entries[kind]
                path = f"{point.module}:{point.attr}"
                entries[path] = _entry(path, point, _KINDS[kind].suffixes, entries.get(path))

    def find(self, kind: Kind, name: str) -> type[Any]:
        """The class that `name` means. Raises ConfigError, saying what there is instead."""
        name = name.strip()
        paths = self._paths(kind, java_names.OURS.get(name, name))
        if len(paths) > 1:
            raise ConfigError(f'"{name}" is the name of {" and of ".join(paths)}: expected one of these paths')
        if not paths and not _is_path(name):
            raise ConfigError(self._unknown(kind, name))
        try:
            found = load(paths[0]) if paths else _load_path(name)
        except NotFoundError as error:
            is_missing = isinstance(error.__cause__, ModuleNotFoundError) and not paths
            raise ConfigError(f"{error}{'; ' + self._known(kind) if is_missing else ''}") from error
        _check(kind, found)
        return found

    def version(self, found: type[Any]) -> str | None:
        """The version of a plugin's class: its own, or its distribution's; None: neither is known."""
        own = getattr(found, "version", "null")
        if isinstance(own, str) and own != "null":
            return own
        for entries in self._entries.values():
            entry = entries.get(path_of(found))
            if entry is not None and entry.distribution_version:
                return entry.distribution_version
        return None

    def listing(self) -> list[PluginInfo]:
        """Every registered plugin, by kind and path. Imports them all: one that fails says so in its `problem`."""
        return [
            _info(kind, self._entries[kind][path], self._own_aliases(kind, path))
            for kind in _KINDS
            for path in sorted(self._entries[kind])
        ]

    def for_rest(self) -> list[dict[str, Any]]:
        """Every plugin that can be used, as Kafka Connect lists them: class, type, version; in its order of types.

        The class is Java's name where it is one of Kafka Connect's, so that clients find what they look for.
        """
        found = [plugin for plugin in self.listing() if not plugin.problem and plugin.type in _REST_TYPES]
        found.sort(key=lambda plugin: list(_REST_TYPES).index(plugin.type))
        return [
            {"class": _rest_name(plugin), "type": _REST_TYPES[plugin.type], "version": plugin.version}
            for plugin in found
        ]

    def names(self, kind: Kind) -> list[str]:
        """The simple names of all registered classes of a kind, sorted."""
        return sorted({entry.simple_name for entry in self._entries[kind].values()})

    def _paths(self, kind: Kind, name: str) -> list[str]:
        entries = self._entries[kind].values()
        return [entry.path for entry in entries if name in (entry.path, entry.simple_name, *entry.aliases)]

    def _own_aliases(self, kind: Kind, path: str) -> tuple[str, ...]:
        entry = self._entries[kind][path]
        java = [full for full, simple in java_names.OURS.items() if self._paths(kind, simple) == [path]]
        names = [name for name in (entry.simple_name, *entry.aliases) if self._paths(kind, name) == [path]]
        return tuple(dict.fromkeys(names + java))

    def _known(self, kind: Kind) -> str:
        names = ", ".join(self.names(kind)) or "none"
        return f"available {_KINDS[kind].words} are: {names}"

    def _unknown(self, kind: Kind, name: str) -> str:
        if not name:
            return f"an empty name; {self._known(kind)}"
        if _is_not_built(kind, name):
            return f"{name} is not built into Millrace yet; {self._known(kind)}"
        near = did_you_mean(name, self._all_names(kind))
        base = _KINDS[kind].base.__name__
        return (
            f"Failed to find any class that implements {base} and which name matches {name}{near}; {self._known(kind)}"
        )

    def _all_names(self, kind: Kind) -> list[str]:
        names = [name for entry in self._entries[kind].values() for name in (entry.simple_name, *entry.aliases)]
        return names + [java for java, simple in java_names.OURS.items() if simple in names]


def _entry(path: str, point: importlib.metadata.EntryPoint, suffixes: Iterable[str], before: _Entry | None) -> _Entry:
    simple = point.attr.rpartition(".")[2]
    short = (simple.removesuffix(suffix) for suffix in suffixes if simple.endswith(suffix))
    # One class may be registered under several names.
    aliases = dict.fromkeys([*(before.aliases if before else ()), point.name, *filter(None, short)])
    aliases.pop(simple, None)
    distribution = point.dist.name if point.dist else ""
    version = point.dist.version if point.dist else ""
    return _Entry(path, simple, tuple(aliases), distribution, version)


def _is_path(name: str) -> bool:
    return (":" in name or "." in name) and not java_names.is_kafka_class(name)


def _is_not_built(kind: Kind, name: str) -> bool:
    if java_names.is_kafka_class(name):
        return True
    suffixes = _KINDS[kind].suffixes
    simple_names = {java_names.simple_name(java).partition("$")[0] for java in java_names.NOT_BUILT[kind]}
    return any(name.partition("$")[0] + suffix in simple_names for suffix in ("", *suffixes))


def _load_path(name: str) -> type[Any]:
    if ":" in name:
        return load(name)
    module, _, attribute = name.rpartition(".")
    return load(f"{module}:{attribute}")


def _check(kind: Kind, found: type[Any]) -> None:
    base = _KINDS[kind].base
    if not issubclass(found, base):
        raise ConfigError(f"class {path_of(found)} is no {base.__name__}: expected a class derived from engine.api's")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing or inspect.isabstract(found):
        raise ConfigError(f"class {path_of(found)} is abstract: it lacks {', '.join(missing)}")


def _rest_name(plugin: PluginInfo) -> str:
    java = next((alias for alias in plugin.aliases if java_names.is_kafka_class(alias)), "")
    return java or plugin.path.replace(":", ".")


def _info(kind: Kind, entry: _Entry, aliases: tuple[str, ...]) -> PluginInfo:
    plugin_type: str = kind
    version = entry.distribution_version
    problem = ""
    try:
        found = load(entry.path)
        _check(kind, found)
    except (NotFoundError, ConfigError) as error:
        problem = str(error)
    else:
        if kind == "connector":
            plugin_type = "source" if issubclass(found, SourceConnector) else "sink"
        own = getattr(found, "version", "null")
        version = own if isinstance(own, str) and own != "null" else version
    return PluginInfo(
        path=entry.path,
        type=plugin_type,
        version=version,
        aliases=aliases,
        origin=f"{entry.distribution} {entry.distribution_version}".strip(),
        problem=problem,
    )
