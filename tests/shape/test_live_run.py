"""A run that goes has the shape that docs/architecture.md draws.

Two processes for each task, and stage processes where a connector asks for them; their own shared memory; frames of
many records; librdkafka's threads on the far bank only, and none of ours anywhere; a metric for each task.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.task.crew import DEALT_PER_STAGE
from tests.harness import wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.prometheus import Prometheus, installed
from tests.harness.server import UnavailableError, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TASKS = ["copy/0", "copy/1", "numbers/0"]
STAGES = ["numbers/0 stage 0", "numbers/0 stage 1", "copy/0 stage 0", "copy/1 stage 0"]
RATE = 50_000
#: At the sink before anybody looks.
RECORDS = 100_000
#: A record at a time would be 1. At this rate an idle machine looks every 0.2 ms and finds 10; at full speed it is
#: thousands (tests/kafka/test_run.py, of a bulk run).
BATCH_RECORDS_MIN = 2


class Run:
    """The run, and the port of its metrics."""

    def __init__(self, millrace: Millrace, port: int) -> None:
        self.millrace = millrace
        self.target = f"127.0.0.1:{port}"
        self._url = f"http://{self.target}/metrics"

    def metrics(self) -> dict[tuple[str, str, str], float]:
        """Each counter by stage: its value by name, task ("copy/0") and stage."""
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, f"{sample.labels['connector']}/{sample.labels['task']}", sample.labels["stage"]): sample.value
            for family in families
            for sample in family.samples
            if "stage" in sample.labels
        }

    def of_stage_processes(self, name: str) -> dict[str, float]:
        """A metric of processes: its value by role, of stage processes alone."""
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {
            f"{sample.labels['connector']}/{sample.labels['task']} {sample.labels['process']}": sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and sample.labels["process"].startswith("stage ")
        }

    def records_put(self) -> float:
        try:
            metrics = self.metrics()
        except OSError:
            return 0
        return sum(
            value for (name, _, stage), value in metrics.items() if (name, stage) == ("millrace_records_total", "put")
        )


@pytest.fixture(scope="module")
def run(kafka: KafkaServer | UserKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("live")
    (port,) = free_ports(1)
    text = "org.apache.kafka.connect.storage.StringConverter"
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": text, "value.converter": text}
    topic = f"live-{folder.name}-{port}"
    connectors = {
        "numbers": {
            "connector.class": "Generator",
            "topic": topic,
            "format": "sequence",
            "rate": RATE,
            "stage.processes": 2,
        },
        "copy": {"connector.class": "NullSink", "topics": topic, "tasks.max": 2, "stage.processes": 1},
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, connectors))
    arguments = ("run", "pipeline.toml", "--forever", "--metrics-port", str(port))
    with Millrace(*arguments, folder=folder) as millrace:
        going = Run(millrace, port)
        wait.until(lambda: going.records_put() >= RECORDS, "all records at the sink", timeout_s=60)
        yield going


@pytest.fixture(scope="module", autouse=True)
def prometheus(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus | None]:
    """From the first test on, as its first scrape may come 5 s later; None: there is none here."""
    try:
        installed("prometheus")
    except UnavailableError:
        yield None
        return
    with Prometheus(tmp_path_factory.mktemp("prometheus"), run.target) as server:
        yield server


def threads(pid: int) -> list[str]:
    return [(folder / "comm").read_text().strip() for folder in Path(f"/proc/{pid}/task").iterdir()]


def rings(pid: int) -> set[str]:
    """The rings a process has mapped, each by the inode of its memory."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return set(re.findall(r" (\d+) +/memfd:millrace:", maps))


def test_each_task_has_a_task_process_and_a_pump(run: Run) -> None:
    banks = {f"{task} {bank}" for task in TASKS for bank in ("task", "pump")}
    assert {role for role in run.millrace.roles() if role.endswith((" task", " pump"))} == banks


def test_stage_processes_are_those_that_a_connector_asks_for(run: Run) -> None:
    assert {role for role in run.millrace.roles() if " stage " in role} == set(STAGES)


