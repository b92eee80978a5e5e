"""A limit on descriptors is raised where it may be, refused with the numbers where not, named where it is reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.descriptors import needed
from tests.harness import wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.measure import descriptors

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
TASKS = 5
#: Of TASKS sources and as many sinks, on the one broker of the tests.
NEEDED = needed([2] * TASKS * 2, brokers=1)
PLUGINS = {"PYTHONPATH": str(Path(__file__).parent / "plugins")}
LIMIT = re.compile(r"^Max open files +(\S+)", re.MULTILINE)


def pipeline(bootstrap: str, topic: str, folder: Path, sink: str = "NullSink", tasks: int = TASKS) -> None:
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 200,
        "ring.bytes": 65536 * 4,
    }
    source = {"connector.class": "Generator", "topic": topic, "format": "sequence", "records": 2_000, "rate": 1_000}
    takes = {"connector.class": sink, "topics": topic, "consumer.override.group.id": f"connect-{topic}"}
    connectors = {"numbers": {**source, "tasks.max": tasks}, "copy": {**takes, "tasks.max": tasks}}
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, connectors))


def test_a_limit_that_may_be_raised_is_raised_and_what_is_planned_suffices(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka.bootstrap, topic, tmp_path)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, open_files=(NEEDED - 1, 4000)) as run:
        most = 0

        def is_over() -> bool:
            nonlocal most
            most = max(most, *(len(descriptors(pid)) for pid in run.pids() or [run.pid]))
            return not run.is_running

        pump = run.wait_for("copy/0 pump")
        told = LIMIT.search(Path(f"/proc/{pump}/limits").read_text())
        wait.until(is_over, "end", timeout_s=120.0)
        assert run.wait() == 0, run.stderr
    assert told is not None
    assert told[1] == "4000"
    print(f"at most {most} open files in a process; planned: {NEEDED}")
    assert most <= NEEDED


def test_a_limit_that_does_not_suffice_is_refused_with_the_numbers_before_anything_starts(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka.bootstrap, topic, tmp_path)
    with Millrace("run", "pipeline.toml", folder=tmp_path, open_files=(NEEDED - 1, NEEDED - 1)) as run:
        assert run.wait() == 2, run.stderr
    assert f"needs {NEEDED} open files and may have {NEEDED - 1} (ulimit -Hn)" in run.stderr
    assert not list(tmp_path.glob("*.board")), "nothing was started"


def test_a_sink_that_leaves_files_open_fails_with_a_reason_that_says_so(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka.bootstrap, topic, tmp_path, "leaving_sink.LeavingSinkConnector", tasks=1)
    few = needed([2, 2], brokers=1)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, environment=PLUGINS, open_files=(few, few)) as run:
        assert run.wait() == 1, run.stderr
        (copy,) = (of for of in run.report()["connectors"] if of["name"] == "copy")
    reason = copy["tasks"][0]["reason"]
    assert "Too many open files" in reason
    assert f"all {few} open files that it may: allow more (ulimit -n), or find who leaves them open" in reason
