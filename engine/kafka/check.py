"""Whether Kafka takes what a plan says, asked before anything is started.

    settings ──► librdkafka accepts them ──► a broker answers ──► topics are there, or will be made

A topic that is missing for good ends a bulk run before it begins. A run that goes on is only warned of it: its lines
wait, or tell it themselves, and go on once somebody has made it. A question that nobody answers says nothing of topics.

Runs in the probe: its clients and their threads end with that process.

Used by: engine.plan.
Not here: what the settings mean (engine.config.clients), what the pumps do with a topic that comes later.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource  # type: ignore[attr-defined]  # exported unsaid
from msgspec import Struct

from engine.api.errors import ConnectError, Problem
from engine.config.clients_draft import RECONNECT, RECONNECT_MS
from engine.config.line import LineSpec, Subscription
from engine.kafka.access import client_settings
from engine.kafka.answers import answer_of

__all__ = ["KafkaCheck", "check_kafka", "make_client"]

logger = logging.getLogger("millrace.kafka")

#: librdkafka says the same thing again for every attempt; here what it says becomes one answer.
_SILENT = logging.Logger("millrace.kafka.check", logging.CRITICAL + 1)  # noqa: LOG001  nobody shall turn it on
#: Between two attempts at a broker, unless the user has said it: of one client, which is there while the start waits.
#: Half of it passes before any answer (engine.config.clients_draft).
QUICK_MS = 50
#: Between two looks at what librdkafka has complained about.
LOOK_SECONDS = 0.5
#: For questions whose answer is good to have and no more.
ASIDE_SECONDS = 3.0
#: A future hears of the end of that time a little later.
ANSWER_SECONDS = ASIDE_SECONDS + 2.0

_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError._SSL,  # noqa: SLF001  its public name
}
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}

Say = Callable[[str, float], None]


class KafkaCheck(Struct, frozen=True):
    """What Kafka said to a plan."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    brokers: int = 1  # of the largest cluster that was asked
    is_unreachable: bool = False  # the problems are the cluster's, not the configuration's
    cluster_id: str = ""  # of the last cluster that answered: the worker's own, if it was asked


NONE = Subscription()


class _Connector(Struct, frozen=True):
    """What of a connector's lines matters here; they differ in client ids only."""

    name: str
    is_sink: bool
    topics: tuple[tuple[str, str], ...]  # a sink's, and those that a source is known to write to; each after its key
    settings: Mapping[str, Any]
    subscription: Subscription
    tasks: int
    is_bulk: bool = False  # of a run that ends


def check_kafka(
    lines: Sequence[LineSpec],
    *,
    own: Mapping[str, Any] | None = None,
    timeout_seconds: float,
    say: Say = lambda *_: None,
) -> KafkaCheck:
    """Try each connector's settings, look for its brokers, and for its topics.

    own: settings of the worker's own client, whose cluster is looked for as well.
    timeout_seconds: for the brokers of all connectors that share theirs. say: told each step and how many
    seconds it may take. Nothing is created. Problems name connector and key, no file.
    """
    connectors = list(_connectors(lines).values())
    if own:
        connectors.append(_Connector("", is_sink=False, topics=(), settings=own, subscription=NONE, tasks=0))
    problems = [problem for connector in connectors for problem in _settings_problems(connector)]
    if problems:
        return KafkaCheck(tuple(problems))
    warnings: list[str] = []
    brokers = 1
    cluster_id = ""
    has_source = any(line.type == "source" for line in lines)
    for group in _sharing(connectors):
        names = ", ".join(connector.name or "the worker" for connector in group)
        say(f"looking for the brokers of {names}", timeout_seconds + 2 * LOOK_SECONDS + ASIDE_SECONDS)
        cluster, reason = _cluster(group[0], timeout_seconds)
        if cluster is None:
            problems += [Problem("bootstrap.servers", reason, connector.name) for connector in group]
            continue
        brokers = max(brokers, len(cluster.brokers))
        cluster_id = getattr(cluster, "cluster_id", "") or cluster_id
        for connector in group:
            say(f"looking for the topics of {connector.name}", 3 * ANSWER_SECONDS)
            found, told = _look_for_topics(connector, cluster, has_source=has_source)
            problems += found
            warnings += told
    is_unreachable = bool(problems)
    return KafkaCheck(tuple(problems), tuple(warnings), brokers, is_unreachable=is_unreachable, cluster_id=cluster_id)


