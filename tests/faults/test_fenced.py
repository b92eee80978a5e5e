"""A sink whose member of the group was fenced is started again, takes its place back, and loses nothing.

That is what a killed pump can do to the one after it: a request of the former life that was on its way reaches the
broker when the new life has joined under the same name already.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

RECORDS = 12_000
RATE = 3_000
TEXT = "org.apache.kafka.connect.storage.StringConverter"
ASK_S = 10.0


def pipeline(bootstrap: str, topic: str, folder: Path) -> None:
    worker = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 300,
    }
    source = {"connector.class": "Generator", "topic": topic, "records": RECORDS, "rate": RATE, "format": "sequence"}
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "consumer.override.group.id": f"group-{topic}",
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"numbers": source, "copy": sink}))


def instance_id(bootstrap: str, group: str) -> str:
    """The name of the group's only member."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    (member,) = admin.describe_consumer_groups([group], request_timeout=ASK_S)[group].result(ASK_S).members
    assert member.group_instance_id
    return str(member.group_instance_id)


def take_place(bootstrap: str, group: str, topic: str, instance: str) -> None:
    """Join under a name that another has; the broker fences that one."""
    client = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "group.instance.id": instance,
            "partition.assignment.strategy": "range",
            "log_level": 0,
        }
    )
    client.subscribe([topic])
    wait.until(lambda: client.poll(0.05) or client.assignment(), "the place of the other")
    client.close()  # as a member with a name it stays; nobody else does anything in its name


def test_a_sink_that_was_fenced_is_started_again_and_loses_nothing(
    kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path
) -> None:
    pipeline(kafka.bootstrap, topic, tmp_path)
    out = tmp_path / "out.txt"
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait.until(lambda: out.exists() and out.stat().st_size > 1000, "lines")
        take_place(kafka.bootstrap, f"group-{topic}", topic, instance_id(kafka.bootstrap, f"group-{topic}"))
        assert run.wait() == 0, run.stderr
        report = run.report()
    assert "another process has joined with the same group.instance.id" in run.stderr
    assert report["totals"]["restarts"] == 1, run.stderr
    seen = [int(line) for line in out.read_bytes().splitlines()]
    assert set(seen) == set(range(RECORDS))
    assert len(seen) - RECORDS <= report["totals"]["repeated_at_most"]
    assert topics.group_offsets(kafka.bootstrap, f"group-{topic}")
