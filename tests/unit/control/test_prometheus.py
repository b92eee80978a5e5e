"""A real Prometheus scrapes the control process, and finds what the board says."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.metrics.document import QUERIES
from engine.shm.board import Stage
from tests.harness import wait
from tests.harness.prometheus import Prometheus, installed
from tests.harness.server import UnavailableError
from tests.unit.control.serving import Control
from tests.unit.metrics.boards import filled_board

pytestmark = pytest.mark.slow  # the first scrape comes after up to 5 s


@pytest.fixture(autouse=True)
def _installed() -> None:
    try:
        installed("prometheus")
    except UnavailableError as error:
        pytest.skip(str(error))


def test_it_sees_every_count_and_what_is_counted_next(tmp_path: Path) -> None:
    descriptor, board = filled_board(source_records=1000, sink_records=900)
    with Control(descriptor) as control, Prometheus(tmp_path, f"127.0.0.1:{control.port}") as prometheus:
        (put,) = prometheus.wait_for('millrace_records_total{stage="put"}')
        assert put.value == 900
        assert (put.labels["connector"], put.labels["task"], put.labels["type"]) == ("copy", "0", "sink")
        (lag,) = prometheus.query("sum by (connector) (millrace_task_lag_records)")
        assert (lag.labels, lag.value) == ({"connector": "copy"}, 100)
        states = prometheus.query("millrace_task_state == 1")
        assert {(sample.labels["connector"], sample.labels["state"]) for sample in states} == {
            ("orders", "done"),
            ("copy", "running"),
        }
        board.row(1).count(Stage.PUT, 50)
        prometheus.wait_for('millrace_records_total{stage="put"} == 950')
        (up,) = prometheus.query("up")
        assert up.value == 1


def test_the_queries_of_the_page_have_answers(tmp_path: Path) -> None:
    descriptor, _ = filled_board()
    with Control(descriptor) as control, Prometheus(tmp_path, f"127.0.0.1:{control.port}") as prometheus:
        # A rate needs two scrapes.
        wait.until(lambda: prometheus.query("count_over_time(up[1m]) > 1"), "second scrape", timeout_s=30)
        for question, query in QUERIES:
            is_condition = any(sign in query for sign in ("==", ">"))
            assert prometheus.query(query) or is_condition, question