def make_client(settings: Mapping[str, Any], *, is_sink: bool, **callbacks: Any) -> Consumer | Producer:
    """A client of these settings. Raises ConnectError with librdkafka's complaint about them."""
    make = Consumer if is_sink else Producer
    try:
        return make({**settings, **callbacks})
    except KafkaException as error:
        raise ConnectError(error.args[0].str()) from error
    except (TypeError, ValueError) as error:
        raise ConnectError(str(error)) from error


def _connectors(lines: Sequence[LineSpec]) -> dict[str, _Connector]:
    found: dict[str, _Connector] = {}
    tasks = Counter(line.connector for line in lines)
    for line in lines:
        # The mock cluster makes every topic that it is asked for.
        named = (*(("topics", topic) for topic in line.subscription.topics), *line.targets)
        topics = () if line.is_embedded else named
        is_sink, count = line.type == "sink", tasks[line.connector]
        found.setdefault(
            line.connector,
            _Connector(line.connector, is_sink, topics, line.kafka, line.subscription, count, line.is_bulk),
        )
        dead = line.errors.dead_letters
        if dead is not None:  # which are written with settings of their own
            writer = _Connector(
                line.connector, is_sink=False, topics=(), settings=dead.kafka, subscription=NONE, tasks=0
            )
            found.setdefault(f"{line.connector}, dead letters", writer)
    return found


def _settings_problems(connector: _Connector) -> list[Problem]:
    try:
        make_client(connector.settings, is_sink=connector.is_sink, logger=_SILENT)
    except ConnectError as error:
        prefix = "consumer.override." if connector.is_sink else "producer.override."
        key = next((name for name in connector.settings if f'"{name}"' in str(error)), "")
        text = f"librdkafka does not take the client's settings ({prefix}*): {error}"
        return [Problem(prefix + key if key else prefix, text, connector.name)]
    return []


def _sharing(connectors: Iterable[_Connector]) -> list[list[_Connector]]:
    """Connectors with the same way to the same cluster, together: one look tells for all."""
    groups: dict[str, list[_Connector]] = {}
    for connector in connectors:
        way = client_settings(connector.settings)
        way.pop("client.id", None)
        groups.setdefault(repr(sorted(way.items())), []).append(connector)
    return list(groups.values())


def _cluster(connector: _Connector, timeout_seconds: float) -> tuple[ClusterMetadata | None, str]:
    """What the brokers say of themselves and their topics; or why no broker can be used."""
    complaints: list[KafkaError] = []
    # A producer that asks for all topics creates none, and unlike a consumer it looks for no group.
    settings = client_settings(connector.settings)
    if settings.get(RECONNECT) == RECONNECT_MS:
        settings[RECONNECT] = QUICK_MS
    client = make_client(settings, is_sink=False, logger=_SILENT, error_cb=complaints.append)
    servers = connector.settings.get("bootstrap.servers", "")
    deadline = time.monotonic() + timeout_seconds
    while True:
        left = deadline - time.monotonic()
        try:
            return client.list_topics(timeout=max(0.05, min(left, LOOK_SECONDS))), ""
        except KafkaException as error:
            failure = error.args[0]
        client.poll(0)
        refusal = next((complaint for complaint in [*complaints, failure] if complaint.code() in _REFUSED), None)
        if refusal is not None:
            return None, (
                f"bootstrap.servers={servers}: the broker refuses this client: {refusal.str()} ({refusal.name()}); "
                "check security.protocol, sasl.* and ssl.* of the client's settings"
            )
        if left <= LOOK_SECONDS:
            telling = [complaint for complaint in complaints if complaint.code() != KafkaError._ALL_BROKERS_DOWN]
            return None, (
                f"bootstrap.servers={servers}: no broker answers within {timeout_seconds:g} s (startup.timeout.ms): "
                f"{(telling[-1] if telling else failure).str()}"
            )


