"""Out of files, the lines to be forked: every name found, every key read, every plugin asked, before anything starts.

    Pipeline ──► variables ──► the worker's keys ──► each connector's lines ──► does Kafka take it?
                 providers     config/worker.py      connector_lines.py         engine.kafka.check

All of it happens in a probe child, as it runs plugin code; the plan crosses back as bytes. Everything that is wrong
with any connector is told together, with file, connector and key; no secret is shown.

Used by: engine.launch (asks), engine.boot (runs the plan).
Not here: what single keys mean (engine.config), one connector (connector_lines.py), processes (boot.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine import logs, memory
from engine.api.connector import SinkConnector
from engine.api.errors import ConfigError, ConnectError, Problem, UnreachableError
from engine.api.provider import ConfigProvider
from engine.config.clients_idle import CLIENT_PREFIXES, worker_problems
from engine.config.clients_producer import own_settings
from engine.config.files import ConnectorFile, Pipeline
from engine.config.freshness import Freshness, freshness
from engine.config.line import LineSpec, PluginSpec
from engine.config.masking import is_secret, masked
from engine.config.problems import did_you_mean, once, place, raise_all
from engine.config.providers import as_given, make_providers, resolve, with_values
from engine.config.rest import RestSettings, read_rest
from engine.config.worker import WorkerConfig, read_worker, worker_warnings
from engine.config_infos import CONVERTERS, Looked, config_infos
from engine.connector_lines import ConnectorLines, Herded, PlanOptions, Shared
from engine.herder.model import Plan as PlanOrder
from engine.herder.model import Planned
from engine.kafka.check import KafkaCheck, check_kafka
from engine.mending import UNCOUNTED, Kind
from engine.offsets.check import check_store
from engine.offsets.store import OffsetStore, store_path
from engine.plugins import environment
from engine.plugins.apart import Apart, environments_of, named_plugins, named_providers
from engine.plugins.asking import Interview
from engine.plugins.catalog import Catalog, discover
from engine.plugins.environment import Environment
from engine.plugins.listing import as_rest, listing
from engine.plugins.probe import Tell
from engine.probing import ask_probe, plugin_path, probe_seconds

__all__ = ["Plan", "PlanOptions", "Planner", "make_plan", "prepare"]

logger = logging.getLogger("millrace.plan")

#: Stands for a worker whose keys could not be read, so that connectors are looked at all the same.
_UNREADABLE = WorkerConfig(key_converter="", value_converter="", header_converter="", offset_storage_file_filename="")


class Plan(Struct, frozen=True, kw_only=True):
    """What a run starts with; crosses from the probe as msgpack."""

    worker: WorkerConfig
    store: str  # absolute path of the SQLite store of source offsets
    worker_id: str = ""  # which plans of later connectors take over: none of them looks into the store for it
    lines: tuple[LineSpec, ...]
    files: Mapping[str, str]  # of each connector
    brokers: int = 1  # of the largest cluster that a line connects to
    warnings: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()  # values that no log may show
    cluster_id: str = ""  # of Kafka; empty: it was not asked
    kafka: Mapping[str, Any] = {}  # settings of a client of the worker's own; empty: nobody asks
    plugins: tuple[Mapping[str, Any], ...] = ()  # as REST lists them; empty: nobody asks
    rest: RestSettings | None = None  # None: there is none


class _Prepared(Struct, frozen=True):
    """The probe's answer."""

    plan: Plan
    kafka: KafkaCheck


class _Known(Struct, frozen=True):
    """What a planner knows by now; comes back from a part of the plan that is made apart."""

    problems: list[Problem]
    warnings: list[str]
    secrets: set[str]
    properties: dict[str, str]  # the worker's
    connectors: list[ConnectorFile] = []  # variables resolved
    fresh: Freshness = Freshness()
    lines: list[LineSpec] = []


_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Prepared).decode
_decode_known = msgspec.msgpack.Decoder(_Known).decode
_decode_planned = msgspec.msgpack.Decoder(Planned).decode


