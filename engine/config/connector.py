"""Reading the keys of a connector that are the engine's own.

    all connectors      name, connector.class, tasks.max, converters, transforms, errors.*      ours: task.processes ...
    sinks               topics or topics.regex
    sources             exactly.once.support, topic.creation.*

What is not built yet is refused where leaving it out would change what happens to records, and warned about where not.

Used by: engine.connector_lines.
Not here: the keys (connector_keys.py), keys of the connector's class, its converters and transforms (their own Config
classes), client settings (clients.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from engine.api.config import keys_of
from engine.api.errors import ConfigError, Problem
from engine.api.java_regex import translated
from engine.config.connector_keys import ConnectorConfig, SinkKeys, SourceKeys
from engine.config.cpus import cpus_problem
from engine.config.masking import masked
from engine.config.problems import did_you_mean, place, raise_all
from engine.config.worker_keys import WorkerConfig

__all__ = ["ConnectorConfig", "SinkKeys", "SourceKeys", "connector_warnings", "read_connector"]

#: Keys whose default is the only value that is built, with what it would take.
_DEFAULT_ONLY: Mapping[str, str] = {
    "exactly.once.support": "exactly-once is not built yet: sources deliver at least once",
}
_NO_TRANSACTIONS = "there are no transactions yet"
_WITHOUT_EFFECT: Mapping[str, str] = {
    "transaction.boundary": _NO_TRANSACTIONS,
    "transaction.boundary.interval.ms": _NO_TRANSACTIONS,
    "offsets.storage.topic": "offsets are kept in the worker's store",
}
_VERSION = re.compile(r"(connector|(key|value|header)\.converter|(transforms|predicates)\.[^.]+)\.plugin\.version\Z")
_PREDICATED = re.compile(r"transforms\.[^.]+\.(predicate|negate)\Z")
_CREATION = "topic.creation."
_SUBSCRIPTION = ("topics", "topics.regex")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: Absent here, they are the worker's with the worker's keys for it (engine.connector_lines).
_NOT_INHERITED = ("key_converter", "value_converter", "header_converter")
#: What begins so is someone else's: a converter's, a transform's, a client's.
_PREFIXES = ("key.converter.", "value.converter.", "header.converter.", "transforms.", "predicates.")
_CLIENTS = ("producer.override.", "consumer.override.", "admin.override.")


def read_connector(
    properties: Mapping[str, str],
    worker: WorkerConfig,
    *,
    is_sink: bool,
    file: str,
    is_strict: bool,
    known_keys: Collection[str],
    secrets: Collection[str] = (),
) -> ConnectorConfig:
    """The engine's keys of one connector, variables resolved: a SinkKeys or a SourceKeys.

    is_strict: an unknown key is an error; else `connector_warnings` names it.
    known_keys: what the connector's class, its converters and transforms declare, in full (`transforms.a.field`); under
    a prefix of which nothing is declared, every key is let through. secrets: values that came from a provider.
    Raises ConfigError with every problem.
    """
    kind: type[ConnectorConfig] = SinkKeys if is_sink else SourceKeys
    problems = [Problem(key, text) for key, text in _refused(properties, worker, kind)]
    if is_strict:
        problems += [Problem(key, text) for key, text in _unknown(properties, kind, known_keys)]
    config: ConnectorConfig | None = None
    try:
        config = kind.parse(properties)
    except ConfigError as error:
        problems += error.problems
    if config is not None:
        config = _inherited(config, worker)
        problems += _contradictions(config)
    if is_sink:
        problems += _subscription_problems(properties)
    if isinstance(config, SinkKeys) and not problems and (problem := _dead_letter_problem(config)):
        problems.append(problem)
    name = properties.get("name", "").strip()
    raise_all(place(masked(problems, secrets), connector=name, file=file))
    assert config is not None, "without a problem there is a configuration"
    return config


_DEAD_LETTERS = "errors.deadletterqueue.topic.name"


def connector_warnings(
    properties: Mapping[str, str], worker: WorkerConfig, *, is_sink: bool, is_strict: bool, known_keys: Collection[str]
) -> list[str]:
    """What a person should know about keys that are read but do nothing. is_strict: unknown keys are errors already."""
    kind: type[ConnectorConfig] = SinkKeys if is_sink else SourceKeys
    defaults = {key.name: key.default for key in keys_of(kind)}
    warnings = []
    for key, text in properties.items():
        reason = _WITHOUT_EFFECT.get(key)
        if reason is not None and key in defaults and text.strip().lower() != _text(defaults[key]):
            warnings.append(f"{key} has no effect: {reason}")
        elif not is_sink and key.startswith(_CREATION) and not worker.topic_creation_enable:
            warnings.append(f"{key} has no effect: the worker has topic.creation.enable=false")
    is_tolerant = properties.get("errors.tolerance", "").strip().lower() == "all"
    if not is_sink and properties.get(_DEAD_LETTERS, "").strip() and not is_tolerant:
        warnings.append(f"{_DEAD_LETTERS} has no effect on a source without errors.tolerance=all")
    for converter in ("key.converter", "value.converter", "header.converter"):
        own = [key for key in properties if key.startswith(f"{converter}.")]
        if own and not properties.get(converter, "").strip():
            warnings.append(
                f"{', '.join(own)}: without effect, as in Kafka Connect: {converter} is the worker's, with its keys "
                f"there; name {converter} here as well"
            )
    if not is_strict:
        warnings += [f"{text}; it has no effect" for _, text in _unknown(properties, kind, known_keys)]
    return warnings


def _refused(
    properties: Mapping[str, str], worker: WorkerConfig, kind: type[ConnectorConfig]
) -> Iterator[tuple[str, str]]:
    defaults = {key.name: _text(key.default) for key in keys_of(kind)}
    for key, text in properties.items():
        value = text.strip()
        if key in _DEFAULT_ONLY and key in defaults and value.lower() != defaults[key]:
            expected = f"{key}={defaults[key]}, or no such key" if defaults[key] else "no such key"
            yield key, f"{key}={value} cannot be kept: {_DEFAULT_ONLY[key]}; expected {expected}"
        elif kind is SourceKeys and key.startswith(_CREATION) and worker.topic_creation_enable:
            way = "create the topics first, then leave it out or set topic.creation.enable=false for the worker"
            yield key, f"{key}={value} cannot be kept: topics are not created with settings of their own yet; {way}"


def _unknown(
    properties: Mapping[str, str], kind: type[ConnectorConfig], known_keys: Collection[str]
) -> Iterator[tuple[str, str]]:
    known = {*(key.name for key in keys_of(kind)), *known_keys}
    chains = {chain: properties.get(chain, "").split(",") for chain in ("transforms", "predicates")}
    listed = {f"{chain}.{alias.strip()}." for chain, aliases in chains.items() for alias in aliases}
    declared = {_owner(key) for key in known_keys}
    for key in properties:
        if key in known or key.startswith(_CLIENTS) or _VERSION.match(key) or _PREDICATED.match(key):
            continue
        if kind is SourceKeys and key.startswith(_CREATION):
            continue
        owner = _owner(key)
        if owner.startswith(("transforms.", "predicates.")) and owner not in listed:
            chain = owner.partition(".")[0]
            yield key, f'"{key}" belongs to a {chain.removesuffix("s")} that "{chain}" does not name'
            continue
        if owner and (owner not in declared or key == f"{owner}type"):
            continue
        yield key, f'unknown key "{key}"{did_you_mean(key, known)}'


def _owner(key: str) -> str:
    """The prefix of the converter or transform that a key belongs to; empty: the connector's own."""
    for prefix in _PREFIXES:
        if key.startswith(prefix):
            if prefix in ("transforms.", "predicates."):
                return prefix + key[len(prefix) :].partition(".")[0] + "."
            return prefix
    return ""


