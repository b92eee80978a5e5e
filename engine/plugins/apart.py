"""Plugins of environments, asked apart: in a probe of the probe that has entered them and nothing else.

    probe, or its parent            probe of these environments
    ask(environments, question) ──► enter ──► question ──► bytes

Whoever asks has run no plugin code itself so far: what it has imported, every process that it forks has as well.

Used by: engine.plan, engine.plugins.listing, engine.launch.
Not here: where a plugin is (catalog.py), what a probe is (probe.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from engine.api.errors import ConfigError
from engine.plugins import environment
from engine.plugins.catalog import Catalog, Kind
from engine.plugins.environment import Environment
from engine.plugins.probe import Tell, in_probe
from engine.plugins.versions import ranges_of, version_key

__all__ = ["Apart", "Named", "environments_of", "named_plugins", "named_providers"]


class Named(Struct, frozen=True):
    """A plugin that a configuration names."""

    kind: Kind
    key: str
    name: str
    wanted: str  # the value of its `plugin.version` key


def named_plugins(properties: Mapping[str, str], worker: Mapping[str, str]) -> Iterator[Named]:
    """The plugins of a connector: its class, its converters or the worker's, its transforms."""
    keys: list[tuple[Kind, str]] = [("connector", "connector.class")]
    keys += [("converter", "key.converter"), ("converter", "value.converter"), ("header_converter", "header.converter")]
    aliases = [alias.strip() for alias in properties.get("transforms", "").split(",")]
    keys += [("transform", f"transforms.{alias}.type") for alias in dict.fromkeys(filter(None, aliases))]
    for kind, key in keys:
        where = properties if properties.get(key, "").strip() else worker
        if where.get(key, "").strip():
            yield Named(kind, key, where[key].strip(), where.get(version_key(key), ""))


def named_providers(worker: Mapping[str, str]) -> Iterator[Named]:
    """The config providers of a worker."""
    names = [name.strip() for name in worker.get("config.providers", "").split(",")]
    for key in (f"config.providers.{name}.class" for name in filter(None, names)):
        if worker.get(key, "").strip():
            yield Named("config_provider", key, worker[key].strip(), "")


def environments_of(catalog: Catalog, plugins: Iterable[Named]) -> list[Environment]:
    """The environments that these plugins need, in the order of the plugins; where Millrace is, is none.

    What cannot be found has none: whoever asks the plugins tells of it.
    """
    folders: list[str] = []
    for plugin in plugins:
        with contextlib.suppress(ConfigError, ValueError):
            # As in Kafka Connect, what is there beside the connector is taken before others.
            home = catalog.home(plugin.kind, plugin.name, ranges_of(plugin.wanted), folders[:1])
            folders.append(home.folder)
    known = {one.folder: one for one in catalog.environments}
    return [known[folder] for folder in dict.fromkeys(folders) if folder]


class Apart(Struct, frozen=True):
    """Asks questions so, each within the time budget of one step."""

    tell: Tell  # of whoever asks, whose own deadline goes on meanwhile
    timeout_seconds: float

    def ask(self, folders: Sequence[str], question: Callable[[Tell], bytes]) -> bytes:
        """What the question answers where these environments are entered. Raises ConfigError, ProbeError."""

        def body(tell: Tell) -> bytes:
            environment.enter(folders)
            return question(tell)

        return in_probe(body, timeout_seconds=self.timeout_seconds, follow=self.tell)
