"""What Kafka would refuse later is told before anything starts, and looking changes nothing in Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from engine.config.line import LineSpec, PluginSpec, Subscription
from engine.exits import ExitCode
from engine.kafka.check import KafkaCheck, check_kafka
from engine.plugins.probe import in_probe
from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import UnavailableError, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SECONDS = 10.0
PLUGIN = PluginSpec("converters.string:StringConverter")


class Guarded(KafkaServer):
    """A broker that creates no topics and has a second door with a password."""

    def __init__(self, folder: Path) -> None:
        (door,) = free_ports(1)
        login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_ann="right";'
        super().__init__(folder, auto_create=False)
        self.door = f"127.0.0.1:{door}"
        self._properties |= {
            "listeners": f"{self._properties['listeners']},SASL_PLAINTEXT://{self.door}",
            "advertised.listeners": f"{self._properties['advertised.listeners']},SASL_PLAINTEXT://{self.door}",
            "listener.security.protocol.map": (
                f"{self._properties['listener.security.protocol.map']},SASL_PLAINTEXT:SASL_PLAINTEXT"
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": login,
        }


@pytest.fixture(scope="module")
def guarded(kafka: KafkaServer | UserKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Beside the broker of the session, which says whether there can be one."""
    try:
        server = Guarded(tmp_path_factory.mktemp("guarded")).start()
    except UnavailableError as error:
        pytest.skip(str(error))
    with server:
        topics.create_topic(server.bootstrap, "there")
        yield server


def line(bootstrap: str, kind: str = "source", *wanted: str, **kafka: str) -> LineSpec:
    settings = {"bootstrap.servers": bootstrap, **{key.replace("_", "."): value for key, value in kafka.items()}}
    return LineSpec(
        connector="orders" if kind == "source" else "archive",
        task=0,
        type=kind,
        plugin="Tests",
        task_path="tests:None",
        task_config={},
        key_converter=PLUGIN,
        value_converter=PLUGIN,
        header_converter=PLUGIN,
        kafka={**settings, "group.id": "connect-archive"} if kind == "sink" else settings,
        subscription=Subscription(topics=wanted),
        is_bulk=True,
    )


def source(bootstrap: str, topic: str) -> LineSpec:
    """Of a connector of which it is known that it writes to this topic."""
    return msgspec.structs.replace(line(bootstrap), targets=(("topic", topic),))


def check(*lines: LineSpec) -> KafkaCheck:
    """In a probe, as always: this process makes no client that a later fork would inherit."""
    answer = in_probe(
        lambda tell: msgspec.msgpack.encode(check_kafka(lines, timeout_seconds=SECONDS, say=tell)),
        timeout_seconds=SECONDS,
    )
    return msgspec.msgpack.decode(answer, type=KafkaCheck)


def all_topics(bootstrap: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=SECONDS).topics)


def test_brokers_that_answer_and_topics_that_exist_raise_no_complaint(guarded: Guarded) -> None:
    found = check(line(guarded.bootstrap), line(guarded.bootstrap, "sink", "there"))
    assert found.cluster_id
    assert found == KafkaCheck(cluster_id=found.cluster_id)


def test_tasks_of_a_sink_that_can_have_no_partition_are_mentioned(guarded: Guarded) -> None:
    one = line(guarded.bootstrap, "sink", "there")
    found = check(*(msgspec.structs.replace(one, task=number) for number in range(6)))
    (warning,) = found.warnings
    assert warning.startswith("connector archive: 6 tasks, of which 4 can have a partition: the others are idle")
    assert found.problems == ()


