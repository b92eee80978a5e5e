"""The page of metrics is that of the table."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from engine.metrics.document import QUERIES, page
from engine.metrics.table import PROCESS_LABELS, PROCESS_METRICS, RUN_METRICS, TASK_LABELS, TASK_METRICS
from tests.harness.prometheus import installed
from tests.harness.server import UnavailableError

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == page(), "run: python -m engine.metrics.document > docs/metrics.md"


def test_every_query_asks_for_metrics_and_labels_that_are_there() -> None:
    labels = {
        metric.name: {*of_table, *metric.labels}
        for metrics, of_table in ((RUN_METRICS, ()), (TASK_METRICS, TASK_LABELS), (PROCESS_METRICS, PROCESS_LABELS))
        for metric in metrics
    }
    for _, query in QUERIES:
        (name,) = re.findall(r"millrace_\w+", query)
        assert set(re.findall(r"(?:by \(|\{)(\w+)", query)) <= labels[name]


def test_every_query_can_be_read_by_prometheus(tmp_path: Path) -> None:
    try:
        promtool = installed("promtool")
    except UnavailableError as error:
        pytest.skip(str(error))
    rules = "\n".join(f"- record: asked:{number}\n  expr: '{query}'" for number, (_, query) in enumerate(QUERIES))
    file = tmp_path / "rules.yml"
    file.write_text(_group(rules))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _group(rules: str) -> str:
    indented = "\n".join(f"  {line}" for line in rules.splitlines())
    return f"groups:\n- name: asked\n  rules:\n{indented}\n"