def _look_for_topics(
    connector: _Connector, cluster: ClusterMetadata, *, has_source: bool
) -> tuple[list[Problem], list[str]]:
    """What is wrong with a connector's topics, and what a person should know of them."""
    unseen = {topic: key for key, topic in connector.topics if topic not in cluster.topics}
    if not unseen:
        return [], _idle_tasks(connector, cluster)
    settings: dict[str, Any] = {**client_settings(connector.settings), "logger": _SILENT}
    client = AdminClient(settings)
    problems: list[Problem] = []
    warnings: list[str] = []
    missing: dict[str, list[str]] = {}  # by the key that names them
    # A list of all topics leaves out those that this user may not see.
    for topic, future in client.describe_topics(TopicCollection([*unseen]), request_timeout=ASIDE_SECONDS).items():
        error, key = _error_of(future), unseen[topic]
        if error is None:
            continue  # it has been made meanwhile
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            missing.setdefault(key, []).append(topic)
        elif error.code() not in _FORBIDDEN:
            why = f"{error.str()} ({error.name()}), asked for {ASIDE_SECONDS:g} s; its tasks will tell"
            warnings.append(f"connector {connector.name}: whether topic {topic} exists is not known: {why}")
        elif connector.is_sink:  # a source waits until it may, as it does when a right is taken from it later
            text = f"topics={topic}: {error.str()} ({error.name()}); give this user Describe and Read on the topic"
            problems.append(Problem(key, text, connector.name))
    if missing and _creates_topics(client, next(iter(cluster.brokers), -1)) is False:
        told = _told_missing(connector, missing)
        if connector.is_bulk:
            problems += told
        else:
            warnings += [f"connector {problem.connector}: {problem.message}" for problem in told]
    elif missing and connector.is_sink and not has_source:
        names = ", ".join(topic for topics in missing.values() for topic in topics)
        warnings.append(f"connector {connector.name}: topic {names} does not exist yet")
    return problems, warnings


def _told_missing(connector: _Connector, missing: Mapping[str, Sequence[str]]) -> list[Problem]:
    """missing: topics, by the key that names them."""
    why = "no such topic, and the broker creates none (auto.create.topics.enable=false): create it"
    return [Problem(key, f"{key}={', '.join(names)}: {why}", connector.name) for key, names in missing.items()]


def _idle_tasks(connector: _Connector, cluster: ClusterMetadata) -> list[str]:
    """That some of a sink's tasks can have no partition."""
    counts = {name: len(topic.partitions) for name, topic in cluster.topics.items()}
    useful = connector.subscription.tasks_useful(counts, connector.settings)
    if not connector.is_sink or not 0 < useful < connector.tasks:
        return []
    idle = f"{connector.tasks} tasks, of which {useful} can have a partition: the others are idle"
    return [f"connector {connector.name}: {idle}; tasks.max.by.partitions=true makes no more than have a use"]


def _creates_topics(client: AdminClient, broker: int) -> bool | None:
    """Whether the brokers create a topic that is asked for; None: they do not tell."""
    resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
    try:
        answer = answer_of(client.describe_configs([resource], request_timeout=ASIDE_SECONDS)[resource], ANSWER_SECONDS)
        return bool(answer["auto.create.topics.enable"].value == "true")
    except (KafkaException, KeyError, TimeoutError) as error:
        logger.info("whether the brokers create topics cannot be read: %s", error)
        return None


def _error_of(future: Future[Any]) -> KafkaError | None:
    """Why a topic could not be described; None: it was."""
    try:
        answer_of(future, ANSWER_SECONDS)
    except KafkaException as error:
        failure: KafkaError = error.args[0]
        return failure
    except TimeoutError:
        return KafkaError(KafkaError._TIMED_OUT)
    return None