def prepare(pipeline: Pipeline, options: PlanOptions, *, asks_kafka: bool) -> Plan:
    """The plan of these files, made in a probe child; with `asks_kafka`, checked with its brokers as well.

    Call it from the only thread, before any Kafka client is made. Raises ConfigError with every problem, ProbeError
    (one of those) when a plugin hangs or crashes, UnreachableError when Kafka or a topic is not there.
    """

    def question(tell: Tell) -> bytes:
        plan = make_plan(pipeline, options, tell)
        check = KafkaCheck()
        if asks_kafka:
            seconds = plan.worker.startup_timeout_ms / 1000
            check = check_kafka(plan.lines, own=plan.kafka, timeout_seconds=seconds, say=tell)
        return _encode(_Prepared(plan, check))

    answer = _decode(ask_probe(pipeline, options, question))
    plan, check = answer.plan, answer.kafka
    problems = [replace(problem, file=plan.files.get(problem.connector, "")) for problem in check.problems]
    problems = masked(problems, plan.secrets)
    if check.is_unreachable:
        raise UnreachableError("\n".join(map(str, problems)))
    raise_all(problems)
    warnings = (*plan.warnings, *check.warnings)
    return replace(plan, brokers=check.brokers, warnings=warnings, cluster_id=check.cluster_id)


def make_plan(pipeline: Pipeline, options: PlanOptions, tell: Tell = lambda *_: None) -> Plan:
    """The plan of these files. Runs plugin code: call it in a probe only. Raises ConfigError with every problem."""
    return Planner(pipeline, options, tell).plan()


