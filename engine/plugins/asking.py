"""Asking one connector's plugins what they want: keys, faults, task configurations.

    keys declared ──► parsed ──► configure (converters, transforms)
    connector: made, validate ──► made, initialize, start, task_configs, stop ──► a configuration a task

Whatever a plugin raises becomes a problem of its connector, so that all that is wrong is told together.

Used by: engine.plan, within a probe: this runs plugin code.
Not here: which class a name means (catalog.py), keys of the engine (engine.config).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from engine.api.config import Config, Password, keys_of
from engine.api.connector import Connector, SinkConnector
from engine.api.converter import Converter, HeaderConverter, plain_config
from engine.api.errors import ConfigError, ConnectError, Problem, RefusedError, RetriableError
from engine.api.task import SinkTask, SourceTask
from engine.config.line import PluginSpec, StepSpec
from engine.mending import Kind as EndKind
from engine.mending import kind_of
from engine.plugins.catalog import Catalog, Found, Kind
from engine.plugins.loading import path_of
from engine.plugins.probe import Tell
from engine.plugins.versions import ANY, VERSION, ranges_of, version_key

__all__ = ["Interview", "WorkerPort", "config_texts", "place_of"]

Answer = TypeVar("Answer")

#: Kafka Connect's words.
_TOO_MANY = (
    ", the maximum number of tasks it is configured to create. This behaviour should be considered a bug and is "
    "disallowed. If necessary, it can be permitted by reconfiguring the connector with 'tasks.max.enforce' set to "
    "false; however, this option will be removed in a future release of Kafka Connect."
)
_TOO_MANY_FOR_LATER = (
    ", the maximum number of tasks it is configured to create. This behavior should be considered a bug and will be "
    "disallowed in future releases of Kafka Connect. Please report this to the maintainers of the connector and "
    "request that they adjust their connector's taskConfigs() method to respect the maxTasks parameter."
)


class _PredicatedKeys(Config, frozen=True, kw_only=True):
    """What a transform's alias has beside its transform's own keys, to be read; `predicate` is looked up."""

    negate: bool = False


class WorkerPort(Protocol):
    """Who answers what a connector asks (`engine.inquiry.Inquiry`)."""

    worker_properties: Mapping[str, str]

    def partition_counts(self, topics: Collection[str]) -> Mapping[str, int]: ...
    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None: ...


class Interview:
    """The plugins of one connector, or of the worker, asked in turn.

    Nothing is raised: everything is in `problems` and `warnings`.
    """

    def __init__(self, title: str, catalog: Catalog, tell: Tell) -> None:
        self._title = title  # "connector orders", or "worker" for what connectors inherit
        self._catalog = catalog
        self.tell = tell
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.found: dict[str, Found] = {}  # the plugins, by the keys that name them
        self.known_keys: set[str] = set()  # all that the plugins declare, with their prefixes
        self.secret_keys: set[str] = set()  # those of them that hold secrets
        self.is_bulk = False  # whether the connector is asked for a run that ends
        self.kind = EndKind.NOTHING  # of the first error that a plugin has raised

    def ask(self, step: str, call: Callable[[], Answer], key: str = "") -> Answer | None:
        """What `call` answers; None when it raised, and why is a problem.

        step: what a person reads when it fails, hangs or crashes. key: the key that a problem is about if it says none.
        """
        self.tell(f"{self._title}: {step}")
        try:
            return call()
        except ConfigError as error:
            self._note(error)
            self.problems += [replace(problem, key=problem.key or key) for problem in error.problems]
        except ConnectError as error:
            self._note(error)
            self.problems.append(Problem(key, f"{step}: {error}"))
        except (Exception, SystemExit) as error:  # noqa: BLE001  plugins may raise whatever they like
            self._note(error)
            self.problems.append(Problem(key, f"{step}: {type(error).__name__}: {error}{place_of(error)}"))
        return None

    def _note(self, error: BaseException) -> None:
        if self.kind == EndKind.NOTHING:
            self.kind = kind_of(error)

    def find(self, kind: Kind, key: str, name: str, properties: Mapping[str, str]) -> type[Any] | None:
        """The class that the value of `key` names, in the version that is wanted. properties: where `key` was read."""
        wanted_key = version_key(key)
        wanted_text = properties.get(wanted_key, "").strip()
        wanted = ANY
        try:
            wanted = ranges_of(wanted_text)
        except ValueError as error:
            self.problems.append(_invalid(wanted_key, wanted_text, str(error)))
        before = len(self.problems)
        found = self.ask(f"{key}={name}", lambda: self._catalog.find(kind, name, wanted))
        told = self.problems[before:]
        if any(problem.key == VERSION for problem in told):
            # In Kafka's words, of both keys.
            self.problems[before:] = [replace(one, key=wanted_key if one.key == VERSION else key) for one in told]
        else:
            self.problems[before:] = [_invalid(key, name, one.message) for one in told]
        if found is not None:
            self.found[key] = Found(kind, name, found)
        return found

    def converter(self, key: str, name: str, properties: Mapping[str, str]) -> PluginSpec | None:
        """The converter that `key` names, configured once on trial.

        properties: where `key` was read, with its sub-keys: the connector's or the worker's.
        """
        is_header = key == "header.converter"
        kind: Kind = "header_converter" if is_header else "converter"

        def configure(made: Converter | HeaderConverter, config: Config) -> None:
            if is_header:
                made.configure(config)  # type: ignore[call-arg]  # a header converter's has no is_key
            else:
                made.configure(config, is_key=key == "key.converter")  # type: ignore[call-arg]  # a converter's has

        return self._configured(kind, key, name, f"{key}.", properties, configure)

    def chain(self, properties: Mapping[str, str]) -> list[StepSpec | None]:
        """The connector's transforms and predicates, each configured once on trial; None for a step that is not."""
        predicates = {
            alias: self._aliased("predicate", f"predicates.{alias}.", alias, properties)
            for alias in _aliases(properties, "predicates")
        }
        return [self._step(alias, properties, predicates) for alias in _aliases(properties, "transforms")]

    def _step(
        self, alias: str, properties: Mapping[str, str], predicates: Mapping[str, PluginSpec | None]
    ) -> StepSpec | None:
        prefix = f"transforms.{alias}."
        # What belongs to the chain is nothing of the transform's.
        own = {key: text for key, text in properties.items() if key not in (f"{prefix}predicate", f"{prefix}negate")}
        transform = self._aliased("transform", prefix, alias, own)
        name = properties.get(f"{prefix}predicate", "").strip()
        negate = self.ask(f"{prefix}negate", lambda: _PredicatedKeys.parse(plain_config(properties, prefix)))
        if negate is None:
            self.problems[-1] = _prefixed(self.problems[-1], prefix)
            return None
        if not name:
            if f"{prefix}negate" in properties:
                text = (
                    f"Config '{prefix}negate' was provided but there is no config '{prefix}predicate' defining a "
                    f"predicate to be negated."
                )
                self.problems.append(Problem(f"{prefix}type", text))
            return None if transform is None else StepSpec(transform)
        if name not in predicates:
            named = ", ".join(predicates) or "none"
            text = f'{prefix}predicate={name}: no such predicate; expected one that "predicates" names: {named}'
            self.problems.append(Problem(f"{prefix}predicate", text))
            return None
        predicate = predicates[name]
        if transform is None or predicate is None:
            return None
        return StepSpec(transform, predicate, negate.negate)

    def _aliased(self, kind: Kind, prefix: str, alias: str, properties: Mapping[str, str]) -> PluginSpec | None:
        name = properties.get(f"{prefix}type")
        if name is None:
            key = f"{prefix}type"
            self.problems.append(Problem(key, f'Missing required configuration "{key}" which has no default value.'))
            return None

        reads_timestamps = reads_headers = True

        def configure(made: Any, config: Config) -> None:
            nonlocal reads_timestamps, reads_headers
            made.configure(config)
            reads_timestamps, reads_headers = bool(made.reads_timestamps), bool(made.reads_headers)
            made.close()

        spec = self._configured(kind, f"{prefix}type", name, prefix, properties, configure)
        if spec is None:
            return None
        return replace(spec, name=alias, reads_timestamps=reads_timestamps, reads_headers=reads_headers)

    def keys(self, connector: type[Connector], properties: Mapping[str, str], *, may_wait: bool = False) -> None:
        """Parse the keys that the connector declares, and let it look for contradictions among them.

        may_wait: where it cannot look, because its system is away or refuses it, its tasks are to wait for that.
        """

        def look() -> list[Problem]:
            try:
                return list(self._make(connector).validate(dict(properties)))
            except (RetriableError, RefusedError) as error:
                if not may_wait:
                    raise
                self.warnings.append(f"it could not be checked whole: {error}")
                return []

        self._declare(connector.config, "")
        if not keys_of(connector.config):
            self.known_keys |= set(properties)  # it reads what it likes
        self.known_keys |= {key for key in properties if key.startswith(connector.config.key_prefixes)}
        self.ask("reading its keys", lambda: connector.config.parse(properties))
        found = self.ask("validate", look)
        self.problems += [problem for problem in found or () if problem not in self.problems]

    def note_of_the_end(self, connector: type[Connector], properties: Mapping[str, str]) -> list[str]:
        """What the connector finds wrong for a run that ends alone. Call it where nothing else is wrong."""

        def look() -> list[Problem]:
            made = self._make(connector)
            made.is_bulk = True
            return list(made.validate(dict(properties)))

        before = len(self.problems)
        found = self.ask("validate for a run that ends", look)
        told = [*self.problems[before:], *(found or ())]
        del self.problems[before:]
        return [problem.message for problem in told]

    def task_class(self, connector: type[Connector]) -> type[SourceTask | SinkTask] | None:
        """The class of the connector's tasks."""
        base = SinkTask if issubclass(connector, SinkConnector) else SourceTask
        task = getattr(connector, "task", None)
        if isinstance(task, type) and issubclass(task, base) and not getattr(task, "__abstractmethods__", ()):
            return task
        problem = (
            f"class {path_of(connector)} has no task: expected its `task` to be a class derived from {base.__name__}"
        )
        missing = ", ".join(sorted(getattr(task, "__abstractmethods__", ())))
        self.problems.append(Problem("connector.class", f"{problem}{f', without gaps ({missing})' if missing else ''}"))
        return None

    def task_configs(
        self,
        connector: type[Connector],
        properties: Mapping[str, str],
        tasks_max: int,
        worker: WorkerPort,
        *,
        is_enforced: bool,
    ) -> list[dict[str, str]]:
        """The configurations of the connector's tasks, asked in the order of Kafka Connect's life cycle.

        worker: what the connector may ask meanwhile.
        is_enforced: more than `tasks_max` of them is a problem, else a warning (tasks.max.enforce).
        """
        before = len(self.problems)
        made = self.ask("making it", lambda: self._make(connector))
        if made is None:
            return []
        context = _ProbeContext(worker)
        self.ask("initialize", lambda: made.initialize(context))
        answer: Sequence[Mapping[str, str]] = ()
        if len(self.problems) == before:
            self.ask("start", lambda: made.start(dict(properties)))
            if len(self.problems) == before:
                answer = self.ask("task_configs", lambda: list(made.task_configs(tasks_max))) or ()
            self.ask("stop", made.stop)
        for error in context.errors:
            self._note(error)
            self.problems.append(Problem("", f"it failed: {error}"))
        if context.is_watching and not connector.watches:
            self.warnings.append(
                "asked for its tasks to be configured anew, and is stopped by now: only a connector whose class says "
                "`watches = True` goes on"
            )
        return self.within(answer, tasks_max, is_enforced=is_enforced)

    def within(self, answer: Sequence[Mapping[str, str]], tasks_max: int, *, is_enforced: bool) -> list[dict[str, str]]:
        """What a connector has answered for its tasks, checked. is_enforced: as for task_configs."""
        if len(answer) > tasks_max:
            text = f"The {self._title} has generated {len(answer)} tasks, which is greater than {tasks_max}"
            if is_enforced:
                self.problems.append(Problem("tasks.max", text + _TOO_MANY))
            else:
                self.warnings.append(text + _TOO_MANY_FOR_LATER)
        configs, problems = config_texts(answer)
        self.problems += problems
        return configs

    def _configured(
        self,
        kind: Kind,
        key: str,
        name: str,
        prefix: str,
        properties: Mapping[str, str],
        configure: Callable[[Any, Config], None],
    ) -> PluginSpec | None:
        found = self.find(kind, key, name, properties)
        if found is None:
            return None
        config = plain_config(properties, prefix)
        declared: type[Config] = found.config
        self._declare(declared, prefix)
        before = len(self.problems)
        parsed = self.ask(f"{key}={name}: reading its keys", lambda: declared.parse(config))
        if parsed is not None:
            self.ask(f"{key}={name}: configure", lambda: configure(found(), parsed), key)
        self.problems[before:] = [_prefixed(problem, prefix) for problem in self.problems[before:]]
        return PluginSpec(path_of(found), config)

    def _make(self, connector: type[Connector]) -> Connector:
        made = connector()
        made.is_bulk = self.is_bulk
        return made

    def _declare(self, config: type[Config], prefix: str) -> None:
        self.known_keys |= {prefix + key.name for key in keys_of(config)}
        self.secret_keys |= {prefix + key.name for key in keys_of(config) if key.kind is Password}


