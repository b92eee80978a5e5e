"""What Kafka, a disk or a connector does not let a task do is waited out, in a state that says what is waited for."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import topics
from tests.harness.cluster import KafkaCluster
from tests.harness.jars import java_command
from tests.harness.kafka import Entrance, KafkaServer, UserKafka, bootstrap_of_user
from tests.harness.proxy import Proxy
from tests.harness.server import UnavailableError, free_ports
from tests.harness.world import PARTITIONS, SINK, SOURCE, TOPIC, Run

#: A wait is in the log after a second.
TOLD_S = 1.5
QUOTA_BYTES = 100_000
LONG_RECORDS = 80_000
TOOL_S = 60.0

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]


class Behind:
    """One broker, and the proxy that the engine reaches it through."""

    def __init__(self, folder: Path) -> None:
        port, advertised = free_ports(2)
        self.broker = KafkaServer(folder / "kafka", entrance=Entrance(port, advertised))
        self.proxy = Proxy(folder / "proxy", {advertised: port})
        self.users_bootstrap = f"127.0.0.1:{advertised}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    if bootstrap_of_user() is not None:
        pytest.skip("stops brokers, and MILLRACE_TEST_BOOTSTRAP names servers that are not ours to stop")
    try:
        made = KafkaCluster(tmp_path / "cluster").start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka: {error}")
    with made:
        yield made


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    if bootstrap_of_user() is not None:
        pytest.skip("stops the broker, and MILLRACE_TEST_BOOTSTRAP names servers that are not ours to stop")
    made = Behind(tmp_path)
    try:
        made.broker.start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka: {error}")
    with made.broker, made.proxy:
        topics.create_topic(made.broker.bootstrap, TOPIC, partitions=PARTITIONS)
        yield made


@pytest.mark.long
def test_a_broker_that_hangs_and_one_that_is_away_are_waited_for_without_a_restart(
    behind: Behind, tmp_path: Path
) -> None:
    with Run(tmp_path / "run", behind.users_bootstrap) as run:
        run.until_flowing()
        behind.proxy.stall()
        # A sink may miss a commit's answer first, or that to a question of its own: it says one or the other.
        run.until_waiting(SOURCE, "acknowledgements")
        behind.proxy.flow()
        run.until_going(SOURCE)
        run.until_going(SINK)
        behind.proxy.cut()
        run.until_waiting(SOURCE, "broker")
        run.until_waiting(SINK, "broker")
        behind.proxy.flow()
        run.finish()


def test_a_sink_that_is_away_and_files_that_cannot_be_written_are_waited_out(
    kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a broken disk: it can be set and lifted for one running process."""
    away = tmp_path / "away"
    sink = {"connector.class": "refusing_sink.RefusingSinkConnector", "away": away, "topics": topic}
    with Run(tmp_path / "run", kafka.bootstrap, source={"topic": topic}, sink=sink, sink_name=f"copy-{topic}") as run:
        run.until_flowing()
        away.touch()
        run.until_waiting(f"copy-{topic}/0", "put")
        pump = run.millrace.roles()[f"{SOURCE} pump"]
        resource.prlimit(pump, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        run.until_waiting(SOURCE, "store", seconds=TOLD_S)
        resource.prlimit(pump, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        run.until_going(SOURCE)
        away.unlink()
        run.finish()
    assert "log lines could not be written: File too large" in run.millrace.stderr
    assert "the database does not answer" in run.millrace.stderr


@pytest.mark.long
def test_a_slow_network_and_a_quota_slow_a_run_down_and_nothing_more(behind: Behind, tmp_path: Path) -> None:
    with Run(tmp_path / "run", behind.users_bootstrap) as run:
        run.until_flowing()
        behind.proxy.delay(1.0)
        run.until_flowing()
        behind.proxy.flow()
        throttle(behind.broker.bootstrap, QUOTA_BYTES)
        run.until_waiting(SOURCE, "quota")
        run.until_flowing()
        throttle(behind.broker.bootstrap, None)
        run.until_going(SOURCE)
        run.finish()


@pytest.mark.long
def test_too_few_replicas_in_sync_and_too_few_brokers_are_waited_for(cluster: KafkaCluster, tmp_path: Path) -> None:
    """Without one of three brokers this topic takes nothing; without two the cluster has no controller."""
    cluster.create_topic(TOPIC, partitions=PARTITIONS, config={"min.insync.replicas": "3"})
    with Run(tmp_path / "run", cluster.users_bootstrap, records=LONG_RECORDS) as run:
        run.until_flowing()
        cluster.move_leaders(TOPIC)
        run.until_flowing()
        cluster.brokers[2].kill9()
        run.until_waiting(SOURCE, "replicas")
        cluster.brokers[2].start()
        run.until_going(SOURCE)
        run.until_flowing()
        for broker in cluster.brokers[1:]:
            broker.kill9()
        run.until_waiting(SOURCE, "replicas")
        for broker in cluster.brokers[1:]:
            broker.launch()
        for broker in cluster.brokers[1:]:
            broker.wait_ready()
        run.finish()


def throttle(bootstrap: str, bytes_per_s: int | None) -> None:
    """Set a quota for all producers, or take it away (None)."""
    change = (
        ("--delete-config", "producer_byte_rate")
        if bytes_per_s is None
        else ("--add-config", f"producer_byte_rate={bytes_per_s}")
    )
    command = java_command(
        "kafka.admin.ConfigCommand",
        *("--bootstrap-server", bootstrap, "--alter", *change, "--entity-type", "clients", "--entity-default"),
        options=("-Xmx64m", "-XX:TieredStopAtLevel=1"),
    )
    subprocess.run(command, check=True, capture_output=True, timeout=TOOL_S)
