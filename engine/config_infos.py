"""What is wrong with a connector's configuration, key by key, as Kafka Connect's validation tells it.

    the engine's keys, its transforms', its own      ──► definition, value, errors ─┐
    those of converters, each behind its prefix      ──►                            ├──► ConfigInfos
    overrides of client settings                     ──► value, errors ─────────────┘

The errors are those that the interview of its plugins has found, in Kafka's words where its ConfigDef has some: who
makes a connector and who validates it hear the same.

Used by: engine.plan, within a probe.
Not here: asking plugins (engine.plugins.asking), the shape of a definition (engine.config.definitions).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from engine.api.config import HIDDEN, Config, Key, Password, keys_of
from engine.api.connector import Connector, SinkConnector
from engine.api.converter import Converter
from engine.api.errors import ConfigError, Problem
from engine.config import definitions
from engine.config.connector import ConnectorConfig, SinkKeys, SourceKeys
from engine.config.definitions import ConfigInfo, ConfigInfos, Definition, Value
from engine.config.masking import is_secret, masked
from engine.plugins.catalog import Catalog, Found, Kind
from engine.plugins.versions import version_key

__all__ = ["CONVERTERS", "Looked", "config_infos", "plugin_definitions", "with_nulls"]

_CLASS = "connector.class"
_NULL = "Null value can not be supplied as the configuration value."
CONVERTERS: Mapping[str, Kind] = {
    "key.converter": "converter",
    "value.converter": "converter",
    "header.converter": "header_converter",
}
#: Of each chain the kind of its plugins, and how its groups and keys are called.
_CHAINS: Mapping[str, tuple[Kind, str, str]] = {
    "transforms": ("transform", "Transforms", "Transformation"),
    "predicates": ("predicate", "Predicates", "Predicate"),
}
#: Who owns the versions that these keys ask for.
_VERSIONS: Mapping[str, str] = {version_key(key): key for key in (_CLASS, *CONVERTERS)}


class Looked(Struct, frozen=True):
    """A connector that was looked at."""

    properties: Mapping[str, str]  # variables resolved
    given: Mapping[str, str]  # as they were given
    connector: type[Connector] | None  # None: its class is known, and not in the version that is asked for
    plugins: Mapping[str, Found]  # what it names, by key
    inherited: Mapping[str, str]  # names of the worker's converters, by key
    folders: tuple[str, ...]  # of the environments that this process has entered
    problems: tuple[Problem, ...]
    secrets: tuple[str, ...]


def config_infos(looked: Looked, catalog: Catalog) -> ConfigInfos:
    """All of its keys, and what is wrong with them."""
    telling = _Telling(looked, catalog)
    own = telling.own()
    others = [*telling.converters(), *telling.overrides()]
    unknown = telling.undeclared()
    configs = (*unknown, *own, *others)
    return ConfigInfos(
        name=looked.properties[_CLASS],
        # As Kafka counts: of converters and clients the keys, of all else the errors.
        error_count=sum(len(info.value.errors) for info in (*unknown, *own))
        + sum(1 for info in others if info.value.errors),
        groups=definitions.groups_of(configs),
        configs=configs,
    )


def with_nulls(infos: ConfigInfos, keys: Iterable[str]) -> ConfigInfos:
    """The same, with an error for each of these keys, which are null; a connector's own key may be."""
    framework = {
        definition.name for kind in (SinkKeys, SourceKeys) for _, definition in definitions.framework_definitions(kind)
    }
    declared = {info.value.name for info in infos.configs if info.definition is not None}
    bad = {key for key in keys if key in framework or key not in declared}
    told = [ConfigInfo(None, Value(name=key, errors=(_NULL,))) for key in keys if key in bad - declared]
    for info in infos.configs:
        value = info.value
        errors = (*value.errors, _NULL) if value.name in bad & declared else value.errors
        told.append(ConfigInfo(info.definition, replace(value, errors=errors)))
    return replace(infos, configs=tuple(told), error_count=infos.error_count + len(bad))


