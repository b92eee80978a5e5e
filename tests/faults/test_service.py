"""Under a service manager a worker whose supervisor is killed, or hangs, moves data again within seconds.

A stand-in for systemd starts it and watches it (tests.harness.service); the worker, its processes and the broker are
real.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import topics, wait
from tests.harness.engine import pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.service import Service

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

BACK_S = 5.0
#: On a machine that is busy with other work, so many times its first start, which takes 1.5 s on one that is not.
BACK_STARTS = 2.5
WATCHDOG_S = 2.0
RATE = 1000


def lines(out: Path) -> list[bytes]:
    return out.read_bytes().splitlines() if out.exists() else []


@pytest.fixture
def service(kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path) -> Iterator[Service]:
    held = socket.create_server(("127.0.0.1", 0))
    text = {"key.converter": "String", "value.converter": "String"}
    (tmp_path / "pipeline.toml").write_text(
        pipeline_toml(
            {
                "bootstrap.servers": kafka.bootstrap,
                **text,
                "offset.flush.interval.ms": 200,
                "listeners": f"http://127.0.0.1:{held.getsockname()[1]}",
            },
            {
                f"numbers-{topic}": {
                    "connector.class": "Generator",
                    "topic": topic,
                    "format": "sequence",
                    "partitions": 4,
                    "rate": RATE,
                },
                f"copy-{topic}": {"connector.class": "FileStreamSink", "topics": topic, "file": str(tmp_path / "out")},
            },
        )
    )
    begun_at = time.monotonic()
    with held, Service("standalone", "pipeline.toml", folder=tmp_path, watchdog_s=WATCHDOG_S, listener=held) as made:
        made.wait_for("READY=1")
        made.start_s = time.monotonic() - begun_at
        wait.until(lambda: len(lines(tmp_path / "out")) > RATE, "records in the file")
        yield made


def is_killed(service: Service) -> None:
    os.kill(service.life.pid, signal.SIGKILL)


def hangs(service: Service) -> None:
    os.kill(service.life.pid, signal.SIGSTOP)


@pytest.mark.parametrize(
    ("harm", "until_noticed_s"), [pytest.param(is_killed, 0.0, marks=pytest.mark.long), (hangs, WATCHDOG_S)]
)
def test_data_flows_again_within_seconds_and_nothing_is_lost(
    harm: Callable[[Service], None],
    until_noticed_s: float,
    service: Service,
    kafka: KafkaServer,
    topic: str,
    tmp_path: Path,
) -> None:
    first = service.life
    harm(service)
    harmed_at = time.monotonic()
    # The manager holds the socket: who asks between two lives waits for the second.
    assert httpx.get(f"{service.url}/connectors", timeout=60.0).status_code == 200
    answered_s = time.monotonic() - harmed_at
    service.wait_for("READY=1", life=2)
    ready_s = time.monotonic() - harmed_at
    before = sum(topics.end_offsets(kafka.bootstrap, topic).values())
    seen = max(map(int, lines(tmp_path / "out")))
    wait.until(lambda: sum(topics.end_offsets(kafka.bootstrap, topic).values()) > before, "new records in Kafka")
    wait.until(lambda: max(map(int, lines(tmp_path / "out"))) > seen, "new records in the file")
    took_s = time.monotonic() - harmed_at
    # Partitions come in at their own pace: what stands before `seen` in another one may still be on its way.
    wait.until(lambda: set(map(int, lines(tmp_path / "out"))) >= set(range(seen)), "all before the harm in the file")
    starts = f"first start {service.start_s:.1f} s; ready after {ready_s:.1f} s, REST after {answered_s:.1f} s"
    print(f"{harm.__name__}: {starts}, data in both directions after {took_s:.1f} s")
    assert took_s < until_noticed_s + max(BACK_S, BACK_STARTS * service.start_s), service.life.stderr
    assert not first.roles(), "processes of the first life go on beside the second"
    assert service.hung == (1 if until_noticed_s else 0)
    assert service.stop() == 0, service.life.stderr
    assert any("STOPPING=1" in message for message in service.heard)
    got = set(map(int, lines(tmp_path / "out")))
    assert got >= set(range(seen)), "records are missing"
