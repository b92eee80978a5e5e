"""The workers that every test of this folder asks: the same questions, the same answers expected of each.

    millrace               `millrace standalone`
    connect                the real Kafka Connect 4.3.1, standalone: the judge
    connect-distributed    the same, distributed: where a test does not say that its mode matters

Every run asks Millrace, `tox -e dual` all three. MILLRACE_DUAL chooses, with commas between; MILLRACE_DUAL_URL is a
running worker that is asked instead of them, on this machine, because connectors read and write files here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dual.asked import Asked
from tests.harness.connect import ConnectWorker, StandaloneConnect
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import UnavailableError
from tests.harness.standalone import StandaloneMillrace

Kafka = KafkaServer | UserKafka
DEFAULT = "millrace"
#: Millrace restarts what has failed; Kafka Connect's way is asked for where its answers are compared.
AS_CONNECT = {"restart.max": "0"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "whole_worker" in metafunc.fixturenames:
        chosen = "url" if os.environ.get("MILLRACE_DUAL_URL") else os.environ.get("MILLRACE_DUAL", DEFAULT)
        metafunc.parametrize("whole_worker", chosen.split(","), indirect=True, scope="session")


@pytest.fixture(scope="session")
def whole_worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """One worker for all tests."""
    kind = request.param
    if kind == "url":
        yield Asked(kind, os.environ["MILLRACE_DUAL_URL"].rstrip("/"))
        return
    kafka: Kafka = request.getfixturevalue("kafka")
    folder = tmp_path_factory.mktemp(kind)
    try:
        with contextlib.ExitStack() as stack:
            server = _worker(kind, folder, kafka.bootstrap)
            stack.enter_context(server)
            yield Asked(kind, server.url)
    except UnavailableError as error:
        pytest.skip(f"no real Kafka Connect: {error}")


@pytest.fixture
def worker(whole_worker: Asked) -> Iterator[Asked]:
    """The worker, without connectors before and after the test."""
    whole_worker.clear()
    yield whole_worker
    whole_worker.clear()


def _worker(kind: str, folder: Path, bootstrap: str) -> StandaloneMillrace | ConnectWorker:
    if kind == "millrace":
        return StandaloneMillrace(folder, bootstrap, AS_CONNECT)
    if kind == "connect":
        return StandaloneConnect(folder, bootstrap)
    if kind == "connect-distributed":
        return ConnectWorker(folder, bootstrap)
    raise pytest.UsageError(f"MILLRACE_DUAL names {kind!r}; expected millrace, connect or connect-distributed")
