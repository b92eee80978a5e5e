"""How Kafka Connect tells of keys: definitions and values of a connector's configuration, as REST answers them.

    keys that are declared ──► definitions ──► ConfigKeyInfo
    texts that are given   ──► ConfigInfos, of which each has a definition and a value with its errors

Used by: engine.config_infos, engine.answering.
Not here: which keys a connector has (engine.config_infos), what they mean (their Config classes).
Source: names, groups, order, importance and width of Kafka Connect's own keys as 4.3.1 tells them (tests/vectors).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import NODEFAULT, Struct
from msgspec.structs import replace

from engine.api.config import HIDDEN, Config, Key, Password, keys_of

__all__ = [
    "CONVERTER_TYPE",
    "ConfigInfo",
    "ConfigInfos",
    "Definition",
    "Value",
    "alias_type",
    "alias_version",
    "definition_of",
    "framework_definitions",
    "groups_of",
    "place_among_others",
    "predicated",
    "text_of",
]


class Definition(Struct, frozen=True, kw_only=True):
    """ConfigKeyInfo."""

    name: str
    type: str = "STRING"
    required: bool = False
    default_value: str | None = None
    importance: str = "MEDIUM"
    documentation: str = ""
    group: str | None = None
    order_in_group: int = -1
    width: str = "NONE"
    display_name: str = ""
    dependents: tuple[str, ...] = ()


class Value(Struct, frozen=True, kw_only=True):
    """ConfigValueInfo."""

    name: str
    value: str | None = None
    recommended_values: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    visible: bool = True


class ConfigInfo(Struct, frozen=True):
    """One key. definition: None: nobody declares it."""

    definition: Definition | None
    value: Value


class ConfigInfos(Struct, frozen=True):
    """The answer to a validation."""

    name: str
    error_count: int
    groups: tuple[str, ...]
    configs: tuple[ConfigInfo, ...]

    def errors(self) -> tuple[str, ...]:
        """All of them, in order, as they are told to whoever makes such a connector."""
        return tuple(error for info in self.configs for error in info.value.errors)


#: Of Kafka Connect's own keys: group, place in it, importance, width, words to show. In its order.
_SHOWN: Mapping[str, tuple[str, int, str, str, str]] = {
    "name": ("Common", 1, "HIGH", "MEDIUM", "Connector name"),
    "connector.class": ("Common", 2, "HIGH", "LONG", "Connector class"),
    "connector.plugin.version": ("Common", 3, "MEDIUM", "MEDIUM", "Connector version"),
    "tasks.max": ("Common", 4, "HIGH", "SHORT", "Tasks max"),
    "tasks.max.enforce": ("Common", 5, "LOW", "SHORT", "Enforce tasks max"),
    "key.converter": ("Common", 6, "LOW", "SHORT", "Key converter class"),
    "key.converter.plugin.version": ("Common", 7, "LOW", "SHORT", "Key converter version"),
    "value.converter": ("Common", 8, "LOW", "SHORT", "Value converter class"),
    "value.converter.plugin.version": ("Common", 9, "LOW", "SHORT", "Value converter version"),
    "header.converter": ("Common", 10, "LOW", "SHORT", "Header converter class"),
    "header.converter.plugin.version": ("Common", 11, "LOW", "SHORT", "Header converter version"),
    "transforms": ("Transforms", 12, "LOW", "LONG", "Transforms"),
    "predicates": ("Predicates", 13, "LOW", "LONG", "Predicates"),
    "config.action.reload": ("Common", 14, "LOW", "MEDIUM", "Reload Action"),
    "errors.retry.timeout": ("Error Handling", 1, "MEDIUM", "MEDIUM", "Retry Timeout for Errors"),
    "errors.retry.delay.max.ms": ("Error Handling", 2, "MEDIUM", "MEDIUM", "Maximum Delay Between Retries for Errors"),
    "errors.tolerance": ("Error Handling", 3, "MEDIUM", "SHORT", "Error Tolerance"),
    "errors.log.enable": ("Error Handling", 4, "MEDIUM", "SHORT", "Log Errors"),
    "errors.log.include.messages": ("Error Handling", 5, "MEDIUM", "SHORT", "Log Error Details"),
    "topics": ("Common", 4, "HIGH", "LONG", "Topics"),
    "topics.regex": ("Common", 4, "HIGH", "LONG", "Topics regex"),
    "errors.deadletterqueue.topic.name": ("Error Handling", 6, "MEDIUM", "MEDIUM", "Dead Letter Queue Topic Name"),
    "errors.deadletterqueue.topic.replication.factor": (
        "Error Handling", 7, "MEDIUM", "MEDIUM", "Dead Letter Queue Topic Replication Factor",
    ),
    "errors.deadletterqueue.context.headers.enable": (
        "Error Handling", 8, "MEDIUM", "MEDIUM", "Enable Error Context Headers",
    ),
    "topic.creation.groups": ("Topic Creation", 1, "LOW", "LONG", "Topic Creation Groups"),
    "exactly.once.support": ("Exactly Once Support", 2, "MEDIUM", "SHORT", "Exactly once support"),
    "transaction.boundary": ("Exactly Once Support", 3, "MEDIUM", "SHORT", "Transaction Boundary"),
    "transaction.boundary.interval.ms": (
        "Exactly Once Support", 4, "LOW", "SHORT", "Transaction boundary interval",
    ),
    "offsets.storage.topic": ("offsets.topic", 1, "LOW", "LONG", "Offsets topic"),
}  # fmt: skip
#: Kafka Connect has these for sinks only; of sources they are ours.
_SINKS_ONLY = "errors.deadletterqueue."
#: Keys whose values are classes.
_CLASSES = ("key.converter", "value.converter", "header.converter")
#: Where keys stand that Kafka Connect does not have.
OURS = "Millrace"
#: Kafka's converters have it, and are told by it what they are for; the engine sets it.
CONVERTER_TYPE = Definition(
    name="converter.type",
    required=True,
    importance="LOW",
    documentation="What the converter is for: key, value or header. Nobody needs to give it.",
    display_name="converter.type",
)


def definition_of(key: Key) -> Definition:
    """A declared key, as its Meta says it is to be shown."""
    extra: dict[str, Any] = {}
    title = ""
    for meta in reversed(key.metas):
        extra |= meta.extra or {}
        title = meta.title or title
    is_required = key.default is NODEFAULT
    return Definition(
        name=key.name,
        type=extra.get("type", key.java_type),
        required=is_required,
        default_value=None if is_required else text_of(key, key.default),
        importance=extra.get("importance", "HIGH" if is_required else "MEDIUM"),
        documentation=key.description,
        group=extra.get("group"),
        order_in_group=extra.get("order", -1),
        width=extra.get("width", "NONE"),
        display_name=title or key.name,
        dependents=tuple(extra.get("dependents", ())),
    )


def alias_type(prefix: str, words: str, alias: str) -> Definition:
    """The key that names the class of a transform or predicate. prefix: of the alias, with its dots."""
    return Definition(
        name=f"{prefix}type",
        type="CLASS",
        required=True,
        importance="HIGH",
        width="LONG",
        documentation=f"The class of the alias {alias}.",
        display_name=f"{words} type for {alias}",
    )


def alias_version(prefix: str, words: str, alias: str) -> Definition:
    """The key that asks for a version of that class."""
    return Definition(
        name=f"{prefix}plugin.version",
        importance="HIGH",
        width="LONG",
        documentation=f"The version of the class of the alias {alias}; absent: the newest.",
        display_name=f"{words} version for {alias}",
    )


def predicated(prefix: str) -> tuple[Definition, Definition]:
    """The keys by which a predicate says which records a transform sees."""
    negate = Definition(
        name=f"{prefix}negate",
        type="BOOLEAN",
        default_value="false",
        documentation="Whether it applies where its predicate does not hold.",
        display_name="negate",
    )
    predicate = Definition(
        name=f"{prefix}predicate",
        documentation="The alias of the predicate that says where it applies; absent: everywhere.",
        display_name="predicate",
    )
    return negate, predicate


def place_among_others(info: ConfigInfo) -> tuple[Any, ...]:
    """Sorts keys of a transform or predicate as Kafka's ConfigDef does: required, important, by name; ours last."""
    assert info.definition is not None, "declared"
    one = info.definition
    return one.group == OURS, not one.required, ("HIGH", "MEDIUM", "LOW").index(one.importance), one.name