def test_the_processes_of_a_line_share_one_memory_and_nobody_else_maps_it(run: Run) -> None:
    roles = run.millrace.roles()
    shared = [(rings(roles[f"{task} task"]), rings(roles[f"{task} pump"])) for task in TASKS]
    for of_task, of_pump in shared:
        assert of_task == of_pump
        assert len(of_task) == 1
    for stage in STAGES:
        assert rings(roles[stage]) == rings(roles[f"{stage.partition(' stage ')[0]} task"])
    assert len(set.union(*(of_task for of_task, _ in shared))) == len(TASKS)
    assert not rings(run.millrace.pid)


def test_librdkafka_runs_in_pumps_only_and_no_thread_is_ours(run: Run) -> None:
    roles = run.millrace.roles()
    for task in TASKS:
        assert len(threads(roles[f"{task} task"])) == 1
        assert all(len(threads(pid)) == 1 for role, pid in roles.items() if role.startswith(f"{task} stage"))
        of_pump = threads(roles[f"{task} pump"])
        assert len([name for name in of_pump if not name.startswith("rdk:")]) == 1
        assert len(of_pump) > 1
    assert len(threads(run.millrace.pid)) == 1


# Both of a sink's tasks together: one of them may have all partitions.
@pytest.mark.parametrize(
    ("tasks", "stages"),
    [
        (("numbers/0",), ("poll", "convert", "produce")),
        (("copy/0", "copy/1"), ("consume", "convert", "put")),
    ],
)
def test_records_move_in_batches(run: Run, tasks: tuple[str, ...], stages: tuple[str, ...]) -> None:
    metrics = run.metrics()
    for stage in stages:
        records, batches = (
            sum(metrics[f"millrace_{what}_total", task, stage] for task in tasks) for what in ("records", "batches")
        )
        assert records > 0, stage
        print(f"{stage}: {records / batches:.1f} records a batch")
        assert records / batches >= BATCH_RECORDS_MIN, f"{records:g} records in {batches:g} batches at {stage}"


def test_every_task_is_counted_for_itself(run: Run) -> None:
    # Kafka's answers may still be on their way to the pump, on a busy machine, when a sink has the records.
    acknowledged = ("millrace_records_total", "numbers/0", "acknowledge")
    wait.until(lambda: run.metrics()[acknowledged] >= RECORDS, "acknowledgements of all records", timeout_s=60)
    metrics = run.metrics()
    assert {task for _, task, _ in metrics} == set(TASKS)
    assert sum(metrics["millrace_records_total", f"copy/{task}", "put"] for task in (0, 1)) >= RECORDS


def test_every_stage_process_has_its_turn_and_is_counted_for_itself(run: Run) -> None:
    def batches() -> dict[str, float]:
        return run.of_stage_processes("millrace_stage_process_batches_total")

    # One of the sink's tasks may have all partitions.
    wait.until(lambda: min(batches()[stage] for stage in STAGES[:2]) > 0, "batches at both", timeout_s=60)
    assert set(batches()) == set(STAGES)
    found = batches()
    in_turn = found["numbers/0 stage 0"] - found["numbers/0 stage 1"]
    # Each may have so many that are dealt and not counted, and the two are not read at the same moment.
    assert abs(in_turn) <= 2 * DEALT_PER_STAGE, found
    busy = run.of_stage_processes("millrace_stage_process_busy_seconds_total")
    assert all(busy[stage] > 0 for stage in STAGES[:2])
    memory = run.of_stage_processes("millrace_process_resident_memory_bytes")
    assert set(STAGES) <= set(memory)


def test_a_real_prometheus_scrapes_every_task(run: Run, prometheus: Prometheus | None) -> None:
    if prometheus is None:
        pytest.skip("no prometheus here")
    for task in TASKS:
        connector, number = task.split("/")
        place = f'connector="{connector}",task="{number}"'
        (state,) = prometheus.wait_for(f"millrace_task_state{{{place}}} == 1")
        assert state.labels["state"] == "running"
    (sent,) = prometheus.wait_for('millrace_records_total{connector="numbers",stage="acknowledge"} > 0')
    (put,) = prometheus.wait_for('sum(millrace_records_total{connector="copy",stage="put"}) > 0')
    now = run.metrics()
    assert RECORDS <= put.value <= run.records_put()
    assert sent.value <= now["millrace_records_total", "numbers/0", "acknowledge"]
    (up,) = prometheus.query("up")
    assert up.value == 1
