"""A worker that runs answers whatever it is asked as its OpenAPI document says, and neither it nor its data stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.schema import OPERATIONS, ask
from tests.harness.standalone import Kafka, Worker

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

#: Of each operation and way.
EXAMPLES = int(os.environ.get("MILLRACE_REST_EXAMPLES", "4"))


@pytest.fixture
def worker(kafka: Kafka, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(kafka, tmp_path)
    yield made
    made.close()


def test_no_request_takes_it_down_and_a_connector_that_nobody_names_goes_on(
    kafka: Kafka, topic: str, worker: Worker
) -> None:
    def existing() -> str:
        config = {"connector.class": "NullSink", "topics": topic}
        assert worker.client.put("/connectors/drop/config", json=config).is_success
        return "drop"

    def count() -> int:
        return sum(topics.end_offsets(kafka.bootstrap, topic).values())

    worker.start()
    worker.make("numbers", {"connector.class": "Generator", "topic": topic, "format": "sequence", "rate": "100"})
    worker.wait_for("numbers", "RUNNING", "RUNNING")
    control = worker.run.wait_for("control")
    for operation in OPERATIONS:
        ask(str(worker.client.base_url), operation, EXAMPLES, existing, is_seeded=False)
    assert worker.run.wait_for("control") == control
    assert "unexpected" not in worker.run.stderr
    assert worker.states("numbers") == ["RUNNING", "RUNNING"]
    before = count()
    wait.until(lambda: count() > before, "more records in Kafka")
    worker.end()
