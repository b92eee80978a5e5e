"""A schema registry that is away, or refuses who asks, costs time and nothing else.

While it is away the run waits, says so, and goes on by itself; who was refused starts again when his password changes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import topics, wait
from tests.harness.certificates import Authority
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.gate import Gate
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.proxy import Proxy
from tests.harness.registry import SchemaRegistry
from tests.harness.server import free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

RECORDS = 30_000
RATE = 5_000
PARTITIONS = 4
RUN_S = 120.0
TEXT = "org.apache.kafka.connect.storage.StringConverter"
AVRO = "io.confluent.connect.avro.AvroConverter"
OLD, NEW = "the-password-of-yesterday", "the-password-of-today"
WAITS = "a converter cannot convert yet"


def pipeline(bootstrap: str, registry: str, topic: str, folder: Path) -> None:
    """Numbers through a topic, as Avro, into out.txt."""
    own = {
        "bootstrap.servers": bootstrap,
        "key.converter": TEXT,
        "value.converter": AVRO,
        "value.converter.schema.registry.url": registry,
        "offset.flush.interval.ms": 500,
    }
    (folder / "pipeline.toml").write_text(pipeline_toml(own, connectors(topic, folder)))


def connectors(topic: str, folder: Path) -> dict[str, dict[str, object]]:
    """A source and a sink."""
    source = {
        "connector.class": "Generator",
        "topic": topic,
        "records": RECORDS,
        "rate": RATE,
        "format": "sequence",
        "partitions": PARTITIONS,
    }
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "consumer.override.group.id": f"connect-{topic}",
    }
    return {"numbers": source, "copy": sink}


def numbers(folder: Path) -> list[int]:
    out = folder / "out.txt"
    return [*map(int, out.read_bytes().splitlines())] if out.exists() else []


def test_a_registry_that_is_away_is_waited_for_at_the_start_and_in_the_middle_and_nothing_is_lost(
    kafka: KafkaServer | UserKafka, topic: str, registry: SchemaRegistry, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    url = registry.url.replace(f":{registry.port}/", f":{port}/")
    pipeline(kafka.bootstrap, url, topic, tmp_path)
    with Proxy(tmp_path / "proxy", {port: registry.port}) as way:
        way.cut()
        check(way, kafka, topic, tmp_path, url)


def check(way: Proxy, kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path, url: str) -> None:
    """A run, to its end, whose way to the registry is cut at the start and once more."""
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        wait.until(lambda: WAITS in run.stderr, "the source waits", timeout_s=RUN_S)
        assert sum(topics.end_offsets(kafka.bootstrap, topic).values()) == 0
        way.flow()
        wait.until(lambda: len(numbers(tmp_path)) > 1_000, "lines", timeout_s=RUN_S)
        way.cut()
        told = run.stderr.count(WAITS)
        run.kill9("copy/0 task")  # the next one has to ask for the schema
        wait.until(lambda: run.stderr.count(WAITS) > told, "the sink waits", timeout_s=RUN_S)
        way.flow()
        assert run.wait(RUN_S) == 0, run.stderr
        report = run.report()
    seen = numbers(tmp_path)
    assert set(seen) == set(range(RECORDS))
    repeated = sum(count - 1 for count in Counter(seen).values())
    assert repeated <= report["totals"]["repeated_at_most"]
    assert url.partition("/apis")[0] in run.stderr


def test_a_registry_that_refuses_a_password_is_told_in_the_status_and_a_new_one_is_tried_at_once(
    kafka: KafkaServer | UserKafka, topic: str, registry: SchemaRegistry, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    login = tmp_path / "login"
    login.write_text(f"value=alice:{OLD}\n")
    (port,) = free_ports(1)
    with Gate(registry.port, authority.issue(tmp_path / "gate.pem", "gate")) as gate:
        gate.users["alice"] = OLD
        keys = {
            "bootstrap.servers": kafka.bootstrap,
            "key.converter": TEXT,
            "value.converter": TEXT,
            "offset.flush.interval.ms": 500,
            "listeners": f"http://127.0.0.1:{port}",
            "offset.storage.file.filename": tmp_path / "offsets",
            "config.providers": "file",
            "config.providers.file.class": "FileConfigProvider",
            "restart.backoff.refused.ms": 3_600_000,
        }
        asks = {
            "value.converter": AVRO,
            "value.converter.schema.registry.url": gate.url,
            "value.converter.schema.registry.ssl.truststore.location": authority.file,
            "value.converter.basic.auth.credentials.source": "USER_INFO",
            "value.converter.basic.auth.user.info": f"${{file:{login}:value}}",
        }
        (tmp_path / "worker.properties").write_text("".join(f"{key}={value}\n" for key, value in keys.items()))
        with Millrace("standalone", "worker.properties", folder=tmp_path) as run:
            rest = Rest(run, port)
            for name, config in connectors(topic, tmp_path).items():
                rest.make(name, {**config, **asks})
            wait.until(lambda: len(numbers(tmp_path)) > 1_000, "lines", timeout_s=RUN_S)
            gate.users["alice"] = NEW
            run.kill9("copy/0 task")  # the next one has to ask for the schema
            task = wait.until(lambda: rest.refused("copy"), "a task that was refused", timeout_s=RUN_S)
            assert task is not None
            assert f"the schema registry at {gate.url} refuses this client" in task["millrace"]["last_cause"]
            assert task["millrace"]["next_attempt_ms"] > 1_000_000
            assert rest.task("numbers")["state"] in ("RUNNING", "UNASSIGNED")  # it goes on, or has made all of them
            login.write_text(f"value=alice:{NEW}\n")
            wait.until(lambda: set(numbers(tmp_path)) == set(range(RECORDS)), "all numbers", timeout_s=RUN_S)
            told = run.stderr + rest.said
    assert gate.answers[401] == 1
    assert OLD not in told
    assert NEW not in told


class Rest:
    """What a worker says over REST."""

    def __init__(self, run: Millrace, port: int) -> None:
        self._run = run
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.said = ""
        wait.until(self._is_serving, "REST", timeout_s=RUN_S)

    def make(self, name: str, config: dict[str, Any]) -> None:
        texts = {key: str(value) for key, value in config.items()}
        answer = self._client.post("/connectors", json={"name": name, "config": texts})
        assert answer.status_code == 201, answer.text

    def task(self, name: str) -> dict[str, Any]:
        answer = self._client.get(f"/connectors/{name}/tasks/0/status")
        self.said += answer.text
        found: dict[str, Any] = answer.json()
        return found

    def refused(self, name: str) -> dict[str, Any] | None:
        """The status of a task that was refused, and waits."""
        task = self.task(name)
        is_so = task.get("state") == "RESTARTING" and task["millrace"]["last_kind"] == "refused"
        return task if is_so else None

    def _is_serving(self) -> bool:
        assert self._run.is_running, self._run.stderr
        try:
            return self._client.get("/").status_code == 200
        except httpx.TransportError:
            return False