def _inherited(config: ConnectorConfig, worker: WorkerConfig) -> ConnectorConfig:
    # Each key of ours that a connector has is the worker's as well, under the same name.
    ours = [name for name in config.__struct_fields__ if getattr(config, name) is None and hasattr(worker, name)]
    values: dict[str, Any] = {name: getattr(worker, name) for name in ours if name not in _NOT_INHERITED}
    return msgspec.structs.replace(config, **values)


def _contradictions(config: ConnectorConfig) -> Iterator[Problem]:
    controls = ", ".join(str(ord(found)) for found in _CONTROL.findall(config.name))
    if not config.name.strip():
        yield Problem("name", "Invalid value  for configuration name: String may not be empty")
    elif controls:
        text = f"String may not contain control sequences but had the following ASCII chars: {controls}"
        yield Problem("name", f"Invalid value {config.name} for configuration name: {text}")
    assert config.restart_backoff_ms is not None, "inherited"
    assert config.restart_backoff_max_ms is not None, "inherited"
    if config.restart_backoff_max_ms < config.restart_backoff_ms:
        key = "restart.backoff.max.ms"
        least = f"expected at least restart.backoff.ms, {config.restart_backoff_ms}"
        yield Problem(key, f"Invalid value {config.restart_backoff_max_ms} for configuration {key}: {least}")
    if config.stage_processes and config.task_processes == 1:
        key = "stage.processes"
        text = "a task of one process (task.processes=1) has no stage processes"
        todo = f"set task.processes=2 for this connector, or {key}=0"
        yield Problem(key, f"Invalid value {config.stage_processes} for configuration {key}: {text}: {todo}")
    if problem := cpus_problem(config.task_cpu_affinity or ""):
        yield problem
    for key, aliases in (("transforms", config.transforms), ("predicates", config.predicates)):
        shown = f"Invalid value [{', '.join(aliases)}] for configuration {key}"
        if len(set(aliases)) < len(aliases):
            yield Problem(key, f"{shown}: Duplicate alias provided.")
        elif "" in aliases:
            yield Problem(key, f"{shown}: expected names, one is empty")


