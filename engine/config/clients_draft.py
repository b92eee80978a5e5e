"""A client's settings while they are being read: what is settled, what is wrong, what a person should know.

Used by: engine.config.clients, engine.config.clients_security, engine.config.clients_idle.
Not here: which settings there are (clients_table.py, clients_java.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from engine.api.errors import Problem
from engine.config.clients_java import (
    IGNORED,
    INTERCEPTOR_SETTINGS,
    INTERCEPTORS,
    JAVA_NAMES,
    PASSIVE_CLASSES,
    PASSIVE_INTERCEPTORS,
    REFUSED,
    UNKNOWN_INTERCEPTOR,
)
from engine.config.clients_layers import Given, layered, override_problems
from engine.config.clients_table import ALIASES, NATIVE, OWNED, Native
from engine.config.masking import is_secret, shown
from engine.config.problems import did_you_mean
from engine.config.servers import bad_servers
from engine.config.worker import WorkerConfig

__all__ = [
    "RECONNECT",
    "RECONNECT_MS",
    "ClientSettings",
    "Draft",
    "Setting",
    "check_servers",
    "opened",
    "read_native",
    "reconnect_defaults",
    "take_passive_classes",
    "why_misread",
]

Setting = str | int | float | bool

#: From the first attempt at a broker to the next. librdkafka's own pauses begin with 100 ms and grow to 10 s, but only
#: while connections are refused. Who takes them and closes them (a balancer without its servers) would see 18 attempts
#: a second of each client, for ever; with this it is 6. It is no longer because half of it passes whenever a client
#: begins, between the server that it was told of and the broker that this one names.
RECONNECT_MS = 300
#: The longest is Java's: a broker that is back is left alone no longer.
RECONNECT_MAX_MS = 1_000
RECONNECT, _RECONNECT_MAX = "reconnect.backoff.ms", "reconnect.backoff.max.ms"
_WHOLE = re.compile(r"[+-]?[0-9]+\Z")
#: Settings of which Java takes numbers that librdkafka does not; the nearest it takes means the same.
_NEAREST = frozenset(
    {
        "batch.size",
        "connections.max.idle.ms",
        "fetch.max.bytes",
        "max.partition.fetch.bytes",
        # Java's "never" is 2147483647.
        "max.poll.interval.ms",
        "request.timeout.ms",
        "retry.backoff.ms",
        "socket.receive.buffer.bytes",
        "socket.send.buffer.bytes",
        "socket.timeout.ms",
        "topic.metadata.refresh.interval.ms",
    }
)
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?\Z")
#: Of librdkafka's table, what only programs can set.
_FOR_PROGRAMS = re.compile(r".*(_cb|_callback_data)\Z|opaque\Z|default_topic_conf\Z|enabled_events\Z|interceptors\Z")


class ClientSettings(Struct, frozen=True, kw_only=True):
    """What a line's client is made with, and what its pump has to know beside it."""

    settings: dict[str, Setting]  # librdkafka's names
    start_at: str = "earliest"  # consumers: where a partition that was never committed begins; or "latest", "none"
    fetch_max_records: int | None = None  # consumers: max.poll.records; None: not given, the pump decides
    record_bytes_max: int = 1_048_576  # producers: the largest key and value together
    given: tuple[str, ...] = ()  # names of settings that are no defaults
    warnings: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()  # values that no log may show


