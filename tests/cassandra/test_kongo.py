"""The example of Kongo does what its README says: through a real Kafka into a real Cassandra, and is asked about."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cassandra import CassandraServer, UserCassandra
from tests.harness.examples import replaced, run_examples
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.cassandra, pytest.mark.long]


@pytest.fixture
def without_tables(session: Any) -> Iterator[None]:
    """Whatever becomes of the test, its keyspace goes."""
    yield
    session.execute("DROP KEYSPACE IF EXISTS kongo")


@pytest.mark.usefixtures("without_tables")
def test_goods_readings_and_violations_arrive_and_are_asked_about(
    kafka: KafkaServer | UserKafka, cassandra: CassandraServer | UserCassandra, tmp_path: Path
) -> None:
    prefix = f"kongo{uuid.uuid4().hex[:8]}"
    address = f"{':'.join(cassandra.login)}@{cassandra.host}:{cassandra.port}"
    texts = {'"kongo"': f'"{prefix}"', "kongo-": f"{prefix}-"}
    servers = ["--kafka", kafka.bootstrap, "--cassandra", address]
    shown = run_examples(tmp_path, "kongo", *servers, *replaced(texts))
    assert len(shown.lines) == 2  # the second run has nothing to do, and the tables say the same
    for told in shown.lines:
        assert "readings: 3456" in told
        found = re.search(r"violations: (\d+), by place: (\d+)", told)
        assert found is not None, told
        assert found[1] == found[2] != "0"
        left = re.search(r"not delivered yet: (\d+)", told)
        assert left is not None, told
        assert 0 < int(left[1]) < 200
