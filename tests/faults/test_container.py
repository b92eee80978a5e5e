"""As the first process of a container (`docker run`, Kubernetes) a worker stops in order when it is told to.

The kernel treats the first process of a PID namespace apart: signals that it has no handler for do nothing, and what
others leave behind becomes its child. `unshare` (util-linux) makes the namespace; there is no container here otherwise.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.exits import ExitCode
from tests.harness import topics, wait
from tests.harness.engine import pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.long]

RATE = 500
STOP_S = 30.0
ORPHANS = 3


@pytest.fixture
def container(kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "pipeline.toml").write_text(
        pipeline_toml(
            {"bootstrap.servers": kafka.bootstrap, "key.converter": "String", "value.converter": "String"},
            {
                "numbers": {"connector.class": "Generator", "topic": topic, "format": "sequence", "rate": RATE},
                "copy": {"connector.class": "FileStreamSink", "topics": topic, "file": str(tmp_path / "out")},
            },
        )
    )
    command = [sys.executable, "-m", "engine.cli", "run", "--forever", "pipeline.toml"]
    apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*apart, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this user may not make a PID namespace (unshare --pid)")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([*apart, *command], cwd=tmp_path, stdout=log, stderr=log) as made,
    ):
        yield made
        made.kill()


def first_process(container: subprocess.Popen[bytes]) -> int:
    """The number, out here, of what is process 1 in there."""
    (child,) = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    return int(child)


def zombies(parent: int) -> list[str]:
    """Its children that have ended and that nobody has asked for."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [child for child in children if "\nState:\tZ" in Path(f"/proc/{child}/status").read_text()]


def written(folder: Path) -> list[int]:
    out = folder / "out"
    return [int(line) for line in out.read_bytes().splitlines()] if out.exists() else []


def test_the_first_process_of_a_container_reaps_what_is_left_to_it_and_stops_in_order(
    container: subprocess.Popen[bytes], kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path
) -> None:
    wait.until(lambda: len(written(tmp_path)) > RATE, "records in the file")
    first = first_process(container)
    for _ in range(ORPHANS):  # whose parent is gone: they are left to process 1
        enter = ["nsenter", "--target", str(first), "--pid", "--", "sh", "-c", "sleep 0.2 & exit 0"]
        subprocess.run(enter, check=True)
    wait.until(lambda: not zombies(first), "end of what is left to it")
    here = len(written(tmp_path))
    wait.until(lambda: len(written(tmp_path)) > here + RATE, "more records")
    os.kill(first, signal.SIGTERM)
    assert container.wait(STOP_S) == ExitCode.OK, (tmp_path / "log").read_text()
    out = written(tmp_path)
    assert len(out) == len(set(out)), "each record once: what was put was flushed and committed"
    assert sum(topics.group_offsets(kafka.bootstrap, "connect-copy").values()) >= len(out)
