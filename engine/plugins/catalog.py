"""Which class a configured name means.

    package.module:Class   package.module.Class              a path: imported as it is
    org.apache.kafka.connect.file.FileStreamSinkConnector    Kafka Connect's Java name of one of ours
    FileStreamSinkConnector   FileStreamSink                 an entry point: its class's name, with or without the
                                                             kind's suffix, or the name it was registered under

Only the class that is asked for is imported; names come from the metadata of installed distributions, here and in the
environments of `plugin.path`. An alias of two different classes means neither; of several versions of one class the
newest counts, unless `plugin.version` says otherwise; both as in Kafka Connect.

Used by: engine.plan, in a probe: importing a plugin runs its code; listing.py.
Not here: Java's names (java_names.py), importing (loading.py), environments (environment.py), asking a class anything
(asking.py).
"""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from engine.api.connector import Connector
from engine.api.converter import Converter, HeaderConverter
from engine.api.errors import ConfigError, NotFoundError, Problem
from engine.api.provider import ConfigProvider
from engine.api.transform import Predicate, Transform
from engine.config.problems import did_you_mean
from engine.plugins import java_names
from engine.plugins.environment import Environment, distributions, find_environments, has_module
from engine.plugins.loading import load, path_of
from engine.plugins.versions import ANY, VERSION, Versions, comparable

__all__ = ["KINDS", "Catalog", "Entry", "Found", "Home", "Kind", "check", "declared_version", "discover"]

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
#: In the order in which they are listed.
KINDS: tuple[Kind, ...] = tuple(_KINDS)
_KIND_OF: Mapping[str, Kind] = {facts.group: kind for kind, facts in _KINDS.items()}


class Home(Struct, frozen=True):
    """Where a plugin is installed."""

    folder: str  # of its environment, to be entered; empty: where Millrace is
    distribution: str = ""
    version: str = ""  # the distribution's; empty: nobody says


class Found(Struct, frozen=True):
    """A class that was found by a name."""

    kind: Kind
    name: str  # as it is given
    made_of: type[Any]


class Entry(Struct, frozen=True):
    """A registered plugin: what the metadata tell without importing it."""

    path: str
    simple_name: str
    aliases: tuple[str, ...]
    homes: tuple[Home, ...]  # of each version of it


def discover(plugin_path: Iterable[str] = ()) -> Catalog:
    """The catalog of what is installed, here and in the environments that `plugin.path` names.

    Costs a look at every distribution's metadata, a few milliseconds an environment; imports nothing. What is installed
    here is read anew only when a folder of Python's path has changed since the last call.
    """
    ages = tuple(map(_age, sys.path))
    found = find_environments(plugin_path)
    if not (found.environments or found.complaints):
        return _here(ages)
    catalog = Catalog(_points_here(ages))
    for environment in found.environments:
        catalog.add(environment)
    catalog.complaints[:0] = found.complaints
    return catalog


@lru_cache(maxsize=1)
def _here(ages: tuple[object, ...]) -> Catalog:
    """The catalog of what is installed on Python's path alone, which nobody changes. ages: as for _points_here."""
    return Catalog(_points_here(ages))