class Planner:
    """Makes one plan; keeps what is wrong until everything has been looked at.

    Plugins of environments are asked apart (engine.plugins.apart), and before any others.
    """

    def __init__(self, pipeline: Pipeline, options: PlanOptions, tell: Tell) -> None:
        self._pipeline = pipeline
        self._options = options
        self._catalog: Catalog = discover(plugin_path(pipeline, options).split(","))
        self._tell = tell
        self._apart = Apart(tell, probe_seconds(pipeline, options))
        self._problems: list[Problem] = []
        self._warnings: list[str] = []
        self._secrets: set[str] = set()
        self._properties: dict[str, str] = {}  # the worker's, variables resolved
        self._worker = _UNREADABLE
        self._rest: RestSettings | None = None
        self._inherited: dict[str, PluginSpec | None] = {}
        self._fresh = Freshness()  # of the last connector that was resolved

    def plan(self) -> Plan:
        """All connectors' lines. Raises ConfigError with every problem."""
        connectors = self._resolve()
        self._read_worker()
        if (self._options.serves_rest or not self._options.is_run) and not self._problems:
            self._read_rest()  # who asks what is wrong with files hears it for a standalone worker as well
        self._look_at_plugin_path()
        shared = self._shared()
        store = shared.store
        plugins = as_rest(listing(self._catalog, self._apart)) if self._options.serves_rest else []
        lines = self._all_lines(connectors, shared)
        if len(lines) > self._worker.tasks_max:
            text = f"{len(lines)} tasks in all; expected at most worker.tasks.max={self._worker.tasks_max}"
            self._problems.append(Problem("worker.tasks.max", text, file=self._pipeline.worker_file))
        lines = self._fitted(lines)
        self._problems += worker_problems(self._properties, file=self._pipeline.worker_file, secrets=self._secrets)
        raise_all(masked(once(self._problems, of_all=CLIENT_PREFIXES), self._secrets))
        secrets = tuple(sorted(self._secrets))
        # A worker whose connectors come over REST has a cluster also while it has none of them.
        where: dict[str, Any] = {"worker_config": self._worker, "worker_file": self._pipeline.worker_file}
        kafka = own_settings(self._properties, secrets, **where) if self._options.serves_rest else {}
        return Plan(
            worker=self._worker,
            store=store,
            worker_id=shared.options.worker_id,
            lines=tuple(replace(line, secrets=secrets) for line in lines),
            files={connector.name: connector.file for connector in connectors},
            warnings=tuple(dict.fromkeys(self._warnings)),
            secrets=secrets,
            rest=self._rest,
            plugins=tuple(plugins),
            kafka=kafka,
        )

    def planned(self, order: PlanOrder, *, tells_keys: bool) -> Planned:
        """What is to be known of the one connector of the pipeline."""
        attempt = order.attempt
        try:
            (connector,) = self._resolve()
        except ConfigError as error:
            return Planned(attempt, problems=tuple(problem.message for problem in error.problems))
        self._read_worker()
        environments = self._environments(connector)
        if not environments:
            return self._planned(order, connector, (), tells_keys=tells_keys)
        folders = tuple(one.folder for one in environments)

        def question(tell: Tell) -> bytes:
            self._tell = tell
            self._look_into(environments, connector)
            return _encode(self._planned(order, connector, folders, tells_keys=tells_keys))

        try:
            return _decode_planned(self._apart.ask(folders, question))
        except ConfigError as error:
            return Planned(attempt, problems=tuple(problem.message for problem in error.problems))

    def _planned(
        self, order: PlanOrder, connector: ConnectorFile, folders: tuple[str, ...], *, tells_keys: bool
    ) -> Planned:
        asked = Interview(f"connector {connector.name}", self._catalog, self._tell)
        is_whole = not self._problems  # else values are missing: it is looked at, and not started
        if not is_whole:
            connector = replace(connector, initial_state="STOPPED")
        given = self._pipeline.connectors[0].properties
        kept = order.task_configs and tuple(with_values(one, given, connector.properties) for one in order.task_configs)
        herded = Herded(kept, probe_seconds(self._pipeline, self._options))
        made = ConnectorLines(connector, self._shared(), asked, folders, herded)
        lines = self._fitted(made.lines())
        is_good = is_whole and made.is_good
        self._keep_secret(asked.secret_keys, connector.properties)
        secrets = tuple(sorted(self._secrets))
        found, named = made.found, asked.found.get("connector.class")
        if made.why_no_class:
            return Planned(order.attempt, problems=(made.why_no_class,), has_class=False)
        is_final = connector.properties.get("config.action.reload", "").strip() == "none"
        infos = None
        if tells_keys or not is_good:
            looked = Looked(
                properties=connector.properties,
                given=given,
                connector=found,
                plugins=asked.found,
                inherited={key: self._converter_name(key) for key in CONVERTERS},
                folders=folders,
                problems=(*self._problems, *asked.problems),
                secrets=secrets,
            )
            infos = config_infos(looked, self._catalog)
        for warning in () if tells_keys else asked.warnings:
            logger.warning("connector %s: %s", connector.name, logs.masked(warning, secrets))
        failure = "\n".join(problem.message for problem in masked([*self._problems, *asked.problems], secrets))
        return Planned(
            order.attempt,
            problems=() if is_good or infos is None else infos.errors(),
            failure=failure if is_good else "",
            failure_kind=asked.kind if asked.kind and (is_good or asked.kind in UNCOUNTED) else Kind.CONFIG,
            restarts=made.restarts,
            infos=_encode_json(infos) if tells_keys else b"",
            type="unknown" if found is None else "sink" if issubclass(found, SinkConnector) else "source",
            version=None if named is None else self._catalog.version(named, folders),
            task_configs=tuple(as_given(line.task_config, given) for line in lines),
            lines=tuple(replace(line, secrets=secrets) for line in lines),
            watch=None if made.watch is None else replace(made.watch, secrets=secrets),
            reload_ms=None if is_final else self._fresh.ttl_ms,
            files={} if is_final else self._fresh.files,
        )

    def consulted(self, act: Callable[[ConnectorLines, Tell], bytes]) -> bytes:
        """What `act` makes of the one connector of the pipeline. Raises ConfigError."""
        (connector,) = self._resolve()
        self._read_worker()
        environments = self._environments(connector)
        folders = tuple(one.folder for one in environments)

        def question(tell: Tell) -> bytes:
            asked = Interview(f"connector {connector.name}", self._catalog, tell)
            return act(ConnectorLines(connector, self._shared(), asked, folders), tell)

        return self._apart.ask(folders, question) if environments else question(self._tell)

    def _shared(self) -> Shared:
        store = str(store_path(self._worker.offset_storage_file_filename).absolute())
        return Shared(
            self._worker,
            self._properties,
            self._pipeline.worker_file,
            store,
            replace(self._options, worker_id=self._options.worker_id or self._identity(store)),
            self._secrets,
            self._worker_converter,
        )

    def _fitted(self, lines: list[LineSpec]) -> list[LineSpec]:
        """The lines, small enough for worker.memory.max."""
        worker = self._worker
        if worker.memory_max is None or self._problems:
            return lines
        fitted, problem = memory.fitted(lines, worker.memory_max, has_metrics=worker.has_metrics)
        if problem is not None:
            self._problems += place([problem], file=self._pipeline.worker_file)
        return fitted

    def _identity(self, store: str) -> str:
        """The worker's own, which its store keeps: the same for each of its runs, on whatever machine."""
        if not self._options.is_run or self._problems:
            return "UNKNOWN"  # nothing will join a group
        try:
            check_store(Path(store))
            opened = OffsetStore(store)
            try:
                return opened.worker_id()
            finally:
                opened.close()
        except (OSError, ConnectError) as error:
            key = "offset.storage.file.filename"
            # What is wrong with a file says by itself what to do.
            what_to_do = "; name a place that can be written" if isinstance(error, OSError) else ""
            self._problems.append(Problem(key, f"{key}: {error}{what_to_do}"))
            return "UNKNOWN"

    def _look_at_plugin_path(self) -> None:
        """Tell of what it names and is none: an error in TOML, as unknown keys are."""
        file = self._pipeline.worker_file
        for text in self._catalog.complaints:
            if file.endswith(".toml"):
                self._problems.append(Problem("plugin.path", f"plugin.path: {text}", file=file))
            else:
                self._warnings.append(f"plugin.path: {text}")

    def _environments(self, connector: ConnectorFile) -> list[Environment]:
        return environments_of(self._catalog, named_plugins(connector.properties, self._properties))

    def _look_into(self, environments: list[Environment], connector: ConnectorFile) -> None:
        """Tell of what these environments cannot have, and of what they cannot have together."""
        problems = [Problem("plugin.path", text) for one in environments for text in environment.unmet(one)]
        self._problems += place(problems, connector=connector.name, file=connector.file)
        self._warnings += [f"connector {connector.name}: {text}" for text in environment.clashes(environments)]

    def _all_lines(self, connectors: list[ConnectorFile], shared: Shared) -> list[LineSpec]:
        """The lines of all connectors, in their order."""
        needed = {connector.name: self._environments(connector) for connector in connectors}
        lines: dict[str, list[LineSpec]] = {connector.name: [] for connector in connectors}
        # What others import here would be there for those of environments as well.
        for connector in sorted(connectors, key=lambda connector: not needed[connector.name]):
            environments = needed[connector.name]
            if environments:
                lines[connector.name] = self._lines_apart(environments, connector, shared)
            else:
                lines[connector.name] = self._lines(connector, shared, ())
        return [line for made in lines.values() for line in made]

    def _lines_apart(self, environments: list[Environment], connector: ConnectorFile, shared: Shared) -> list[LineSpec]:
        folders = tuple(one.folder for one in environments)

        def question(tell: Tell) -> bytes:
            self._tell = tell
            self._look_into(environments, connector)
            return _encode(self._known(lines=self._lines(connector, shared, folders)))

        try:
            return self._told_apart(folders, question).lines
        except ConfigError as error:
            # Steps of a probe name the connector, as they are logged.
            step = f"connector {connector.name}: "
            told = [replace(problem, message=problem.message.removeprefix(step)) for problem in error.problems]
            self._problems += place(told, connector=connector.name, file=connector.file)
            return []

    def _told_apart(self, folders: tuple[str, ...], question: Callable[[Tell], bytes]) -> _Known:
        """Have a part of the plan made apart, and take over what is known then. Raises ConfigError."""
        known = _decode_known(self._apart.ask(folders, question))
        self._problems, self._warnings, self._properties = known.problems, known.warnings, known.properties
        self._secrets |= known.secrets  # shared by all connectors
        self._fresh = known.fresh
        return known

    def _known(self, connectors: Sequence[ConnectorFile] = (), lines: Sequence[LineSpec] = ()) -> _Known:
        return _Known(
            self._problems,
            self._warnings,
            self._secrets,
            self._properties,
            list(connectors),
            self._fresh,
            list(lines),
        )

    def _resolve(self) -> list[ConnectorFile]:
        """Settle the worker's properties; returns the connectors, both with their variables resolved."""
        text = {**self._pipeline.worker, **self._options.overrides}
        environments = environments_of(self._catalog, named_providers(text))
        if not environments:
            return self._resolve_here(text)
        folders = tuple(one.folder for one in environments)
        return self._told_apart(folders, lambda _: _encode(self._known(self._resolve_here(text)))).connectors

    def _resolve_here(self, text: dict[str, str]) -> list[ConnectorFile]:
        file = self._pipeline.worker_file
        asked = Interview("worker", self._catalog, self._tell)
        providers = asked.ask(
            "making its config providers",
            lambda: make_providers(text, lambda name: self._catalog.find("config_provider", name)),
            "config.providers",
        )
        # Without its providers no value is what it should be: nothing else could be told.
        raise_all(place(asked.problems, file=file))
        assert providers is not None, "without a problem there is an answer"
        self._properties = self._resolved(asked, text, providers)
        self._problems += place(asked.problems, file=file)
        connectors = []
        for connector in self._pipeline.connectors:
            asked = Interview(f"connector {connector.name}", self._catalog, self._tell)
            fresh = asked.ask("asking config providers", partial(freshness, connector.properties, providers))
            self._fresh = fresh or Freshness()
            properties = self._resolved(asked, connector.properties, providers)
            self._problems += place(asked.problems, connector=connector.name, file=connector.file)
            connectors.append(replace(connector, properties=properties))
        return connectors

    def _resolved(
        self, asked: Interview, text: dict[str, str], providers: Mapping[str, ConfigProvider]
    ) -> dict[str, str]:
        resolved = asked.ask("asking config providers", lambda: resolve(text, providers))
        if resolved is None:
            return text
        self._secrets |= resolved.secrets
        self._secrets |= {value for key, value in resolved.properties.items() if is_secret(key) and value}
        return resolved.properties

    def _read_worker(self) -> None:
        file = self._pipeline.worker_file
        is_strict = file.endswith(".toml")
        try:
            self._worker = read_worker(
                self._properties,
                file=file,
                is_strict=is_strict,
                offsets_file=_offsets_file(self._pipeline),
                secrets=self._secrets,
            )
        except ConfigError as error:
            self._problems += error.problems
        else:
            self._warnings += worker_warnings(self._properties, is_strict=is_strict)

    def _read_rest(self) -> None:
        try:
            self._rest = read_rest(self._worker, self._properties)
        except ConfigError as error:
            self._problems += place(error.problems, file=self._pipeline.worker_file)

    def _lines(self, connector: ConnectorFile, shared: Shared, folders: tuple[str, ...]) -> list[LineSpec]:
        asked = Interview(f"connector {connector.name}", self._catalog, self._tell)
        lines = ConnectorLines(connector, shared, asked, folders).lines()
        self._problems += place(asked.problems, connector=connector.name, file=connector.file)
        self._warnings += [f"connector {connector.name}: {text}" for text in asked.warnings]
        self._keep_secret(asked.secret_keys, connector.properties)
        return lines

    def _converter_name(self, key: str) -> str:
        return self._properties.get(key, "").strip() or str(getattr(self._worker, key.replace(".", "_")))

    def _worker_converter(self, key: str) -> PluginSpec | None:
        """The converter that the worker gives to connectors that name none; asked for once."""
        if key not in self._inherited:
            asked = Interview("worker", self._catalog, self._tell)
            name = self._converter_name(key)
            # Without a name the worker's keys could not be read, which has been told.
            self._inherited[key] = asked.converter(key, name, self._properties) if name else None
            self._look_for_unknown_keys(f"{key}.", asked)
            self._problems += place(asked.problems, file=self._pipeline.worker_file)
            self._warnings += asked.warnings
            self._keep_secret(asked.secret_keys, self._properties)
        return self._inherited[key]

    def _look_for_unknown_keys(self, prefix: str, asked: Interview) -> None:
        """A converter that declares keys has no others; read_worker does not know what it declares."""
        known = asked.known_keys
        unknown = [key for key in self._properties if key.startswith(prefix) and key not in known] if known else []
        for key in unknown:
            if key == f"{prefix}plugin.version":
                continue
            text = f'unknown key "{key}"{did_you_mean(key, known)}'
            if self._pipeline.worker_file.endswith(".toml"):
                asked.problems.append(Problem(key, text))
            else:
                asked.warnings.append(f"{text}; it has no effect")

    def _keep_secret(self, keys: set[str], properties: Mapping[str, str]) -> None:
        self._secrets |= {properties[key] for key in keys if properties.get(key)}


def _offsets_file(pipeline: Pipeline) -> str | None:
    """Where offsets of a TOML pipeline are kept by default; None: Kafka Connect's files must say it."""
    files = [pipeline.worker_file, *(connector.file for connector in pipeline.connectors)]
    first = next((file for file in files if file.endswith(".toml")), None)
    return None if first is None else str(Path(first).parent / "offsets")
