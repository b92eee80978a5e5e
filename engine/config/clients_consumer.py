"""What a sink's consumer is told: Kafka Connect's defaults, a static member id, and a bound on what is fetched ahead.

Used by: engine.config.clients, clients_idle.py.
Not here: names and values alone (clients_table.py, clients_java.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

from engine.config.clients_draft import ClientSettings, Draft, Setting, opened, reconnect_defaults, take_passive_classes
from engine.config.clients_java import ASSIGNORS
from engine.config.clients_layers import Given
from engine.config.clients_security import take_security
from engine.config.problems import raise_all
from engine.config.worker import WorkerConfig

__all__ = ["consumer_settings", "member_id", "why_no_start"]

#: What a consumer fetches ahead, at most: its queue, and one answer of a broker.
FETCH_QUEUE_KBYTES = 16 * 1024
FETCH_BYTES = 16 * 1024 * 1024

#: Java's defaults.
SESSION_MS, HEARTBEAT_MS, POLL_INTERVAL_MS = 45_000, 3_000, 300_000

#: In a run that ends. A member hears with its next heartbeat that another one joins, and until then that one waits:
#: where brokers do not wait for members at the beginning (group.initial.rebalance.delay.ms=0), the first task has all
#: to itself, and who waits for the end of the run waits for that heartbeat. librdkafka looks twice a second itself.
HEARTBEAT_BULK_MS = 500

_START_AT: Mapping[str, str] = {
    **dict.fromkeys(("earliest", "smallest", "beginning"), "earliest"),
    **dict.fromkeys(("latest", "largest", "end"), "latest"),
    **dict.fromkeys(("none", "error"), "none"),
}
_MEMBER_ID_LENGTH_MAX = 249
_MEMBER_ID_FOREIGN = re.compile(r"[^A-Za-z0-9._-]")

_STRATEGY = "partition.assignment.strategy"
_SESSION, _HEARTBEAT, _POLL_INTERVAL = "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms"

_FIXED: Mapping[str, Setting] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # A first start is resolved by the pump (start_at); later, a lost range must be an error.
    "auto.offset.reset": "error",
}


def consumer_settings(  # noqa: PLR0913  two layers and where they come from
    worker: Mapping[str, str],
    connector: Mapping[str, str],
    *,
    worker_config: WorkerConfig,
    name: str,
    task: int,
    worker_id: str,
    file: str = "",
    worker_file: str = "",
    secrets: Collection[str] = (),
    is_bulk: bool = False,
) -> ClientSettings:
    """The consumer of one task of a sink.

    worker_id: tells this worker from others on the same brokers; a part of the static member id, so that the
    replacement of a killed task gets its partitions back at once. secrets: values that came from a provider.
    is_bulk: of a run that ends. Raises ConfigError with every problem.
    """
    draft, given = opened("consumer", worker, connector, worker_config, name, file, worker_file, secrets)
    take_security(given, draft)
    take_passive_classes(given, draft, ("key.deserializer", "value.deserializer"))
    _take_assignors(given, draft)
    _take_group(given, draft, worker_id, name, task)
    start_at = _taken_start(given, draft)
    records = _taken_poll_records(given, draft)
    _take_always(given, draft, "enable.auto.commit", "false", "offsets are committed once the sink has flushed")
    _take_always(given, draft, "exclude.internal.topics", "true", "topics of Kafka's own are not read by a pattern")
    _take_always(given, draft, "group.protocol", "classic", "the other group protocol is not built yet")
    for setting in given.values():
        draft.take(setting)
    _settle_times(given, draft, HEARTBEAT_BULK_MS if is_bulk else HEARTBEAT_MS)
    raise_all(draft.problems)
    return ClientSettings(
        settings={
            **_defaults(worker_config, name, task),
            **reconnect_defaults(draft.settings),
            **draft.settings,
            **_FIXED,
        },
        start_at=start_at,
        fetch_max_records=records,
        given=tuple(draft.settings),
        warnings=tuple(draft.warnings),
        secrets=tuple(sorted(draft.secrets)),
    )


def member_id(worker_id: str, connector: str, task: int) -> str:
    """The static id of a sink's task in its group: the same after every restart, different from all others."""
    wanted = f"{worker_id}-{connector}-{task}"
    # Kafka takes letters, digits, dot, underscore and hyphen; the digest keeps apart what becomes equal.
    name = _MEMBER_ID_FOREIGN.sub("_", wanted)
    if name == wanted and len(name) <= _MEMBER_ID_LENGTH_MAX:
        return name
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    return f"{name[: _MEMBER_ID_LENGTH_MAX - len(digest) - 1]}-{digest}"