@lru_cache(maxsize=1)
def _points_here(_: tuple[object, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """The plugins that are installed on Python's path. _: what tells that this has changed."""
    points = importlib.metadata.entry_points()  # each call reads all metadata
    return tuple(point for facts in _KINDS.values() for point in points.select(group=facts.group))


def _age(folder: str) -> tuple[str, int]:
    with suppress(OSError):
        return folder, Path(folder).stat().st_mtime_ns
    return folder, 0


class Catalog:
    """Names to classes, over a fixed set of entry points."""

    def __init__(self, points: Iterable[importlib.metadata.EntryPoint]) -> None:
        self.environments: list[Environment] = []
        self.complaints: list[str] = []  # of what `plugin.path` names, and of what lies there
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in _KINDS}
        self._homes: dict[importlib.metadata.Distribution, Home] = {}
        for point in points:
            self._register(point, "")

    def add(self, environment: Environment) -> None:
        """Take up what is installed in an environment."""
        self.environments.append(environment)
        try:
            for distribution in distributions(environment):
                for point in distribution.entry_points:
                    self._register(point, environment.folder)
        except Exception as error:  # noqa: BLE001  what lies there may be broken in any way, and costs only itself
            self.complaints.append(f"{environment.path}: {type(error).__name__}: {error}; the rest of it is left out")

    def paths(self) -> list[str]:
        """Of all registered plugins."""
        return [entry.path for kind in _KINDS for entry in self._entries[kind].values()]

    def entries(self, kind: Kind) -> list[tuple[Entry, tuple[str, ...]]]:
        """All registered plugins of a kind by their paths, each with the other names that it alone answers to."""
        return [(entry, self._own_aliases(kind, path)) for path, entry in sorted(self._entries[kind].items())]

    def kinds(self, name: str) -> list[Kind]:
        """The kinds of the registered plugins that answer to a name."""
        return [kind for kind in _KINDS if self._paths(kind, java_names.OURS.get(name, name))]

    def rest_names(self, kind: Kind) -> list[str]:
        """How REST calls the registered classes of a kind, sorted."""
        return sorted(java_names.rest_name(entry.path, aliases) for entry, aliases in self.entries(kind))

    def rest_name(self, kind: Kind, name: str) -> str:
        """How REST calls the class that a name means. Raises ConfigError."""
        path = self._entry(kind, name).path
        return java_names.rest_name(path, self._own_aliases(kind, path) if path in self._entries[kind] else ())

    def home(self, kind: Kind, name: str, wanted: Versions = ANY, near: Collection[str] = ()) -> Home:
        """Where the class is that `name` means: its newest version that is wanted; its newest, when none is.

        near: environments that are preferred. Raises ConfigError.
        """
        homes = self._entry(kind, name).homes
        wanted_homes = [home for home in homes if wanted.hold(home.version)] or homes
        return max(wanted_homes, key=lambda home: (home.folder in near, comparable(home.version), bool(home.folder)))

    def find(self, kind: Kind, name: str, wanted: Versions = ANY) -> type[Any]:
        """The class that `name` means, out of the environments that this process has entered.

        Raises ConfigError, saying what there is instead; with a problem of `plugin.version` when none is wanted.
        """
        entry = self._entry(kind, name)
        try:
            found = load(entry.path)
        except NotFoundError as error:
            is_missing = isinstance(error.__cause__, ModuleNotFoundError) and entry.path not in self._entries[kind]
            raise ConfigError(f"{error}{'; ' + self._known(kind) if is_missing else ''}") from error
        check(kind, found)
        versions = {*(home.version for home in entry.homes), declared_version(found)}
        if not any(wanted.hold(version) for version in versions):
            there = ", ".join(sorted(filter(None, versions), key=comparable)) or "undefined"
            title = self.rest_name(kind, name)
            text = f"Plugin {title} not found that matches the version range {wanted}, available versions: [{there}]"
            raise ConfigError([Problem("", text), Problem(VERSION, text)])
        _check_loaded(entry, found, wanted)
        return found

    def version(self, found: Found, folders: Collection[str] = ()) -> str | None:
        """The version of a class that was found: its own, or its distribution's; None: neither is known.

        folders: of the environments that this process has entered, in their order.
        """
        own = declared_version(found.made_of)
        if own:
            return own
        order = [*folders, ""]
        homes = [home for home in self._entry(found.kind, found.name).homes if home.folder in order]
        return min(homes, key=lambda home: order.index(home.folder)).version or None if homes else None

    def names(self, kind: Kind) -> list[str]:
        """The simple names of all registered classes of a kind, sorted."""
        return sorted({entry.simple_name for entry in self._entries[kind].values()})

    def _register(self, point: importlib.metadata.EntryPoint, folder: str) -> None:
        kind = _KIND_OF.get(point.group)
        if kind is None:
            return
        path = f"{point.module}:{point.attr}"
        home = Home(folder) if point.dist is None else self._home_of(point.dist, folder)
        entries = self._entries[kind]
        entries[path] = _entry(path, point, _KINDS[kind].suffixes, home, entries.get(path))

    def _home_of(self, distribution: importlib.metadata.Distribution, folder: str) -> Home:
        home = self._homes.get(distribution)
        if home is None:
            told = distribution.metadata  # parsed anew each time that it is asked for
            home = self._homes[distribution] = Home(folder, told["Name"], told["Version"])
        return home

    def _entry(self, kind: Kind, name: str) -> Entry:
        """What `name` means, registered or a path. Raises ConfigError."""
        name = name.strip()
        paths = self._paths(kind, java_names.OURS.get(name, name))
        if len(paths) > 1:
            raise ConfigError(f'"{name}" is the name of {" and of ".join(paths)}: expected one of these paths')
        if paths:
            return self._entries[kind][paths[0]]
        if not _is_path(name):
            raise ConfigError(self._unknown(kind, name))
        path = name if ":" in name else ":".join(name.rsplit(".", 1))
        module, _, attribute = path.partition(":")
        folders = [one.folder for one in self.environments if has_module(one, module)]
        return Entry(path, attribute, (), tuple(map(Home, folders[:1] or [""])))

    def _paths(self, kind: Kind, name: str) -> list[str]:
        return [
            entry.path
            for entry in self._entries[kind].values()
            if name in (entry.path, entry.path.replace(":", "."), entry.simple_name, *entry.aliases)
        ]

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
        if kind != "connector":
            return f"Class {name} could not be found{near}; {self._known(kind)}"
        words = f"Failed to find any class that implements Connector and which name matches {name}"
        return f"{words}, {self._known(kind)}{near}"

    def _all_names(self, kind: Kind) -> list[str]:
        names = [name for entry in self._entries[kind].values() for name in (entry.simple_name, *entry.aliases)]
        return names + [java for java, simple in java_names.OURS.items() if simple in names]


def declared_version(found: type[Any]) -> str:
    """The version that a plugin's class itself declares; empty: none."""
    own = getattr(found, "version", "null")
    return own if isinstance(own, str) and own != "null" else ""


def check(kind: Kind, found: type[Any]) -> None:
    """Raises ConfigError when a class is no plugin of this kind, or not a whole one."""
    base = _KINDS[kind].base
    if not issubclass(found, base):
        raise ConfigError(f"class {path_of(found)} is no {base.__name__}: expected a class derived from engine.api's")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing or inspect.isabstract(found):
        raise ConfigError(f"class {path_of(found)} is abstract: it lacks {', '.join(missing)}")


def _check_loaded(entry: Entry, found: type[Any], wanted: Versions) -> None:
    """Raises ConfigError when an environment that was entered earlier has another version than is wanted."""
    file = str(getattr(sys.modules[found.__module__], "__file__", ""))
    loaded = next((home for home in entry.homes if home.folder and file.startswith(f"{home.folder}/")), None)
    if loaded is None or wanted.hold(loaded.version) or wanted.hold(declared_version(found)):
        return
    text = (
        f"version {loaded.version} is loaded, from {loaded.folder}, and {wanted} is wanted: of all environments that a "
        "connector needs, the first that has a plugin counts, its own before others"
    )
    raise ConfigError([Problem(VERSION, text)])


def _entry(
    path: str, point: importlib.metadata.EntryPoint, suffixes: Iterable[str], home: Home, before: Entry | None
) -> Entry:
    simple = point.attr.rpartition(".")[2]
    short = (simple.removesuffix(suffix) for suffix in suffixes if simple.endswith(suffix))
    # One class may be registered under several names, and be there in several versions.
    aliases = dict.fromkeys([*(before.aliases if before else ()), point.name, *filter(None, short)])
    aliases.pop(simple, None)
    homes = dict.fromkeys([*(before.homes if before else ()), home])
    return Entry(path, simple, tuple(aliases), tuple(homes))


def _is_path(name: str) -> bool:
    return (":" in name or "." in name) and not java_names.is_kafka_class(name)


def _is_not_built(kind: Kind, name: str) -> bool:
    if java_names.is_kafka_class(name):
        return True
    suffixes = _KINDS[kind].suffixes
    simple_names = {java_names.simple_name(java).partition("$")[0] for java in java_names.NOT_BUILT[kind]}
    return any(name.partition("$")[0] + suffix in simple_names for suffix in ("", *suffixes))
