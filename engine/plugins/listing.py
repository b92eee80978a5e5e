"""What plugins there are, with all that is to be known of each: every one of them is imported, in probes.

    catalog ──► a probe for each environment ──► PluginInfo, or why a plugin cannot be used

Used by: engine.plan, engine.launch.
Not here: what a name means (catalog.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.api.connector import SourceConnector
from engine.api.errors import ConfigError, NotFoundError
from engine.plugins import java_names
from engine.plugins.apart import Apart
from engine.plugins.catalog import KINDS, Catalog, Entry, Home, Kind, check, declared_version
from engine.plugins.loading import load
from engine.plugins.probe import Tell
from engine.plugins.versions import comparable

__all__ = ["LISTING_SECONDS", "PluginInfo", "as_rest", "listing"]

#: For importing everything that is installed.
LISTING_SECONDS = 60.0

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
    location: str = ""  # the environment it is in; empty: where Millrace is
    problem: str = ""  # why it cannot be used; then the type of a connector is "connector"


class _Listed(Struct, frozen=True):
    """One plugin in one place."""

    kind: Kind
    entry: Entry
    aliases: tuple[str, ...]
    home: Home


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[PluginInfo]).decode


def listing(catalog: Catalog, apart: Apart) -> list[PluginInfo]:
    """Every registered plugin, by kind, path and version. One that fails says so in its `problem`."""
    listed = [
        _Listed(kind, entry, aliases, home)
        for kind in KINDS
        for entry, aliases in catalog.entries(kind)
        for home in sorted(entry.homes, key=lambda home: comparable(home.version))
    ]
    locations = {one.folder: one.path for one in catalog.environments}
    found: dict[_Listed, PluginInfo] = {}
    for folder in dict.fromkeys(one.home.folder for one in listed):
        here = [one for one in listed if one.home.folder == folder]
        found |= _ask(folder, locations.get(folder, ""), here, apart)
    return [found[one] for one in listed]


def as_rest(plugins: Iterable[PluginInfo]) -> list[dict[str, Any]]:
    """Those that can be used, as Kafka Connect lists them: class, type, version; in its order of types.

    The class is Java's name where it is one of Kafka Connect's, so that clients find what they look for.
    """
    found = [plugin for plugin in plugins if not plugin.problem and plugin.type in _REST_TYPES]
    found.sort(key=lambda plugin: list(_REST_TYPES).index(plugin.type))
    return [
        {
            "class": java_names.rest_name(plugin.path, plugin.aliases),
            "type": _REST_TYPES[plugin.type],
            "version": plugin.version,
        }
        for plugin in found
    ]


def _ask(folder: str, location: str, listed: list[_Listed], apart: Apart) -> dict[_Listed, PluginInfo]:
    """Look at the plugins of one environment together; one by one when that does not come to its end."""

    def question(tell: Tell) -> bytes:
        tell(f"importing the plugins of {location or 'the worker'}")
        return _encode([_info(one, location) for one in listed])

    try:
        return dict(zip(listed, _decode(apart.ask([folder] if folder else [], question)), strict=True))
    except ConfigError as error:
        if len(listed) == 1:
            return {listed[0]: _told(listed[0], location, problem=str(error))}
    return {one: info for each in listed for one, info in _ask(folder, location, [each], apart).items()}


def _info(one: _Listed, location: str) -> PluginInfo:
    try:
        found = load(one.entry.path)
        check(one.kind, found)
    except (NotFoundError, ConfigError) as error:
        return _told(one, location, problem=str(error))
    is_connector = one.kind == "connector"
    plugin_type = ("source" if issubclass(found, SourceConnector) else "sink") if is_connector else one.kind
    return _told(one, location, plugin_type=plugin_type, version=declared_version(found))


def _told(one: _Listed, location: str, *, plugin_type: str = "", version: str = "", problem: str = "") -> PluginInfo:
    home = one.home
    return PluginInfo(
        path=one.entry.path,
        type=plugin_type or one.kind,
        version=version or home.version,
        aliases=one.aliases,
        origin=f"{home.distribution} {home.version}".strip(),
        location=location,
        problem=problem,
    )