def plugin_definitions(found: type[Any], version: str | None) -> list[Definition]:
    """What a plugin's configuration can hold: its own keys, and of a connector those of every connector."""
    own = [definitions.definition_of(key) for key in keys_of(found.config)]
    if issubclass(found, Converter):
        return [definitions.CONVERTER_TYPE, *own]
    if not issubclass(found, Connector):
        return own
    names = {definition.name for definition in own}
    framework = [one for _, one in definitions.framework_definitions(_keys_for(found)) if one.name not in names]
    return own + [replace(one, default_value=version) if one.name == version_key(_CLASS) else one for one in framework]


def _keys_for(found: type[Connector] | None) -> type[ConnectorConfig]:
    if found is None:
        return ConnectorConfig
    return SinkKeys if issubclass(found, SinkConnector) else SourceKeys


def _named(words: str, name: str, full: str) -> str:
    """The same words of a key by its full name; Kafka tells of a converter's keys without their prefix."""
    return words.replace(f' configuration "{name}" ', f' configuration "{full}" ').replace(
        f" for configuration {name}: ", f" for configuration {full}: "
    )


class _Telling:
    """Tells of one connector."""

    def __init__(self, looked: Looked, catalog: Catalog) -> None:
        self._looked = looked
        self._properties = looked.properties
        self._catalog = catalog
        self._inherited: dict[str, Found] = {}
        for key, name in looked.inherited.items():
            with contextlib.suppress(ConfigError):  # of the worker, which was told when it began
                self._inherited[key] = Found(CONVERTERS[key], name, catalog.find(CONVERTERS[key], name))
        self._problems: dict[str, list[str]] = {}  # those that no key has told of yet
        for problem in masked(looked.problems, looked.secrets):
            told = self._problems.setdefault(problem.key or _CLASS, [])
            if problem.message not in told:
                told.append(problem.message)

    def own(self) -> list[ConfigInfo]:
        """The engine's keys, those of transforms and predicates, and the connector's own."""
        connector = self._looked.connector
        kind = _keys_for(connector)
        config: type[Config] = Config if connector is None else connector.config
        declared = {key.name: key for key in keys_of(config)}
        told = []
        for key, definition in definitions.framework_definitions(kind):
            if key.name in declared:
                told.append(self._declared(config, declared.pop(key.name)))
            elif key.name in CONVERTERS:
                told.append(self._class(definition, CONVERTERS[key.name]))
            elif key.name in _VERSIONS:
                told.append(self._version(definition, _VERSIONS[key.name]))
            else:
                told.append(self._read(kind, key, definition))
        if connector is not None:
            told += [info for chain in _CHAINS for info in self._chain(chain)]
        return told + [self._declared(config, key) for key in declared.values()]

    def converters(self) -> Iterator[ConfigInfo]:
        """The keys of those converters that the connector names itself."""
        for key in CONVERTERS:
            if key not in self._looked.plugins:
                continue
            found = self._looked.plugins[key].made_of
            if issubclass(found, Converter):
                name = f"{key}.{definitions.CONVERTER_TYPE.name}"
                value = Value(name=name, value=key.partition(".")[0])
                yield ConfigInfo(replace(definitions.CONVERTER_TYPE, name=name), value)
            for own in keys_of(found.config):
                yield self._declared(found.config, own, f"{key}.")

    def overrides(self) -> Iterator[ConfigInfo]:
        """Settings of clients; as in Kafka Connect, of those clients that such a connector has."""
        connector, clients = self._looked.connector, ["producer"]
        if connector is None:
            return
        if issubclass(connector, SinkConnector):
            has_dead_letters = bool(self._properties.get("errors.deadletterqueue.topic.name", "").strip())
            clients = ["consumer", "producer", "admin"] if has_dead_letters else ["consumer"]
        elif any(key.startswith("topic.creation.") for key in self._properties):
            clients.append("admin")
        for client in clients:
            for key in self._properties:
                if key.startswith(f"{client}.override."):
                    yield self._text(None, key)

    def undeclared(self) -> list[ConfigInfo]:
        """What is wrong with keys that nobody declares. Call it last."""
        return [ConfigInfo(None, self._value(name, self._properties.get(name))) for name in list(self._problems)]

    def _chain(self, chain: str) -> Iterator[ConfigInfo]:
        kind, group, words = _CHAINS[chain]
        text = self._properties.get(chain, "").strip()
        for alias in dict.fromkeys(alias.strip() for alias in text.split(",")) if text else ():
            prefix = f"{chain}.{alias}."
            found = self._looked.plugins.get(f"{prefix}type")
            config = None if found is None else found.made_of.config
            told = [
                self._class(definitions.alias_type(prefix, words, alias), kind),
                self._version(definitions.alias_version(prefix, words, alias), f"{prefix}type"),
            ]
            if config is not None:
                keys = [self._declared(config, key, prefix) for key in keys_of(config)]
                keys += [self._text(one) for one in definitions.predicated(prefix) if chain == "transforms"]
                told += sorted(keys, key=definitions.place_among_others)
            for order, info in enumerate(told):
                assert info.definition is not None, "each has been given one"
                theirs = definitions.OURS if info.definition.group == definitions.OURS else f"{group}: {alias}"
                placed = replace(info.definition, group=theirs, order_in_group=order)
                yield ConfigInfo(placed, info.value)

    def _declared(self, config: type[Config], key: Key, prefix: str = "") -> ConfigInfo:
        """A key that a plugin declares. prefix: where it stands."""
        definition = definitions.definition_of(key)
        return self._read(config, key, replace(definition, name=prefix + key.name))

    def _read(self, config: type[Config], key: Key, definition: Definition) -> ConfigInfo:
        name = definition.name
        text = self._properties.get(name)
        value, errors = config.read_key(key, text)
        if name.startswith(tuple(_CHAINS)):
            errors = tuple(_named(words, key.name, name) for words in errors)
        # A text as it was given, whatever it is taken for.
        shown = text.strip() if text is not None and isinstance(value, str) else definitions.text_of(key, value)
        if key.kind is Password and shown is not None:
            shown = HIDDEN
        return ConfigInfo(definition, self._value(name, shown, errors))

    def _class(self, definition: Definition, kind: Kind) -> ConfigInfo:
        """A key that names a class; only that of a converter may be the worker's."""
        name = definition.name
        own, inherited = self._looked.plugins.get(name), self._inherited.get(name)
        taken = own if self._properties.get(name, "").strip() else inherited
        value = replace(
            self._value(name, self._called(taken)), recommended_values=tuple(self._catalog.rest_names(kind))
        )
        return ConfigInfo(replace(definition, default_value=self._called(inherited)), value)

    def _called(self, found: Found | None) -> str | None:
        return None if found is None else self._catalog.rest_name(found.kind, found.name)

    def _version(self, definition: Definition, owner: str) -> ConfigInfo:
        """A key that asks for a version of the class that `owner` names."""
        found = self._looked.plugins.get(owner)
        if found is None and not self._properties.get(owner, "").strip():
            found = self._inherited.get(owner)
        version = None if found is None else self._catalog.version(found, self._looked.folders)
        info = self._text(replace(definition, default_value=version))
        recommended = () if version is None else (version,)
        # Kafka Connect hides the version of a converter that there is not.
        is_visible = found is not None or owner not in CONVERTERS
        return ConfigInfo(info.definition, replace(info.value, recommended_values=recommended, visible=is_visible))

    def _text(self, definition: Definition | None, name: str = "") -> ConfigInfo:
        """A key whose text is shown as it is."""
        name = name if definition is None else definition.name
        default = None if definition is None else definition.default_value
        return ConfigInfo(definition, self._value(name, self._properties.get(name, default)))

    def _value(self, name: str, value: str | None, read: Iterable[str] = ()) -> Value:
        """read: what reading it has found; other problems of it say the same in other words then."""
        problems = self._problems.pop(name, [])
        errors = [Problem(name, words) for words in read] or [Problem(name, words) for words in problems]
        given = self._looked.given.get(name, "")
        if "${" in given and given != self._properties.get(name):
            value = given  # what a provider has answered is nobody's to see
        elif value is not None and (is_secret(name) or value in self._looked.secrets):
            value = HIDDEN
        told = tuple(problem.message for problem in masked(errors, self._looked.secrets))
        return Value(name=name, value=value, errors=told)
