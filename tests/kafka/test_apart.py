"""Two connectors whose libraries exclude each other move records in one worker at the same time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.environments import install, virtual
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

RECORDS = 500
TEXT = "StringConverter"
SOURCE = """
import time
import measures
from engine.api.connector import SourceConnector
from engine.api.record import SourceRecord
from engine.api.task import SourceTask

class RulerTask(SourceTask):
    def start(self, config):
        self.topic, self.sent = config["topic"], 0

    def poll(self):
        if self.sent >= RECORDS:
            self.context.end()
            return None
        self.sent += 50
        value = lambda: f"{measures.VERSION} {time.monotonic_ns()}"
        self.context.wait(0.05)
        return [SourceRecord(source_partition={}, source_offset={}, topic=self.topic, value=value()) for _ in range(50)]

class Ruler(SourceConnector):
    task = RulerTask
    def task_configs(self, tasks_max):
        assert measures.VERSION == WANTED, measures.__file__
        return [{"topic": self.properties["topic"]}]
"""


def test_both_move_records_each_with_its_version_of_the_library(
    kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path
) -> None:
    connectors = {}
    for name, version in (("long", "1.0"), ("short", "2.0")):
        site = virtual(tmp_path / "plugins" / name)
        text = SOURCE.replace("RECORDS", str(RECORDS)).replace("WANTED", repr(version))
        points = {"millrace.connectors": {"Ruler": "ruler:Ruler"}}
        install(site, "ruler", version, {"ruler.py": text}, points=points, requires=[f"measures=={version}"])
        install(site, "measures", version, {"measures.py": f"VERSION = {version!r}"})
        connectors[name] = {"connector.class": "Ruler", "connector.plugin.version": version, "topic": topic}
    out = tmp_path / "out.txt"
    connectors["out"] = {"connector.class": "FileStreamSink", "topics": topic, "file": str(out)}
    worker = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "plugin.path": str(tmp_path / "plugins"),
    }
    (tmp_path / "run.toml").write_text(pipeline_toml(worker, connectors))
    with Millrace("run", "run.toml", "--json", folder=tmp_path) as millrace:
        assert millrace.wait() == 0, millrace.stderr
    assert json.loads(millrace.stdout)["totals"]["records_out"] == 2 * RECORDS
    made: dict[str, list[int]] = {}
    for line in out.read_text().splitlines():
        version, at_ns = line.split()
        made.setdefault(version, []).append(int(at_ns))
    assert {version: len(times) for version, times in made.items()} == {"1.0": RECORDS, "2.0": RECORDS}
    assert max(min(times) for times in made.values()) < min(max(times) for times in made.values())
