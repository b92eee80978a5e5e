"""Fixtures of all tests: a real Kafka for the session, a fresh topic for a test, and nothing left out in silence."""

from __future__ import annotations

import logging
import re
import signal
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Tests import `tests.harness` by this. At the end, so that the installed engine, if there is one, is the one tested.
sys.path.append(str(Path(__file__).parent.parent))

from tests.harness import skips, topics
from tests.harness.kafka import KafkaServer, UserKafka, bootstrap_of_user
from tests.harness.postgres import DATABASE, LIMITED, PASSWORD, PostgresServer
from tests.harness.registry import SchemaRegistry
from tests.harness.server import UnavailableError

# A shell that starts the tests behind its back has them ignore what Ctrl-C sends, and so would what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
TOPIC_NAME_LENGTH_MAX = 150
settings.register_profile("millrace", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("millrace")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a command that runs in this process has set up for its log is gone afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer | UserKafka]:
    """The Kafka of this run, shared by its tests: the user's servers, else a broker of ours. Has `.bootstrap`."""
    bootstrap = bootstrap_of_user()
    if bootstrap is not None:
        yield UserKafka(bootstrap)
        return
    with _start_broker(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaServer]:
    """A broker for this test alone, which may kill and restart it."""
    if bootstrap_of_user() is not None:
        pytest.skip("restarts the broker, and MILLRACE_TEST_BOOTSTRAP names servers that are not ours to restart")
    with _start_broker(tmp_path / "kafka") as server:
        yield server


@pytest.fixture
def topic(kafka: KafkaServer | UserKafka, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a fresh topic with 4 partitions, dropped after the test."""
    readable = re.sub(r"[^a-zA-Z0-9._-]+", "-", request.node.name)[:TOPIC_NAME_LENGTH_MAX]
    name = f"{readable}-{uuid.uuid4().hex[:8]}"
    topics.create_topic(kafka.bootstrap, name, partitions=4)
    yield name
    topics.delete_topic(kafka.bootstrap, name)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SchemaRegistry]:
    """The schema registry of this run, shared by its tests, which use subjects of their own."""
    with _start_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The PostgreSQL of this run, shared by its tests, one at a time (`database`)."""
    with _start_postgres(tmp_path_factory.mktemp("postgres")) as server:
        server.query(f"CREATE ROLE {LIMITED} LOGIN PASSWORD '{PASSWORD}'")
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The name of a database with nothing in it. The server may be killed; it runs again for the next test."""
    if not postgres.is_running:
        postgres.start()
    postgres.empty()
    return DATABASE


def _start_registry(folder: Path) -> SchemaRegistry:
    try:
        return SchemaRegistry(folder).start()
    except UnavailableError as error:
        pytest.skip(f"no schema registry: {error}")


def _start_postgres(folder: Path) -> PostgresServer:
    try:
        return PostgresServer(folder).start()
    except UnavailableError as error:
        pytest.skip(f"no real PostgreSQL: {error}")


def _start_broker(folder: Path) -> KafkaServer:
    try:
        return KafkaServer(folder).start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    skips.fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    skips.fail_if_skipped(report)
    return report


@pytest.hookimpl(optionalhook=True)  # there with several workers only
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.harness.workers import Apart  # xdist is there, then

    return Apart(config, log)


@pytest.hookimpl(trylast=True)  # what -k and -m leave out is not counted
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips.leave_long(config, items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    skips.tell_of_long(session.config)


@pytest.hookimpl(optionalhook=True)  # there with several workers only
def pytest_testnodedown(node: Any) -> None:
    skips.hear_of_long(node.config, getattr(node, "workeroutput", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skips.count_long(terminalreporter, config)
    skips.name_skipped(terminalreporter, terminalreporter.stats.get("skipped", []))