def test_a_missing_topic_of_a_sink_is_told_where_brokers_create_none(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine's broker may take longer to say whether it creates topics; the probe is a fork and has these too.
    monkeypatch.setattr("engine.kafka.check.ASIDE_SECONDS", SECONDS)
    monkeypatch.setattr("engine.kafka.check.ANSWER_SECONDS", SECONDS + 2)
    found = check(line(guarded.bootstrap), line(guarded.bootstrap, "sink", "there", "gone", "lost"))
    (problem,) = found.problems
    assert problem.connector == "archive"
    assert problem.key == "topics"
    assert problem.message.startswith("topics=gone, lost: no such topic, and the broker creates none")
    assert found.is_unreachable


def test_a_missing_topic_of_a_source_is_told_where_brokers_create_none(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.kafka.check.ASIDE_SECONDS", SECONDS)
    monkeypatch.setattr("engine.kafka.check.ANSWER_SECONDS", SECONDS + 2)
    (problem,) = check(source(guarded.bootstrap, "gone")).problems
    assert (problem.connector, problem.key) == ("orders", "topic")
    assert problem.message.startswith("topic=gone: no such topic, and the broker creates none")
    assert check(source(guarded.bootstrap, "there")).problems == ()


def test_a_run_that_goes_on_is_warned_of_a_missing_topic_and_no_more(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.kafka.check.ASIDE_SECONDS", SECONDS)
    monkeypatch.setattr("engine.kafka.check.ANSWER_SECONDS", SECONDS + 2)
    lines = (source(guarded.bootstrap, "gone"), line(guarded.bootstrap, "sink", "there", "lost"))
    found = check(*(msgspec.structs.replace(one, is_bulk=False) for one in lines))
    assert (found.problems, found.is_unreachable) == ((), False)
    why = "no such topic, and the broker creates none (auto.create.topics.enable=false): create it"
    assert found.warnings == (f"connector orders: topic=gone: {why}", f"connector archive: topics=lost: {why}")


def test_nothing_is_started_where_a_sources_topic_is_missing_and_brokers_create_none(
    guarded: Guarded, tmp_path: Path
) -> None:
    connectors = {
        "numbers": {"connector.class": "Generator", "topic": "gone", "format": "sequence", "records": 10},
        "lines": {"connector.class": "FileStreamSource", "topic": "lost", "file": tmp_path / "in.txt"},
        "copy": {"connector.class": "FileStreamSink", "topics": "there", "file": tmp_path / "out.txt"},
    }
    (tmp_path / "in.txt").write_text("one\n")
    worker = {"bootstrap.servers": guarded.bootstrap, "key.converter": "String", "value.converter": "String"}
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, connectors))
    with Millrace("run", "pipeline.toml", folder=tmp_path) as millrace:
        assert millrace.wait() == ExitCode.UNREACHABLE, millrace.stderr
    why = "no such topic, and the broker creates none (auto.create.topics.enable=false): create it"
    for connector, name in (("numbers", "gone"), ("lines", "lost")):
        assert f"pipeline.toml: connector {connector}: topic={name}: {why}" in millrace.stderr
    assert millrace.stdout == "", "a run that has started ends with a report"
    assert not (tmp_path / "out.txt").exists()
    assert all_topics(guarded.bootstrap) & {"gone", "lost"} == set()


def test_a_run_that_goes_on_starts_without_its_topics_and_goes_on_once_they_are_made(
    guarded: Guarded, tmp_path: Path
) -> None:
    """As beside a job that makes topics a little later; the source's file and the sink's folder are made later, too."""
    connectors = {
        "lines": {"connector.class": "FileStreamSource", "topic": "later", "file": tmp_path / "in.txt"},
        "copy": {"connector.class": "FileStreamSink", "topics": "later", "file": tmp_path / "deep" / "out.txt"},
    }
    worker = {"bootstrap.servers": guarded.bootstrap, "key.converter": "String", "value.converter": "String"}
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, connectors))
    out = tmp_path / "deep" / "out.txt"
    with Millrace("run", "--forever", "pipeline.toml", folder=tmp_path) as millrace:
        millrace.wait_for("copy/0 task")
        for named in ("connector lines: topic=later", "connector copy: topics=later"):
            assert f"{named}: no such topic, and the broker creates none" in millrace.stderr
        (tmp_path / "in.txt").write_text("one\n")
        out.parent.mkdir()
        topics.create_topic(guarded.bootstrap, "later")
        wait.until(lambda: out.exists() and out.read_text() == "one\n", "line in the file", timeout_s=60)
        assert millrace.is_running


def test_a_missing_topic_of_a_source_is_left_to_brokers_that_create_it(kafka: KafkaServer | UserKafka) -> None:
    if isinstance(kafka, UserKafka):
        pytest.skip("whether the user's brokers create topics is not known")
    found = check(source(kafka.bootstrap, "not-made-yet"))
    assert found == KafkaCheck(cluster_id=found.cluster_id)
    assert "not-made-yet" not in all_topics(kafka.bootstrap)


def test_a_missing_topic_is_only_mentioned_where_brokers_create_it(kafka: KafkaServer | UserKafka) -> None:
    if isinstance(kafka, UserKafka):
        pytest.skip("whether the user's brokers create topics is not known")
    before = all_topics(kafka.bootstrap)
    found = check(line(kafka.bootstrap, "sink", "not-made-yet"))
    warnings = ("connector archive: topic not-made-yet does not exist yet",)
    assert found == KafkaCheck(warnings=warnings, cluster_id=found.cluster_id)
    with_source = check(line(kafka.bootstrap), line(kafka.bootstrap, "sink", "not-made-yet"))
    assert with_source == KafkaCheck(cluster_id=found.cluster_id)
    assert all_topics(kafka.bootstrap) == before


@pytest.mark.parametrize("user", ["ann", "bob"])
def test_a_refused_login_is_told_as_such_and_at_once(guarded: Guarded, user: str) -> None:
    login = {"security_protocol": "sasl_plaintext", "sasl_mechanism": "PLAIN", "sasl_username": user}
    (problem,) = check(line(guarded.door, sasl_password="wrong-one", **login)).problems
    assert problem.message.startswith(f"bootstrap.servers={guarded.door}: the broker refuses this client")
    assert "uthentication failed" in problem.message
    assert "wrong-one" not in problem.message


def test_the_right_login_is_let_in(guarded: Guarded) -> None:
    login = {"security_protocol": "sasl_plaintext", "sasl_mechanism": "PLAIN", "sasl_username": "ann"}
    found = check(line(guarded.door, sasl_password="right", **login))
    assert found == KafkaCheck(cluster_id=found.cluster_id)


def test_settings_that_librdkafka_does_not_take_are_told_without_asking_a_broker() -> None:
    found = check(line("localhost:1", linger_mss="3"))
    assert not found.is_unreachable
    assert found.problems[0].key == "producer.override.linger.mss"
