"""One connector, from its file to the lines of its tasks.

    class ──► converters, transforms ──► its keys ──► the engine's keys ──► client settings ──► task_configs
      found, configured on trial          parsed       read                 settled             a LineSpec each

Everything that can be asked in spite of an earlier problem is asked, so that one run tells all of them; a connector
is started only when nothing is wrong so far.

Used by: engine.plan, within a probe.
Not here: the worker, variables (plan.py), how plugins are asked (engine.plugins.asking).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from engine.api.connector import Connector, SinkConnector, SourceConnector
from engine.api.errors import ConfigError, ConnectError, Problem
from engine.api.task import SinkTask, SourceTask
from engine.config.clients import ClientSettings, admin_settings, consumer_settings, producer_settings
from engine.config.clients_idle import idle_problems
from engine.config.clients_layers import idle_overrides
from engine.config.connector import ConnectorConfig, SinkKeys, connector_warnings, read_connector
from engine.config.cpus import read_cpus
from engine.config.files import ConnectorFile
from engine.config.line import DeadLetterSpec, Errors, Limits, LineSpec, PluginSpec, Restarts, Stalls, StepSpec, Timing
from engine.config.masking import masked
from engine.config.worker import WorkerConfig, ring_bytes
from engine.herder.watching import PortSpec, WatchSpec
from engine.inquiry import Inquiry
from engine.memory import ring_bytes_min
from engine.plugins.asking import Interview
from engine.plugins.loading import path_of

__all__ = ["ConnectorLines", "Herded", "PlanOptions", "Shared", "ring_bytes_for"]

#: A ring holds at least this many of its largest frames (engine.shm.ring).
FRAMES_MIN = 4
#: A sink may flush for this part of max.poll.interval.ms before its partitions are given up.
REVOCATION_PART = 0.5

_CONVERTERS = ("key.converter", "value.converter", "header.converter")
_RECORD_BYTES = 1_048_576
_LETTERS_ID = "connector-dlq-producer-"
#: librdkafka looks twice a second whether a heartbeat is due.
_HEARTBEAT_LATE_MS = 500
_LEASE_MS_MIN = 1_000
#: A record that cannot be taken on is tried once more: when it fails again, it would do so for ever.
RECORD_RESTARTS = 1


class PlanOptions(Struct, frozen=True, kw_only=True):
    """What the command says beside the files."""

    is_bulk: bool = True
    is_embedded: bool = False  # Kafka is the mock cluster of the demo
    worker_id: str = ""  # tells apart workers on the same brokers; empty: the one that the store keeps
    is_run: bool = False  # the plan will be run: the store may be made
    serves_rest: bool = False  # connectors may come and go, and plugins are listed
    overrides: Mapping[str, str] = {}  # keys of the worker that the command line gives


class Shared(Struct, frozen=True):
    """What all connectors of a worker have in common."""

    worker: WorkerConfig
    properties: Mapping[str, str]  # the worker's, variables resolved
    worker_file: str
    store: str
    options: PlanOptions
    secrets: set[str]  # grows
    inherited: Callable[[str], PluginSpec | None]  # the worker's converter of this key


class Herded(Struct, frozen=True):
    """What a herder says when it asks for a plan."""

    task_configs: tuple[Mapping[str, str], ...] | None  # as the connector's own process gave them, or were kept
    call_seconds: float  # time budget of each call of that process


class ConnectorLines:
    """Makes one connector's lines; what is wrong is in the interview's problems."""

    def __init__(
        self,
        connector: ConnectorFile,
        shared: Shared,
        asked: Interview,
        environments: tuple[str, ...] = (),
        herded: Herded | None = None,
    ) -> None:
        """environments: folders that this process has entered for it (engine.plugins.environment).

        herded: a herder asks, which can let a connector have a process of its own.
        """
        self._connector = connector
        self._properties = connector.properties
        self._shared = shared
        self._asked = asked
        self._environments = environments
        self._herded = herded
        self._is_strict = connector.file.endswith(".toml")
        # Who validates files of Kafka Connect's may mean them for `standalone`: for that alone it is an error.
        asked.is_bulk = shared.options.is_bulk and (shared.options.is_run or self._is_strict)
        self.found: type[Connector] | None = None  # the connector's class
        self.why_no_class = ""  # empty: there is one, if not in the version that is asked for
        self.watch: WatchSpec | None = None  # what is to say the tasks, if the connector watches
        self.restarts: Restarts | None = None  # its policy, where its keys can be read
        self.is_good = False  # its configuration is: what went wrong from then on is the connector's own failure

    def lines(self) -> list[LineSpec]:
        """A line for each task; none when anything is wrong, or the connector is not to run."""
        asked, properties = self._asked, self._properties
        self.found = found = self._connector_class()
        converters = [self._converter(key) for key in _CONVERTERS]
        steps = asked.chain(properties)
        if found is None:
            return []
        task = asked.task_class(found)
        # Of files that are run; who validates hears it, and a herder tries again.
        asked.keys(found, properties, may_wait=self._shared.options.is_run and self._herded is None)
        keys = self._read_keys(found)
        if keys is not None:
            self.restarts = restarts_of(keys, is_bulk=self._shared.options.is_bulk)
        kind = _client_of(found)
        client = self._client(0, kind)
        clients = {kind}
        if keys is not None and self._errors(keys).dead_letters is not None:
            self._dead_letter_clients(0)  # what is wrong with their settings is told now
            clients = {kind, "producer", "admin"}
        asked.warnings += idle_overrides(properties, clients)
        name, file = self._connector.name, self._connector.file
        asked.problems += idle_problems(properties, clients, name=name, file=file, secrets=self._shared.secrets)
        plugins = [spec for spec in converters if spec is not None]
        chain = [step for step in steps if step is not None]
        if asked.problems or task is None or keys is None or client is None:
            return []
        if len(plugins) < len(converters) or len(chain) < len(steps):
            return []  # the worker's converter is at fault, which is told as the worker's
        self.is_good = True
        if self._shared.options.is_bulk and not asked.is_bulk:
            for reason in asked.note_of_the_end(found, properties):
                told = self.masked(reason)
                asked.warnings.append(f"a run that ends would refuse it, `--forever` and `standalone` do not: {told}")
        if self._connector.initial_state != "RUNNING":
            asked.warnings.append(f"initial_state is {self._connector.initial_state}: it is checked and not started")
            return []
        port = self._port(client, is_sink=isinstance(keys, SinkKeys))
        inquiry = Inquiry(self._connector.name, port, asked.tell)
        tasks_max = self._tasks_max(keys, client, inquiry)
        if found.watches:
            self._let_watch(found, keys, tasks_max, port)
        configs = self._configs(found, keys, tasks_max, inquiry)
        if configs is None or asked.problems:
            return []
        if not configs:
            asked.warnings.append("it has no tasks: there is nothing to do")
        first = replace(self._line(keys, task, client, plugins, chain), targets=self._targets(found, chain))
        return [self._of_task(first, number, config) for number, config in enumerate(configs)]

    @property
    def properties(self) -> Mapping[str, str]:
        """The connector's, variables resolved."""
        return self._properties

    @property
    def store(self) -> str:
        """Path of the worker's."""
        return self._shared.store

    def masked(self, text: str) -> str:
        """The text without secrets."""
        return masked([Problem("", text)], self._shared.secrets)[0].message

    def find(self) -> type[Connector]:
        """Its class. Raises ConfigError."""
        found = self._connector_class()
        if found is None:
            raise ConfigError(masked(self._asked.problems, self._shared.secrets))
        return found

    def client(self, found: type[Connector]) -> ClientSettings:
        """The settings of its first task's client. Raises ConfigError."""
        client = self._client(0, _client_of(found))
        if client is None:
            raise ConfigError(masked(self._asked.problems, self._shared.secrets))
        return client

    def _port(self, client: ClientSettings, *, is_sink: bool) -> PortSpec:
        """What answers to the connector's questions take."""
        prefixes = ("consumer." if is_sink else "producer.", "admin.")
        properties = self._shared.properties.items()
        return PortSpec(
            store=self._shared.store,
            worker_properties={
                key: value for key, value in properties if key == "bootstrap.servers" or key.startswith(prefixes)
            },
            kafka=client.settings,
            seconds=self._shared.worker.timing.broker_timeout,
        )

    def _tasks_max(self, keys: ConnectorConfig, client: ClientSettings, inquiry: Inquiry) -> int:
        """How many tasks it may have: of a sink, if it is so wished, no more than can have a partition."""
        if not isinstance(keys, SinkKeys) or not keys.is_tasks_max_by_partitions:
            return keys.tasks_max
        try:
            counts = inquiry.partition_counts()
        except ConnectError as error:
            # Its tasks wait for Kafka, as all do.
            self._asked.warnings.append(f"tasks.max.by.partitions has no effect now: {error}")
            return keys.tasks_max
        return max(1, min(keys.tasks_max, keys.subscription.tasks_useful(counts, client.settings)))

    def _let_watch(self, found: type[Connector], keys: ConnectorConfig, tasks_max: int, port: PortSpec) -> None:
        if self._herded is None:
            if not self._shared.options.serves_rest:
                self._asked.warnings.append("it watches its system, which only `millrace standalone` lets it do")
            return
        self.watch = WatchSpec(
            connector=self._connector.name,
            path=path_of(found),
            properties=self._properties,
            tasks_max=tasks_max,
            environments=self._environments,
            call_seconds=self._herded.call_seconds,
            restarts=restarts_of(keys, is_bulk=False),
            port=port,
        )

    def _configs(
        self, found: type[Connector], keys: ConnectorConfig, tasks_max: int, inquiry: Inquiry
    ) -> list[dict[str, str]] | None:
        """The tasks' configurations; None: the connector's own process is to say them."""
        is_enforced = keys.is_tasks_max_enforced
        # One that does not watch is asked, whatever was kept of it.
        given = self._herded.task_configs if self._herded is not None and self.watch is not None else None
        if self.watch is not None and given is None:
            return None
        if given is not None:
            return self._asked.within(given, tasks_max, is_enforced=is_enforced)
        return self._asked.task_configs(found, self._properties, tasks_max, inquiry, is_enforced=is_enforced)

    def _connector_class(self) -> type[Connector] | None:
        key = "connector.class"
        name = self._properties.get(key, "").strip()
        if not name:
            # Kafka Connect shows all of the configuration here, secrets as well.
            self.why_no_class = f"Connector config {{name={self._connector.name}}} contains no connector type"
            text = f'Missing required configuration "{key}" which has no default value: give it a class or an alias'
            self._asked.problems.append(Problem(key, text))
            return None
        before = len(self._asked.problems)
        found = self._asked.find("connector", key, name, self._properties)
        problems = self._asked.problems[before:]
        if found is None and all(problem.key == key for problem in problems):
            words = f"Invalid value {name} for configuration {key}: "
            self.why_no_class = "\n".join(problem.message.removeprefix(words) for problem in problems)
        return found

    def _converter(self, key: str) -> PluginSpec | None:
        """The connector's own converter, with its own keys; or the worker's, with the worker's keys only."""
        name = self._properties.get(key, "").strip()
        return self._asked.converter(key, name, self._properties) if name else self._shared.inherited(key)

    def _read_keys(self, found: type[Connector]) -> ConnectorConfig | None:
        worker, is_sink, known_keys = self._shared.worker, issubclass(found, SinkConnector), self._asked.known_keys
        try:
            keys = read_connector(
                self._properties,
                worker,
                is_sink=is_sink,
                file=self._connector.file,
                is_strict=self._is_strict,
                known_keys=known_keys,
                secrets=self._shared.secrets,
            )
        except ConfigError as error:
            self._asked.problems += error.problems
            return None
        self._asked.warnings += connector_warnings(
            self._properties, worker, is_sink=is_sink, is_strict=self._is_strict, known_keys=known_keys
        )
        return keys

    def _client(self, task: int, kind: str, **more: Any) -> ClientSettings | None:
        """The settings of one task's client; those of the tasks differ in ids only.

        kind: "consumer", "producer" or "admin". more: what only one of them takes.
        """
        shared = self._shared
        where: dict[str, Any] = {
            "worker_config": shared.worker,
            "name": self._connector.name,
            "file": self._connector.file,
            "worker_file": shared.worker_file,
            "secrets": shared.secrets,
            **more,
        }
        try:
            if kind == "admin":
                client = admin_settings(shared.properties, self._properties, **where)
            elif kind == "producer":
                client = producer_settings(shared.properties, self._properties, task=task, **where)
            else:
                where |= {"worker_id": shared.options.worker_id, "is_bulk": shared.options.is_bulk}
                client = consumer_settings(shared.properties, self._properties, task=task, **where)
        except ConfigError as error:
            self._asked.problems += error.problems
            return None
        shared.secrets.update(client.secrets)
        if task == 0:
            self._asked.warnings += client.warnings
        return client

    def _line(
        self,
        keys: ConnectorConfig,
        task: type[SourceTask | SinkTask],
        client: ClientSettings,
        converters: list[PluginSpec],
        chain: list[StepSpec],
    ) -> LineSpec:
        """The line of task 0, without its task's configuration."""
        shared = self._shared
        is_sink = isinstance(keys, SinkKeys)
        errors = self._errors(keys)
        record_bytes = _fetch_bytes(client) if is_sink else client.record_bytes_max
        readers: list[StepSpec | type[SinkTask]] = [*chain, *([task] if issubclass(task, SinkTask) else [])]
        return LineSpec(
            connector=self._connector.name,
            task=0,
            type="sink" if is_sink else "source",
            plugin=keys.connector_class,
            task_path=path_of(task),
            environments=self._environments,
            task_config={},
            key_converter=converters[0],
            value_converter=converters[1],
            header_converter=converters[2],
            transforms=tuple(chain),
            wants_commit_record=issubclass(task, SourceTask) and task.commit_record is not SourceTask.commit_record,
            wants_timestamps=errors.are_told or any(reader.reads_timestamps for reader in readers),
            wants_headers=errors.looks_at_all or any(reader.reads_headers for reader in readers),
            kafka=client.settings,
            subscription=keys.subscription,
            start_at=client.start_at,
            fetch_records_max=client.fetch_max_records,
            store=shared.store,
            tracks_topics=shared.worker.topic_tracking_enable and shared.options.serves_rest,
            is_bulk=shared.options.is_bulk,
            is_embedded=shared.options.is_embedded,
            ring_bytes=self._ring_bytes(keys, record_bytes, is_sink=is_sink),
            record_bytes_max=record_bytes,
            processes=int(keys.task_processes or 2),
            stage_processes=keys.stage_processes,
            given=(*client.given, *self._given_ring()),
            timing=_timing(shared.worker, client, is_embedded=shared.options.is_embedded),
            restarts=restarts_of(keys, is_bulk=shared.options.is_bulk),
            limits=_limits(keys),
            stalls=_stalls(keys),
            errors=errors,
            passes_lost_ranges=isinstance(keys, SinkKeys) and keys.lost_range_policy == "continue",
        )

    def _targets(self, found: type[Connector], chain: list[StepSpec]) -> tuple[tuple[str, str], ...]:
        """Keys and the topics they name, where that is where records will go: a transform may give them others."""
        if chain or not issubclass(found, SourceConnector):
            return ()
        named = ((key, self._properties.get(key, "").strip()) for key in found.topic_keys)
        return tuple((key, topic) for key, topic in named if topic)

    def _ring_bytes(self, keys: ConnectorConfig, record_bytes: int, *, is_sink: bool) -> int:
        wanted = ring_bytes(keys.ring_bytes or self._shared.worker.ring_bytes)
        needed = ring_bytes_for(wanted, record_bytes)
        if needed > wanted:
            setting = "consumer's max.partition.fetch.bytes" if is_sink else "producer's max.request.size"
            self._asked.warnings.append(
                f"ring.bytes={wanted} is less than {FRAMES_MIN} records of the {setting}, {record_bytes}, take: "
                f"its rings have {needed} bytes"
            )
        return needed

    def _given_ring(self) -> list[str]:
        return [key for key in ("ring.bytes",) if key in self._properties or key in self._shared.properties]

    def _of_task(self, first: LineSpec, number: int, config: Mapping[str, str]) -> LineSpec:
        client = self._client(number, "consumer" if first.type == "sink" else "producer")
        assert client is not None, "the settings of task 0 were good"
        given = {"task.class": first.task_path}
        errors = first.errors
        if first.type == "sink":
            given |= {key: self._properties[key] for key in ("topics", "topics.regex") if key in self._properties}
        if errors.dead_letters is not None:
            kafka, admin = self._dead_letter_clients(number)
            errors = replace(errors, dead_letters=replace(errors.dead_letters, kafka=kafka, admin=admin))
        return replace(first, task=number, task_config={**config, **given}, kafka=client.settings, errors=errors)

    def _errors(self, keys: ConnectorConfig) -> Errors:
        topic = keys.dead_letter_topic.strip()
        dead_letters = None
        if topic and (isinstance(keys, SinkKeys) or keys.errors_tolerance == "all"):
            dead_letters = DeadLetterSpec(topic, keys.dead_letter_replication, keys.dead_letter_headers, {})
        return Errors(
            is_tolerant=keys.errors_tolerance == "all",
            retry_ms=keys.errors_retry_timeout,
            retry_pause_ms_max=keys.errors_retry_delay_max_ms,
            are_logged=keys.errors_log_enable,
            logs_records=keys.errors_log_include_messages,
            dead_letters=dead_letters,
        )

    def _dead_letter_clients(self, task: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Settings of a producer of dead letters, those of a source's but for its name; and of who makes the topic."""
        client = self._client(task, "producer")
        admin = None if client is None else self._client(task, "admin", producer=client.settings)
        if client is None or admin is None:
            return {}, {}  # what is wrong is told
        name = {} if "client.id" in client.given else {"client.id": f"{_LETTERS_ID}{self._connector.name}-{task}"}
        return {**client.settings, **name}, admin.settings


def _client_of(found: type) -> str:
    """Which client a task of this connector has."""
    return "consumer" if issubclass(found, SinkConnector) else "producer"


def ring_bytes_for(wanted: int, record_bytes: int) -> int:
    """The capacity of a ring that is to have `wanted` bytes and must take a record of `record_bytes`.

    A frame has at most a quarter of a ring. For a source, `record_bytes` bounds its records. For a sink it is what a
    broker sends at once: batches that grow when they are decompressed may hold larger records, which the pump refuses.
    """
    return max(wanted, ring_bytes_min(record_bytes))


def _fetch_bytes(client: ClientSettings) -> int:
    found = client.settings.get("max.partition.fetch.bytes", client.settings.get("fetch.message.max.bytes"))
    return found if isinstance(found, int) else _RECORD_BYTES


def _timing(worker: WorkerConfig, client: ClientSettings, *, is_embedded: bool) -> Timing:
    timing, settings = worker.timing, client.settings
    interval_ms = settings.get("max.poll.interval.ms")
    if not isinstance(interval_ms, int):
        return timing
    timing = replace(timing, revocation_timeout=min(timing.revocation_timeout, REVOCATION_PART * interval_ms / 1000))
    if is_embedded:
        return timing  # nobody else can be in its groups, whose sessions are short
    session_ms, heartbeat_ms = settings["session.timeout.ms"], settings["heartbeat.interval.ms"]
    assert isinstance(session_ms, int) and isinstance(heartbeat_ms, int), "times are whole numbers"  # noqa: PT018
    # Where the group has heard a member last is up to a heartbeat before it stood still, and what librdkafka is late.
    heard_ms = max(session_ms - heartbeat_ms - _HEARTBEAT_LATE_MS, _LEASE_MS_MIN)
    return replace(timing, lease=min(timing.lease, heard_ms / 1000))


def _stalls(keys: ConnectorConfig) -> Stalls:
    timeout_ms, kill_ms, reports_failed = keys.stall_timeout_ms, keys.stall_kill_ms, keys.stall_reports_failed
    return Stalls((timeout_ms or 0) / 1000, (kill_ms or 0) / 1000, bool(reports_failed))


def _limits(keys: ConnectorConfig) -> Limits:
    return Limits(
        keys.task_memory_max, keys.task_nice or 0, read_cpus(keys.task_cpu_affinity or "", os.sched_getaffinity(0))
    )


def restarts_of(keys: ConnectorConfig, *, is_bulk: bool) -> Restarts:
    """The restart policy of a connector and its tasks, its keys inherited from the worker.

    is_bulk: somebody waits for the end of the run, and is told at once what a restart would most likely not mend.
    """
    count_max = keys.restart_max or 0
    return Restarts(
        count_max=count_max,
        backoff_ms=keys.restart_backoff_ms or 0,
        backoff_ms_max=keys.restart_backoff_max_ms or 0,
        policy=keys.restart_policy or "auto",
        window_ms=keys.restart_max_window_ms or 0,
        refused_ms=0 if is_bulk else keys.restart_backoff_refused_ms or 0,
        circuit_ms=0 if is_bulk else keys.restart_circuit_ms or 0,
        error_max=0 if is_bulk else count_max,
        record_max=0 if is_bulk else min(count_max, RECORD_RESTARTS),
    )