def text_of(key: Key, value: Any) -> str | None:
    """A value of a key as Kafka's ConfigDef writes it; a secret is hidden."""
    if value is None:
        return None
    if key.kind is Password:
        return HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str.__str__(value) if isinstance(value, str) else str(value)


def framework_definitions(kind: type[Config]) -> list[tuple[Key, Definition]]:
    """The keys that the engine reads of each connector: Kafka Connect's as it shows them, ours behind them."""
    keys = {key.name: key for key in keys_of(kind)}
    is_sinks = "topics" in keys
    shown = {name: one for name, one in _SHOWN.items() if is_sinks or not name.startswith(_SINKS_ONLY)}
    known = [(keys.pop(name), one) for name, one in shown.items() if name in keys]
    told = []
    for key, (group, order, importance, width, title) in known:
        plain = definition_of(key)
        told.append(
            (
                key,
                replace(
                    plain,
                    type="CLASS" if key.name in _CLASSES else plain.type,
                    importance=importance,
                    group=group,
                    order_in_group=order,
                    width=width,
                    display_name=title,
                ),
            )
        )
    for order, key in enumerate(keys.values(), 1):
        plain = definition_of(key)
        told.append((key, replace(plain, group=OURS, order_in_group=order, width="SHORT", importance="LOW")))
    return told


def groups_of(infos: Iterable[ConfigInfo], first: Sequence[str] = ()) -> tuple[str, ...]:
    """The groups of these keys, each once, in order."""
    named = (info.definition.group for info in infos if info.definition is not None)
    return tuple(dict.fromkeys([*first, *(group for group in named if group is not None)]))