def _subscription_problems(properties: Mapping[str, str]) -> Iterator[Problem]:
    topics, pattern = properties.get("topics", "").strip(), properties.get("topics.regex", "").strip()
    names = [name.strip() for name in topics.split(",")]
    if topics and pattern:
        for key in _SUBSCRIPTION:
            yield Problem(key, "topics and topics.regex are mutually exclusive options, but both are set.")
    elif len(names) > len(set(names)):
        yield Problem("topics", "Configuration 'topics' values must not be duplicated.")
    elif not topics.strip(" ,") and not pattern:
        for key in _SUBSCRIPTION:
            yield Problem(key, "Must configure one of topics or topics.regex")
    if pattern:
        try:
            translated(pattern)
        except ValueError as error:
            yield Problem("topics.regex", f"Invalid value {pattern} for configuration topics.regex: {error}")


def _dead_letter_problem(config: SinkKeys) -> Problem | None:
    """A sink that read its own dead letters would go round in a circle."""
    topic = config.dead_letter_topic.strip()
    if topic and topic in config.topics:
        listed = f"may not be included in the list of topics ('topics=[{', '.join(config.topics)}]')"
        return Problem("topics", f"The DLQ topic '{topic}' {listed} consumed by the connector")
    if topic and config.topics_regex and config.subscription.includes(topic):
        matched = f"may not be matched by the regex for the topics ('topics.regex={config.topics_regex}')"
        return Problem("topics.regex", f"The DLQ topic '{topic}' {matched} consumed by the connector")
    return None


def _text(default: Any) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    return ",".join(default) if isinstance(default, list) else "" if default is None else str(default)
