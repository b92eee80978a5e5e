"""What every connector keeps, whatever it reads or writes. The suites of sources and of sinks inherit it.

C1  Every key has a name of its own and a description; its default is a value that it takes.
C2  A good configuration has no problems. A value that no key of its kind can take is refused by the key's name, and so
    is a required key that is missing, and what `bad` of the case says.
C3  Keys that hold secrets are Password. No log line, error or repr shows one, whether the system takes it or not.
C4  task_configs gives at most tasks_max configurations, all of them text, and the same when asked again.
C5  A connector can be stopped before it was started and when that has failed, and gives its threads back.

Used by: sources.py, sinks.py, the suites of connectors in tests.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Literal, get_args, get_origin

from msgspec import NODEFAULT, Struct

from engine.api.config import Key, Password, keys_of
from engine.api.connector import Connector
from engine.api.errors import ConfigError, ConnectError, Problem
from engine.api.testing.calls import patiently
from engine.api.testing.contexts import FakeConnectorContext

__all__ = ["SECRET", "Case", "ConnectorSuite"]

#: What is given as a secret, and looked for in all that is shown.
SECRET = "the-secret-of-the-suite"  # noqa: S105  it opens nothing
_SECRET_NAME = re.compile(r"(^|[._-])(password|passphrase|secret|token|api[._-]?key)$", re.IGNORECASE)
_WRONG = {int: "many", float: "many", bool: "perhaps"}


class Case(Struct, kw_only=True):
    """How a connector is made to work."""

    config: Mapping[str, str]  # with which it works
    bad: Mapping[str, str] = {}  # values that are wrong, each beside the rest of `config`, that the suite cannot guess
    secrets: Mapping[str, str] = {}  # what goes with secrets, such as a name; SECRET may stand within values


class ConnectorSuite:
    """Tests of a class of pytest's; whoever inherits it gives `connector` and the fixture `case`."""

    connector: ClassVar[type[Connector]]

    def test_c1_every_key_is_declared(self, case: Case) -> None:
        keys = keys_of(self.connector.config)
        names = [key.name for key in keys]
        assert len({*names}) == len(names), f"keys of one name: {sorted(names)}"
        for key in keys:
            assert key.description, f"key {key.name} has no description"
            if isinstance(key.default, str | int | float) and not isinstance(key.default, Password):
                text = str(key.default).lower() if isinstance(key.default, bool) else str(key.default)
                _, words = self.connector.config.read_key(key, text)
                assert not words, f"the default of key {key.name} is not taken: {words}"

    def test_c2_what_is_wrong_is_told_by_its_key(self, case: Case) -> None:
        config = self.connector.config
        config.parse(case.config)
        problems = patiently(self.connector().validate, case.config)
        assert problems == [], f"a configuration with which it works: {problems}"
        for key in keys_of(config):
            for text in _wrong_texts(key):
                _expect(key.name, text, self._problems({**case.config, key.name: text}))
            if key.default is NODEFAULT:
                rest = {name: text for name, text in case.config.items() if name != key.name}
                _expect(key.name, "nothing", self._problems(rest))
        for name, text in case.bad.items():
            _expect(name, text, self._problems({**case.config, name: text}))

    def test_c3_no_secret_is_shown(self, case: Case) -> None:
        keys = keys_of(self.connector.config)
        secrets = [key.name for key in keys if key.kind is Password]
        open_ones = [key.name for key in keys if key.name not in secrets and _SECRET_NAME.search(key.name)]
        assert not open_ones, f"keys that hold secrets are Password: {open_ones}"
        plain = {**case.config, **dict.fromkeys(secrets, SECRET)}
        config = {**plain, **case.secrets}
        with _shown() as shown:
            acts: list[Callable[[], Any]] = [
                lambda: repr(self.connector.config.parse(plain)),
                lambda: self.connector().validate(config),
                lambda: self._live(config),
            ]
            for act in acts:
                try:
                    shown.append(str(act()))
                except Exception as error:  # noqa: BLE001  what it says is what this is about
                    shown += traceback.format_exception(error)
        places = [text for text in shown if SECRET in text]
        assert not places, f"a secret is shown: {places}"

    def test_c4_task_configs_are_text_and_as_many_as_allowed(self, case: Case) -> None:
        connector = self.started_connector(case.config)
        for tasks_max in (1, 2, 5):
            configs = connector.task_configs(tasks_max)
            assert len(configs) <= tasks_max, f"{len(configs)} tasks, of {tasks_max} at most"
            texts = [text for config in configs for pair in config.items() for text in pair]
            assert all(isinstance(text, str) for text in texts), f"not all of it is text: {configs}"
            assert list(connector.task_configs(tasks_max)) == list(configs), "asked again it says something else"
        connector.stop()

    def test_c5_a_connector_gives_back_what_it_took(self, case: Case) -> None:
        self.connector().stop()
        for name, text in case.bad.items():
            refused = self.connector()
            refused.initialize(FakeConnectorContext())
            with suppress(ConnectError):  # or its tasks find out
                refused.start({**case.config, name: text})
            refused.stop()
        before = {*threading.enumerate()}
        self.started_connector(case.config).stop()
        left = [thread.name for thread in {*threading.enumerate()} - before]
        assert not left, f"threads of a connector that was stopped: {left}"

    def started_connector(self, config: Mapping[str, str]) -> Connector:
        """A connector that was started; for who inherits this as well."""
        connector = self.connector()
        connector.initialize(FakeConnectorContext())
        patiently(connector.start, config)
        return connector

    def task_configs(self, config: Mapping[str, str], tasks_max: int = 1) -> list[Mapping[str, str]]:
        """What its tasks are started with."""
        connector = self.started_connector(config)
        try:
            return list(connector.task_configs(tasks_max))
        finally:
            connector.stop()

    def _live(self, config: Mapping[str, str]) -> None:
        """Have a task do something with this configuration."""
        raise NotImplementedError

    def _problems(self, config: Mapping[str, str]) -> list[Problem]:
        try:
            self.connector.config.parse(config)
            return patiently(self.connector().validate, config)
        except ConfigError as error:
            return list(error.problems)


def _wrong_texts(key: Key) -> Iterator[str]:
    """What no value of this key can be."""
    if key.kind in _WRONG:
        yield _WRONG[key.kind]
    elif get_origin(key.kind) is Literal:
        yield "none of " + ", ".join(map(str, get_args(key.kind)))
    for meta in key.metas:
        if meta.ge is not None:
            yield str(int(meta.ge) - 1)
        if meta.le is not None:
            yield str(int(meta.le) + 1)
        if meta.min_length:
            yield ""


def _expect(name: str, text: str, problems: list[Problem]) -> None:
    told = [problem for problem in problems if problem.key == name]
    assert told, f"{name}={text} is not refused by its key: {problems}"
    assert all(problem.message for problem in told), f"{name}={text} is refused without a word"


@contextmanager
def _shown() -> Iterator[list[str]]:
    """All that is logged meanwhile, at any level."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root = logging.getLogger()
    listener, level = Listener(), root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(listener)
