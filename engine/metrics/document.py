"""docs/metrics.md out of the table of metrics: `python -m engine.metrics.document > docs/metrics.md`.

Used by: whoever changes the table; a test holds the page fresh.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from engine.metrics.table import (
    PROCESS_LABELS,
    PROCESS_METRICS,
    RUN_METRICS,
    TASK_LABELS,
    TASK_METRICS,
    Metric,
)
from engine.shm.board import SINK_STAGES, SOURCE_STAGES, Stage, State

__all__ = ["page"]

HEAD = """\
# Metrics

<!-- Made by `python -m engine.metrics.document`; change engine/metrics/table.py instead. -->

## How to get them

`--metrics-port PORT` (worker key `metrics.port`) serves `/metrics` in Prometheus' text format, or in OpenMetrics where
the scraper asks for it. Like other exporters it listens on all interfaces, IPv4 and IPv6, without a password: keep the
port behind a firewall, or do not open it. Port 0 takes one that is free and says which in the log.

```yaml
scrape_configs:
  - job_name: millrace
    static_configs: [{targets: ["worker-1:9464"]}]
```

`--metrics-file PATH` (worker key `metrics.file`) leaves the same text in a file for the node exporter's textfile
collector (`--collector.textfile.directory`): a bulk job that is over before anybody scrapes it is seen as well. The
name must end in `.prom`, since the collector reads no other, and its folder must be there. The file is replaced in one
step every 5 seconds, and once more when the run ends; from then on `millrace_run_finished` is 1. Everybody may read it.

Counters are read from memory that all processes share. They count from the start of the run, across restarts of tasks
and of the process that serves them, and a scrape takes nothing from the tasks.
"""

#: A question of an operator, and what to ask Prometheus.
QUERIES = (
    ("records a second into Kafka", 'sum by (connector) (rate(millrace_records_total{stage="acknowledge"}[1m]))'),
    ("records a second out of Kafka", 'sum by (connector) (rate(millrace_records_total{stage="put"}[1m]))'),
    ("how far sinks are behind", "sum by (connector) (millrace_task_lag_records)"),
    ("tasks that have failed or are started again", 'millrace_task_state{state=~"failed|restarting"} == 1'),
    ("tasks whose processes come and go", "increase(millrace_task_restarts_total[10m]) > 0"),
    ("tasks that wait for what is outside, for a minute now", "min_over_time(millrace_task_waits_for[1m]) == 1"),
    ("tasks whose loop is stuck, for a minute now", "millrace_task_heartbeat_age_seconds > 60"),
    ("who waits: a source for Kafka, Kafka for a sink", "millrace_task_ring_fill_ratio > 0.9"),
    ("memory of the whole worker", "sum(millrace_process_proportional_memory_bytes)"),
    ("the most memory it can come to hold", "millrace_memory_bound_bytes"),
    ("CPU by connector, in cores", "sum by (connector) (rate(millrace_process_cpu_seconds_total[1m]))"),
)


def page() -> str:
    """The whole page."""
    return f"{HEAD}\n{_tables()}\n{_stages()}\n{_queries()}"


def _tables() -> str:
    return "\n".join(
        (
            "## The metrics",
            "",
            "Of the run:",
            "",
            _table(RUN_METRICS, ()),
            "",
            f"Of each task, with the labels {_names(TASK_LABELS)}:",
            "",
            _table(TASK_METRICS, TASK_LABELS),
            "",
            f"Of each process, with the labels {_names(PROCESS_LABELS)}. `process` is `task`, `pump`, `both` where one",
            "process runs the two, `supervisor` or `control`; the last two belong to no connector:",
            "",
            _table(PROCESS_METRICS, PROCESS_LABELS),
            "",
            f"`millrace_task_state` has the states {_names(state.name.lower() for state in State)}.",
            "",
        )
    )


def _table(metrics: Iterable[Metric], labels: tuple[str, ...]) -> str:
    head = "further labels" if labels else "labels"
    rows = [f"| `{metric.name}` | {metric.type} | {_names(metric.labels)} | {metric.sentence} |" for metric in metrics]
    return "\n".join((f"| name | type | {head} | what it says |", "|---|---|---|---|", *rows))


def _stages() -> str:
    return "\n".join(
        (
            "## Stages",
            "",
            "| stage | a record has passed it when |",
            "|---|---|",
            *(f"| `{stage.name.lower()}` | {_MEANINGS[stage]} |" for stage in Stage),
            "",
            f"A source's records go through {_names(stage.name.lower() for stage in SOURCE_STAGES)};",
            f"a sink's through {_names(stage.name.lower() for stage in SINK_STAGES)}.",
            "",
        )
    )


def _queries() -> str:
    # A bar would end the cell, even between backticks.
    rows = [f"| {question} | `{query.replace('|', _BAR)}` |" for question, query in QUERIES]
    return "\n".join(("## Questions and queries", "", "| question | query |", "|---|---|", *rows, ""))


_BAR = "\\|"
_MEANINGS = {
    Stage.POLL: "the connector has given it",
    Stage.TRANSFORM: "the transforms have let it through",
    Stage.CONVERT: "it is bytes (source), or values (sink)",
    Stage.PRODUCE: "librdkafka has it",
    Stage.ACKNOWLEDGE: "Kafka has it",
    Stage.STORE: "its source offset is stored",
    Stage.CONSUME: "it was read from Kafka",
    Stage.PUT: "the connector has it",
    Stage.FLUSH: "the connector has it safe",
    Stage.COMMIT: "its consumer offset is committed",
}


def _names(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    sys.stdout.write(page())
