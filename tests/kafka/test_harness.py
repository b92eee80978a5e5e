"""The servers that tests and benches stand on: a real broker, a real Connect, a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import measure, topics, wait
from tests.harness.connect import ConnectWorker
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.prometheus import Prometheus
from tests.harness.server import UnavailableError

pytestmark = pytest.mark.kafka


def test_a_fresh_topic_has_four_empty_partitions(kafka: KafkaServer | UserKafka, topic: str) -> None:
    assert topics.end_offsets(kafka.bootstrap, topic) == {0: 0, 1: 0, 2: 0, 3: 0}


def test_what_is_produced_is_read_whole_and_in_order(kafka: KafkaServer | UserKafka, topic: str) -> None:
    topics.produce(
        kafka.bootstrap,
        topic,
        ["a", "b", None],
        keys=["k", None, "k"],
        headers=[[("h", b"1"), ("h", None)], [], []],
        partitions=[2, 0, 2],
        timestamps_ms=[1_000, 2_000, 3_000],
    )
    assert topics.consume_all(kafka.bootstrap, topic) == {
        0: [topics.Stored(0, None, b"b", [], 2_000)],
        1: [],
        2: [
            topics.Stored(0, b"k", b"a", [("h", b"1"), ("h", None)], 1_000),
            topics.Stored(1, b"k", None, [], 3_000),
        ],
        3: [],
    }


def test_a_group_without_commits_has_no_offsets(kafka: KafkaServer | UserKafka) -> None:
    assert topics.group_offsets(kafka.bootstrap, "nobody-has-this-group") == {}


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_broker_comes_back_with_its_records(broker: KafkaServer) -> None:
    topics.create_topic(broker.bootstrap, "kept", partitions=1)
    topics.produce(broker.bootstrap, "kept", ["one", "two"])
    first_pid = broker.pid
    broker.kill9()
    broker.start()
    assert broker.pid != first_pid
    assert [record.value for record in topics.consume_all(broker.bootstrap, "kept")[0]] == [b"one", b"two"]


@pytest.mark.long
@pytest.mark.slow
def test_a_real_connect_writes_a_topic_into_a_file(kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path) -> None:
    topics.produce(kafka.bootstrap, topic, ["first", "second"], partitions=[1, 1])
    file = tmp_path / "out.txt"
    with ConnectWorker(tmp_path / "connect", kafka.bootstrap) as connect:
        connect.create("copy", {"connector.class": "FileStreamSink", "topics": topic, "file": str(file)})
        connect.wait_running("copy")
        wait.until(lambda: file.read_text().count("\n") == 2, "two lines")
        assert measure.cpu_seconds([connect.pid]) > 1.0
        assert measure.pss_bytes([connect.pid]) > 100_000_000
        connect.delete("copy")
        assert connect.ask("GET", "/connectors") == []
    assert file.read_text() == "first\nsecond\n"
    assert topics.group_offsets(kafka.bootstrap, "connect-copy")[topic, 1] == 2


@pytest.mark.slow
def test_a_real_prometheus_scrapes_its_target(tmp_path: Path) -> None:
    prometheus = Prometheus(tmp_path, "placeholder")
    prometheus = Prometheus(tmp_path, f"127.0.0.1:{prometheus.port}")
    try:
        prometheus.start()
    except UnavailableError as error:
        pytest.skip(str(error))
    with prometheus:
        assert prometheus.wait_for("up == 0")[0].labels["job"] == "millrace"
