"""The demo moves everything it makes, on the embedded Kafka and on real brokers, and survives its processes."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from engine.config import files
from engine.demo import DemoKafka, demo_pipeline, pipeline_text
from tests.harness import topics, wait
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import free_ports
from tests.shape.tree import ROOT

Kafka = KafkaServer | UserKafka

RECORDS = 150_000
KILLED_RECORDS = 200_000
#: So many have gone all the way before a process is killed; the embedded Kafka keeps no more than about 30,000.
PUT_BEFORE = 50_000
LIMIT_S = 90.0
FOREIGN = 5_000
LINES = ("orders/0", "orders/1", "check/0", "check/1")


def demo(folder: Path, records: int, *arguments: str) -> Millrace:
    return Millrace("demo", "--records", str(records), "--json", *arguments, folder=folder)


def test_the_example_is_what_the_demo_runs(tmp_path: Path) -> None:
    where = DemoKafka("localhost:9092", "orders", is_embedded=False)
    example = ROOT / "examples/demo/pipeline.toml"
    assert example.read_text() == pipeline_text(where)
    shown, run = files.load([example]), demo_pipeline(where, None, 0, folder=tmp_path)
    assert run.worker == shown.worker
    assert [connector.properties for connector in run.connectors] == [
        connector.properties for connector in shown.connectors
    ]


@pytest.mark.slow
def test_far_more_than_the_embedded_kafka_keeps_comes_out_of_it(tmp_path: Path) -> None:
    with demo(tmp_path, RECORDS) as millrace:
        assert millrace.wait(LIMIT_S) == 0, millrace.stderr
        totals = millrace.report()["totals"]
    assert totals["records_in"] == totals["sinks"]["records_out"] == RECORDS
    # A member that a busy machine has timed out gives partitions up: what it had committed then is not counted.
    assert totals["records_out"] >= RECORDS - totals["repeated_at_most"]
    assert totals["bytes_in"] > 8 * 5 * 1024 * 1024 // 4, "all partitions together keep less"
    assert "for trying things out" in millrace.stderr
    assert "gaps" not in millrace.stderr
    assert totals["repeated_at_most"] or "repeated" not in millrace.stderr


@pytest.mark.long
@pytest.mark.slow
def test_the_demo_leaves_its_last_metrics_in_a_file(tmp_path: Path) -> None:
    with demo(tmp_path, 1000, "--metrics-file", "demo.prom") as millrace:
        assert millrace.wait(LIMIT_S) == 0, millrace.stderr
    text = (tmp_path / "demo.prom").read_text()
    assert 'connector="orders"' in text
    assert 'connector="check"' in text


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize(
    ("line", "bank"),
    [
        ("check/1", "task"),
        pytest.param("orders/0", "pump", marks=pytest.mark.long),
        pytest.param("orders/0", "task", marks=pytest.mark.long),
        pytest.param("check/1", "pump", marks=pytest.mark.long),
    ],
)
def test_nothing_is_missing_when_a_process_of_the_demo_is_killed(line: str, bank: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with demo(tmp_path, KILLED_RECORDS, "--metrics-port", str(port)) as millrace:
        wait.until(lambda: records_put(port) >= PUT_BEFORE, "records that have gone all the way", timeout_s=LIMIT_S)
        pid = millrace.kill9(f"{line} {bank}")
        millrace.wait_for(f"{line} {bank}", other_than=pid)
        assert millrace.wait(LIMIT_S) == 0, millrace.stderr
        report = millrace.report()
    orders, check = report["connectors"]
    sources, sinks = (report["totals"][side] for side in ("sources", "sinks"))
    killed = orders if line.startswith("orders") else check
    assert (killed["restarts"], report["totals"]["restarts"]) == (1, 1)
    assert report["findings"] == []
    assert (sources["records_in"], sources["records_out"], sources["lost"]) == (KILLED_RECORDS, KILLED_RECORDS, 0)
    # By their offsets each once: all that Kafka has. Kafka has each order once, unless its source was killed.
    assert (sinks["records_in"], sinks["lost"]) == (sinks["records_out"], 0)
    assert 0 <= sinks["records_out"] - KILLED_RECORDS <= orders["repeated_at_most"], report
    assert killed is orders or orders["repeated_at_most"] == 0
    # Then what it has sent twice might hide what is missing; but the sinks have lived through it and seen the numbers.
    assert not re.search(r"gaps: [1-9]", millrace.stderr), millrace.stderr


def records_put(port: int) -> float:
    """By all tasks of the sink, as the run says now; 0 before it serves."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    put = [line for line in lines if line.startswith("millrace_records_total{") and 'stage="put"' in line]
    return sum(float(line.split()[-1]) for line in put)


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_and_its_kafka(tmp_path: Path) -> None:
    with demo(tmp_path, 100_000_000) as millrace:
        for line in LINES:
            millrace.wait_for(f"{line} pump")
        millrace.interrupt()
        assert millrace.wait(LIMIT_S) == 130
        assert millrace.roles() == {}


@pytest.mark.slow
@pytest.mark.faults
def test_the_demo_fails_when_its_kafka_dies(tmp_path: Path) -> None:
    with demo(tmp_path, 100_000_000) as millrace:
        millrace.wait_for("check/1 pump")
        os.kill(millrace.roles()["embedded kafka"], signal.SIGKILL)
        assert millrace.wait(LIMIT_S) == 1
        assert "the embedded Kafka died, and the run with it: " in millrace.stderr
        assert millrace.roles() == {}


@pytest.mark.slow
@pytest.mark.kafka
def test_the_demo_uses_brokers_of_the_users_and_says_how_to_clean_up(kafka: Kafka, tmp_path: Path) -> None:
    with demo(tmp_path, RECORDS, "--bootstrap", kafka.bootstrap) as millrace:
        assert millrace.wait(LIMIT_S) == 0, millrace.stderr
        totals = millrace.report()["totals"]
        topic = re.findall(r"--delete --topic (\S+)", millrace.stderr)[0]
        group = re.findall(r"--delete --group (\S+)", millrace.stderr)[0]
    assert (totals["records_in"], totals["records_out"]) == (RECORDS, RECORDS)
    ends = topics.end_offsets(kafka.bootstrap, topic)
    assert ends == dict.fromkeys(range(4), RECORDS // 4)
    assert topics.group_offsets(kafka.bootstrap, group) == {(topic, part): end for part, end in ends.items()}
    topics.delete_topic(kafka.bootstrap, topic)


@pytest.mark.slow
@pytest.mark.kafka
def test_a_demo_that_does_not_come_out_even_ends_with_6_and_cleans_up_when_it_is_told_to(
    kafka: Kafka, tmp_path: Path
) -> None:
    arguments = ("--rate", "1000", "--bootstrap", kafka.bootstrap, "--delete-topic")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    with demo(tmp_path, 3000, *arguments) as millrace:
        (topic,) = wait.until(lambda: re.findall(r"makes the topic (\S+) on", millrace.stderr), "name of the topic")
        # All topics are listed: asking for one that is not there would make it.
        wait.until(lambda: topic in admin.list_topics(timeout=LIMIT_S).topics, "the topic")
        # Nobody's orders, and more than may have been done twice: on a busy machine that is not always none.
        topics.produce(kafka.bootstrap, topic, [b'{"sequence":0}'] * FOREIGN, partitions=[0] * FOREIGN)
        assert millrace.wait(LIMIT_S) == 6, millrace.stderr
        report = millrace.report()
    assert report["exit_code"] == 6
    assert [report["totals"][side]["records_out"] for side in ("sources", "sinks")] == [3000, 3000 + FOREIGN]
    assert "came out is not the number that went in" in millrace.stderr
    wait.until(lambda: topic not in admin.list_topics(timeout=LIMIT_S).topics, "end of the topic")


@pytest.mark.long
@pytest.mark.slow
def test_the_demo_names_brokers_that_do_not_answer(tmp_path: Path) -> None:
    with demo(tmp_path, 1000, "--bootstrap", "127.0.0.1:1") as millrace:
        assert millrace.wait(LIMIT_S) == 3
        assert "127.0.0.1:1" in millrace.stderr
        assert millrace.stdout == ""