class _ProbeContext:
    """What a connector may ask of the worker while it is asked itself."""

    def __init__(self, worker: WorkerPort) -> None:
        self._worker = worker
        self.is_watching = False
        self.errors: list[Exception] = []

    def request_task_reconfiguration(self) -> None:
        self.is_watching = True

    def raise_error(self, error: Exception) -> None:
        self.errors.append(error)

    def partition_counts(self, topics: Collection[str]) -> Mapping[str, int]:
        return self._worker.partition_counts(topics)

    @property
    def worker_properties(self) -> Mapping[str, str]:
        return self._worker.worker_properties

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return self._worker.offset(partition)


def _aliases(properties: Mapping[str, str], key: str) -> list[str]:
    """The names that a list of aliases has, each once."""
    return [*dict.fromkeys(filter(None, (alias.strip() for alias in properties.get(key, "").split(","))))]


def _invalid(key: str, value: str, reason: str) -> Problem:
    return Problem(key, f"Invalid value {value} for configuration {key}: {reason}")


def _prefixed(problem: Problem, prefix: str) -> Problem:
    """The same problem in the words of the file, where the key stands behind a prefix."""
    key = problem.key
    if not key or key.startswith(prefix):
        return problem
    message = problem.message.replace(f'"{key}"', f'"{prefix}{key}"')
    message = message.replace(f" {key}:", f" {prefix}{key}:", 1)
    return Problem(prefix + key, message, problem.connector, problem.file)


def config_texts(answer: Sequence[Mapping[str, str]]) -> tuple[list[dict[str, str]], list[Problem]]:
    """The configurations that a connector has answered for its tasks, and what of them is no text."""
    problems = []
    for number, config in enumerate(answer):
        bad = [key for key, value in config.items() if not (isinstance(key, str) and isinstance(value, str))]
        if bad:
            kinds = ", ".join(f"{key!r} is {type(config[key]).__name__}" for key in bad)
            problems.append(Problem("", f"task_configs: of task {number}, {kinds}; expected text"))
    return [dict(config) for config in answer], problems


def place_of(error: BaseException) -> str:
    """Where it was raised, for people."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" (at {frames[-1].filename}:{frames[-1].lineno})" if frames else ""