def _defaults(worker_config: WorkerConfig, name: str, task: int) -> dict[str, Setting]:
    return {
        "bootstrap.servers": ",".join(worker_config.bootstrap_servers),
        "client.id": f"connector-consumer-{name}-{task}",
        "group.id": f"connect-{name}",
        # Java's default too, as its members agree on it: both can be in one group, and partitions of equal
        # number of several topics meet in one task. Static members restart without any rebalance.
        _STRATEGY: "range",
        "isolation.level": "read_uncommitted",
        "allow.auto.create.topics": True,
        "check.crcs": True,
        "fetch.queue.backoff.ms": 5,
        "fetch.max.bytes": FETCH_BYTES,
        "max.partition.fetch.bytes": 1_048_576,
        "queued.max.messages.kbytes": FETCH_QUEUE_KBYTES,
    }


def _take_assignors(given: dict[str, Given], draft: Draft) -> None:
    strategy = given.pop(_STRATEGY, None)
    if strategy is None:
        return
    names = [name.strip() for name in strategy.value.split(",") if name.strip()]
    unknown = [name for name in names if name not in ASSIGNORS]
    if unknown or not names:
        known = ", ".join(sorted(set(ASSIGNORS.values())))
        draft.blame(strategy, f"librdkafka has no equal of {unknown[0] if unknown else 'none'}; expected {known}")
        return
    chosen = list(dict.fromkeys(ASSIGNORS[name] for name in names))
    eager = [name for name in chosen if name != "cooperative-sticky"]
    if eager and len(eager) < len(chosen):
        # Java's members agree on one that all of them have; librdkafka wants to be told which kind.
        draft.warnings.append(
            f"{strategy.key}: librdkafka takes no mixture of eager and cooperative; it is {','.join(eager)}"
        )
        chosen = eager
    draft.settle(_STRATEGY, ",".join(chosen))


def _take_group(given: dict[str, Given], draft: Draft, worker_id: str, name: str, task: int) -> None:
    group = given.get("group.id")
    if group is not None and not group.value:
        draft.blame(given.pop("group.id"), "expected the name of a group")
    instance = given.pop("group.instance.id", None)
    own = worker_id
    if instance is not None and instance.value:
        own = instance.value
        draft.warnings.append(f"{instance.key}: the connector's name and the task's number are added to it")
    draft.settle("group.instance.id", member_id(own, name, task))


def _taken_start(given: dict[str, Given], draft: Draft) -> str:
    reset = given.pop("auto.offset.reset", None)
    if reset is None:
        return "earliest"
    reason = why_no_start(reset.value)
    if reason:
        draft.blame(reset, reason)
    return _START_AT.get(reset.value.lower(), "earliest")


def why_no_start(text: str) -> str:
    """What was expected of a value of `auto.offset.reset`; empty: it is one."""
    return "" if text.lower() in _START_AT else "expected one of earliest, latest, none"


def _taken_poll_records(given: dict[str, Given], draft: Draft) -> int | None:
    records = given.pop("max.poll.records", None)
    if records is None:
        return None
    draft.take_native(records, "max.poll.records")
    # librdkafka has no such setting for a member of a group: the pump takes so many at once.
    found = draft.settings.pop("max.poll.records", None)
    return found if isinstance(found, int) else None


def _take_always(given: dict[str, Given], draft: Draft, target: str, only: str, why: str) -> None:
    """A setting that has one good value here."""
    setting = given.pop(target, None)
    if setting is not None and setting.value.lower() != only:
        draft.blame(setting, f"{why}; expected {only}, or leave it out")


def _settle_times(given: Mapping[str, Given], draft: Draft, heartbeat_ms: int) -> None:
    """A group member's three times: heartbeat < session <= poll interval. What is not given makes way."""
    poll_interval = _time(draft, _POLL_INTERVAL, POLL_INTERVAL_MS)
    session = _time(draft, _SESSION, min(SESSION_MS, poll_interval))
    heartbeat = _time(draft, _HEARTBEAT, min(heartbeat_ms, session // 3))
    for name, holds, bound in (
        (_SESSION, session <= poll_interval, f"at most {_POLL_INTERVAL}, {poll_interval}"),
        (_HEARTBEAT, heartbeat < session, f"less than {_SESSION}, {session}"),
    ):
        setting = given.get(name)
        if not holds and setting is not None:
            draft.blame(setting, f"expected {bound}")


def _time(draft: Draft, name: str, default: int) -> int:
    found = draft.settings.setdefault(name, max(1, default))
    assert isinstance(found, int), "the table says that it is a whole number"
    return found
