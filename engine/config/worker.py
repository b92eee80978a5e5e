"""Reading the worker's keys: all that is wrong with them at once, and what a person should know about them.

Used by: engine.plan (reads), engine.connector_lines, clients_consumer.py, clients_producer.py, clients_draft.py.
Not here: the keys (worker_keys.py), settings of the Kafka clients among them (clients.py), variables (providers.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from engine.api.config import keys_of
from engine.api.errors import ConfigError, Problem
from engine.config.clients_table import is_client_key
from engine.config.cpus import cpus_problem
from engine.config.masking import masked
from engine.config.problems import did_you_mean, place, raise_all
from engine.config.servers import bad_servers
from engine.config.tls import HTTPS_PREFIXES, TLS_IGNORED, TlsKeys
from engine.config.worker_keys import OFFSETS_FILE, WorkerConfig

__all__ = [
    "DISTRIBUTED",
    "WITHOUT_EFFECT",
    "WORKER_PREFIXES",
    "WorkerConfig",
    "read_worker",
    "ring_bytes",
    "worker_warnings",
]

_RING_ALIGNMENT_BYTES = 8

#: Known keys that do nothing yet, with the reason: said once, when a file sets one of them.
WITHOUT_EFFECT: Mapping[str, str] = {
    "plugin.discovery": "plugins are found by their packages' entry points",
    "metrics.sample.window.ms": "metrics are counters since the start",
    "metrics.num.samples": "metrics are counters since the start",
    "metrics.recording.level": "all metrics are always counted",
    "metric.reporters": "metrics are served to Prometheus (metrics.port, metrics.file)",
    "client.dns.lookup": "give it to the clients, as producer.client.dns.lookup and consumer.client.dns.lookup",
    "internal.key.converter": "Kafka Connect ignores it too",
    "internal.value.converter": "Kafka Connect ignores it too",
}

#: Keys of Kafka Connect's distributed worker alone.
DISTRIBUTED = frozenset(
    {
        "group.id",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "rebalance.timeout.ms",
        "exactly.once.source.support",
        "worker.sync.timeout.ms",
        "worker.unsync.backoff.ms",
        "connect.protocol",
        "scheduled.rebalance.max.delay.ms",
        "inter.worker.key.generation.algorithm",
        "inter.worker.key.size",
        "inter.worker.key.ttl.ms",
        "inter.worker.signature.algorithm",
        "inter.worker.verification.algorithms",
    }
)
_DISTRIBUTED_PREFIXES = ("config.storage.", "offset.storage.", "status.storage.")

#: What begins so belongs to someone else: a converter, a provider, a client, a listener.
WORKER_PREFIXES = (
    "key.converter.",
    "value.converter.",
    "header.converter.",
    "config.providers.",
    "producer.",
    "consumer.",
    "admin.",
    *HTTPS_PREFIXES,
    "metrics.context.",
)
_PREFIXES_WITHOUT_EFFECT: Mapping[str, str] = {
    "metrics.context.": "metrics carry connector and task only",
}


def read_worker(
    properties: Mapping[str, str],
    *,
    file: str,
    is_strict: bool,
    offsets_file: str | None = None,
    secrets: Collection[str] = (),
) -> WorkerConfig:
    """The worker's own keys out of its properties, variables resolved.

    is_strict: an unknown key is an error; else `worker_warnings` names it, as Kafka Connect does.
    offsets_file: the default of offset.storage.file.filename; None: it is required, as in Kafka Connect.
    secrets: values that came from a provider. Raises ConfigError with every problem.
    """
    given = dict(properties)
    if offsets_file is not None:
        given.setdefault(OFFSETS_FILE, offsets_file)
    problems: list[Problem] = []
    if is_strict:
        problems += [Problem(key, _unknown(key)) for key in _unknown_keys(properties)]
    config: WorkerConfig | None = None
    try:
        config = WorkerConfig.parse(given)
    except ConfigError as error:
        problems += error.problems
    problems += _contradictions(config, given)
    raise_all(place(masked(problems, secrets), file=file))
    assert config is not None, "without a problem there is a configuration"
    return config


def worker_warnings(properties: Mapping[str, str], *, is_strict: bool) -> list[str]:
    """What a person should know about keys that are read but do nothing. is_strict: unknown keys are errors already."""
    warnings = []
    distributed = sorted(key for key in properties if _is_distributed(key))
    if distributed:
        warnings.append(f"keys of a distributed worker, without effect here: {', '.join(distributed)}")
    if properties.get("exactly.once.source.support", "disabled").strip().lower() != "disabled":
        warnings.append("exactly.once.source.support: sources deliver at least once; exactly-once is not built yet")
    for key in sorted(properties):
        reason = _no_effect(key, properties)
        if reason is not None and not _is_default(key, properties[key]):
            warnings.append(f"{key} has no effect: {reason}")
    inherited = sorted(key for key in properties if _is_unprefixed_client_key(key))
    if inherited:
        warnings.append(
            f"client settings without a prefix do not reach producers and consumers, as in Kafka Connect: "
            f"{', '.join(inherited)}; write producer.{inherited[0]} and consumer.{inherited[0]} to give it to them"
        )
    unknown = [] if is_strict else _unknown_keys(properties)
    warnings += [f"{_unknown(key)}; it has no effect" for key in unknown]
    return warnings


def ring_bytes(wanted: int) -> int:
    """The ring's size for this `ring.bytes`: the next multiple of 8."""
    return -(-wanted // _RING_ALIGNMENT_BYTES) * _RING_ALIGNMENT_BYTES


def _contradictions(config: WorkerConfig | None, properties: Mapping[str, str]) -> list[Problem]:
    problems = [
        Problem("bootstrap.servers", f"Invalid value {server} for configuration bootstrap.servers: {reason}")
        for server, reason in bad_servers(properties.get("bootstrap.servers", ""))
    ]
    if config is None:
        return problems
    if config.restart_backoff_max_ms < config.restart_backoff_ms:
        least = f"expected at least restart.backoff.ms, {config.restart_backoff_ms}"
        problems.append(_invalid("restart.backoff.max.ms", config.restart_backoff_max_ms, least))
    if problem := cpus_problem(config.task_cpu_affinity):
        problems.append(problem)
    names = config.config_providers
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        problems.append(_invalid("config.providers", ",".join(names), f"{doubled[0]} is named twice; expected once"))
    return problems


def _invalid(key: str, value: object, reason: str) -> Problem:
    return Problem(key, f"Invalid value {value} for configuration {key}: {reason}")


def _no_effect(key: str, properties: Mapping[str, str]) -> str | None:
    """Why a known key does nothing; None: it does something."""
    prefix, name = _tls_key(key)
    if prefix:
        listeners = properties.get("admin.listeners" if prefix.startswith("admin.") else "listeners", "")
        return TLS_IGNORED.get(name) or (None if "https:" in listeners.lower() else "there is no https listener")
    if key in WITHOUT_EFFECT or key in _known():
        return WITHOUT_EFFECT.get(key)
    return next((why for start, why in _PREFIXES_WITHOUT_EFFECT.items() if key.startswith(start)), None)


def _tls_key(key: str) -> tuple[str, str]:
    """Prefix and name of a key of an https listener; else both are empty."""
    prefix = next((prefix for prefix in HTTPS_PREFIXES if key.startswith(prefix)), "")
    return prefix, key.removeprefix(prefix) if prefix else ""


def _known() -> set[str]:
    return {key.name for key in keys_of(WorkerConfig)}


def _unknown(key: str) -> str:
    prefix, _ = _tls_key(key)
    names = [prefix + known.name for known in keys_of(TlsKeys)] if prefix else sorted(_known())
    return f'unknown key "{key}"{did_you_mean(key, names)}'


def _unknown_keys(properties: Mapping[str, str]) -> list[str]:
    return [key for key in properties if not _is_known(key)]


def _is_known(key: str) -> bool:
    prefix, name = _tls_key(key)
    if prefix:
        return name in TLS_IGNORED or name in {known.name for known in keys_of(TlsKeys)}
    is_ours = key in _known() or key in WITHOUT_EFFECT or key.startswith(WORKER_PREFIXES)
    return is_ours or _is_distributed(key) or _is_unprefixed_client_key(key)


def _is_distributed(key: str) -> bool:
    return key in DISTRIBUTED or (key.startswith(_DISTRIBUTED_PREFIXES) and key != OFFSETS_FILE)


def _is_unprefixed_client_key(key: str) -> bool:
    own: Any = {known.name for known in keys_of(WorkerConfig)}
    return key not in own and key not in WITHOUT_EFFECT and key not in DISTRIBUTED and is_client_key(key)


def _is_default(key: str, text: str) -> bool:
    found = next((known for known in keys_of(WorkerConfig) if known.name == key), None)
    if found is None:
        return False
    try:
        return bool(getattr(WorkerConfig.parse({**_REQUIRED, key: text}), found.attribute) == found.default)
    except ConfigError:
        return False


_REQUIRED = {"key.converter": "x", "value.converter": "x", OFFSETS_FILE: "x"}
