"""The example of Kongo does what its README says: through a real Kafka into a real Cassandra, and is asked about."""

from __future__ import annotations

import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.shape.tree import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.cassandra, pytest.mark.long]

RUN_S = 120.0


@pytest.fixture
def without_tables(session: Any) -> Iterator[None]:
    """Whatever becomes of the test, its keyspace goes."""
    yield
    session.execute("DROP KEYSPACE IF EXISTS kongo")


@pytest.mark.usefixtures("without_tables")
def test_goods_readings_and_violations_arrive_and_are_asked_about(
    kafka: KafkaServer | UserKafka, cassandra: CassandraServer | UserCassandra, tmp_path: Path
) -> None:
    folder = tmp_path / "kongo"
    shutil.copytree(ROOT / "examples" / "kongo", folder)
    prefix = f"kongo{uuid.uuid4().hex[:8]}"
    pipeline = (folder / "pipeline.toml").read_text()
    username, password = cassandra.login
    for old, new in {
        "localhost:9092": kafka.bootstrap,
        '"localhost"': f'"{cassandra.host}"',
        "port = 9042": f"port = {cassandra.port}\nusername = '{username}'\npassword = '{password}'",
        '"kongo"': f'"{prefix}"',
        "kongo-": f"{prefix}-",
    }.items():
        assert old in pipeline
        pipeline = pipeline.replace(old, new)
    (folder / "pipeline.toml").write_text(pipeline)
    command = [sys.executable, "kongo.py"]
    for _ in range(2):  # the second run has nothing to do, and the tables say the same
        with Millrace(command=command, folder=folder) as run:
            assert run.wait(timeout_s=RUN_S) == 0, run.stderr
        assert "readings: 3456" in run.stdout
        found = re.search(r"violations: (\d+), by place: (\d+)", run.stdout)
        assert found is not None, run.stdout
        assert found[1] == found[2] != "0"
        left = re.search(r"not delivered yet: (\d+)", run.stdout)
        assert left is not None, run.stdout
        assert 0 < int(left[1]) < 200