class Draft:
    """Collects one client's settings."""

    def __init__(self, client: str, secrets: Collection[str] = ()) -> None:
        """secrets: values that came from a provider; messages hide them."""
        self.client = client
        self.settings: dict[str, Setting] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.secrets: set[str] = set()
        self._provided = secrets

    def blame(self, given: Given, reason: str) -> None:
        """This setting's value will not do."""
        value = shown(given.key, given.value, self._provided)
        self.problem(given, f"Invalid value {value} for configuration {given.key}: {reason}")

    def problem(self, given: Given, message: str) -> None:
        """Something is wrong with this setting, said as it is."""
        self.problems.append(Problem(given.key, message, given.connector, given.file))

    def warn(self, given: Given, reason: str) -> None:
        """This setting does nothing."""
        self.warnings.append(f"{given.key} has no effect: {reason}")

    def settle(self, name: str, value: Setting) -> None:
        """This is what librdkafka is told."""
        self.settings[name] = value
        if is_secret(name):
            self.keep_secret(str(value))

    def keep_secret(self, value: str) -> None:
        """No log may show this."""
        if value:
            self.secrets.add(value)

    def flag(self, given: Given) -> bool:
        """Whether this setting is true; what is neither true nor false is a problem."""
        if given.value.lower() not in ("true", "false"):
            self.blame(given, "expected true or false")
        return given.value.lower() == "true"

    def take(self, given: Given) -> None:
        """Settle an ordinary setting by the tables: translate, warn, or refuse it."""
        name = given.target
        if name in OWNED:
            self.problem(given, f"{given.key} cannot be set: {OWNED[name]}")
        elif given.name in IGNORED:
            self.warn(given, IGNORED[given.name])
        elif given.name == INTERCEPTORS:
            self._take_interceptors(given)
        elif reason := next((why for prefix, why in INTERCEPTOR_SETTINGS.items() if given.name.startswith(prefix)), ""):
            self.warn(given, reason)
        elif given.name in REFUSED:
            self.problem(given, f"{given.key} cannot be used: {REFUSED[given.name]}")
        elif name in NATIVE and NATIVE[name].client in ("both", self.client):
            self.take_native(given, name)
        elif _FOR_PROGRAMS.match(given.name):
            self.problem(given, f"{given.key} cannot be set in a file: it takes a program's function or object")
        elif name in NATIVE:
            self.warn(given, f"it is a setting of {NATIVE[name].client}s")
        else:
            known = [*NATIVE, *ALIASES, *JAVA_NAMES]
            self.problem(given, f'{given.key}: no Kafka client knows "{given.name}"{did_you_mean(given.name, known)}')

    def _take_interceptors(self, given: Given) -> None:
        names = [name for name in map(str.strip, given.value.split(",")) if name]
        if not all(name in PASSIVE_INTERCEPTORS for name in names):
            self.blame(given, UNKNOWN_INTERCEPTOR)
            return
        for reason in dict.fromkeys(PASSIVE_INTERCEPTORS[name] for name in names):
            self.warn(given, reason)

    def take_native(self, given: Given, name: str, value: str | None = None) -> None:
        """Settle librdkafka's setting `name`. value: what the given one amounts to, where it was translated."""
        text = given.value if value is None else value
        native = NATIVE[name]
        if name in _NEAREST and _WHOLE.match(text) and not native.low <= int(text) <= native.high:
            nearest = min(max(int(text), native.low), native.high)
            if int(text) > native.high:
                self.warnings.append(f"{given.key}={text} is more than librdkafka takes; it is {nearest}")
            text = str(nearest)
        try:
            self.settle(name, read_native(native, text))
        except ValueError as error:
            self.blame(given, str(error))


def why_misread(native: Native, text: str) -> str:
    """What was expected of a value that is not of its setting's kind, such as a word for a number; empty: it is.

    A number out of range is of its kind.
    """
    if native.kind == "flag":
        return "" if text.lower() in ("true", "false") else "expected true or false"
    if native.kind == "choice":
        is_one = text.lower() in [choice.lower() for choice in native.choices]
        return "" if is_one else f"expected one of {', '.join(native.choices)}"
    if native.kind == "text" or (_WHOLE if native.kind == "whole" else _DECIMAL).match(text):
        return ""
    return _expected_number(native)


def read_native(native: Native, text: str) -> Setting:
    """A value of one of librdkafka's settings. Raises ValueError that says what was expected."""
    reason = why_misread(native, text)
    if reason:
        raise ValueError(reason)
    if native.kind == "flag":
        return text.lower() == "true"
    if native.kind == "choice":
        return next(choice for choice in native.choices if choice.lower() == text.lower())
    if native.kind == "text":
        return text
    if not native.low <= float(text) <= native.high:
        raise ValueError(_expected_number(native))
    return int(text) if _WHOLE.match(text) else float(text)


def _expected_number(native: Native) -> str:
    number = "a whole number" if native.kind == "whole" else "a number"
    return f"expected {number} from {native.low} to {native.high}"


def opened(
    client: str,
    worker: Mapping[str, str],
    connector: Mapping[str, str],
    worker_config: WorkerConfig,
    name: str,
    file: str,
    worker_file: str,
    secrets: Collection[str],
) -> tuple[Draft, dict[str, Given]]:
    """A draft with what concerns both clients: the override policy, servers; and what is left to take."""
    draft = Draft(client, secrets)
    draft.problems += override_problems(worker_config.override_policy, connector, name, file)
    given = layered(client, worker, connector, name, file, worker_file)
    check_servers(given, draft)
    return draft, given


def check_servers(given: Mapping[str, Given], draft: Draft) -> None:
    """Blame `bootstrap.servers` for what is none."""
    servers = given.get("bootstrap.servers")
    if servers is not None:
        for server, reason in bad_servers(servers.value):
            draft.blame(servers, f"{server}: {reason}")
        if not servers.value.strip(" ,"):
            draft.blame(servers, "expected HOST:PORT, separated by commas")


def reconnect_defaults(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Pauses between attempts at a broker; where `settings` has one of the two, the other goes with it."""
    first, last = settings.get(RECONNECT, RECONNECT_MS), settings.get(_RECONNECT_MAX, RECONNECT_MAX_MS)
    return {RECONNECT: min(int(last), RECONNECT_MS), _RECONNECT_MAX: max(int(first), RECONNECT_MAX_MS)}


def take_passive_classes(given: dict[str, Given], draft: Draft, names: Iterable[str]) -> None:
    """Serializers: what a converter has made is bytes already."""
    for name in names:
        setting = given.pop(name, None)
        if setting is not None and setting.value not in PASSIVE_CLASSES:
            draft.blame(
                setting,
                "Java's serializers are not loaded, the connector's converters make and read bytes; "
                "expected org.apache.kafka.common.serialization.ByteArray(De)serializer, or leave it out",
            )
