"""Dead letters on a real broker: their topic is made, they are complete, and whoever is killed, none is lost.

What is read after everything has been killed at once is exact: there is nobody left who writes a letter after its
offset was committed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.shape.tree import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
JSON = "org.apache.kafka.connect.json.JsonConverter"
PLUGINS = {"PYTHONPATH": str(Path(__file__).parents[1] / "faults" / "plugins")}
PARTITIONS = 4
RECORDS = 12_000
BAD_EVERY = 15
AT_ONCE = 150
ROUNDS = 2
#: New dead letters that are seen before somebody is killed.
LETTERS_SEEN = 40
WAIT_S = 60.0


def pipeline(folder: Path, kafka: Kafka, sink: dict[str, object], **worker: object) -> None:
    given = {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": JSON, **worker}
    schemaless = {"value.converter": JSON, "value.converter.schemas.enable": "false"}
    (folder / "pipeline.toml").write_text(pipeline_toml(given, {"copy": {**schemaless, **sink}}))


def sink_of(topic: str, dead: str, folder: Path, **more: object) -> dict[str, object]:
    return {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "consumer.override.group.id": f"connect-{topic}",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        **more,
    }


def letters(kafka: Kafka, dead: str) -> list[topics.Stored]:
    return [one for stored in topics.consume_all(kafka.bootstrap, dead).values() for one in stored]


def is_bad(number: int) -> bool:
    return number % BAD_EVERY == 3


def value(number: int) -> bytes:
    return b"{bad %d" % number if is_bad(number) else b"%d" % number


def test_bad_records_are_dead_letters_and_the_others_arrive(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    stamps = [1_700_000_000_000 + number for number in range(100)]
    topics.produce(
        kafka.bootstrap,
        topic,
        [value(number) for number in range(100)],
        keys=[b"k%d" % number for number in range(100)],
        headers=[[("trace", b"%d" % number)] for number in range(100)],
        partitions=[number % PARTITIONS for number in range(100)],
        timestamps_ms=stamps,
    )
    told = {"errors.deadletterqueue.context.headers.enable": "true", "errors.log.enable": "true"}
    pipeline(tmp_path, kafka, sink_of(topic, dead, tmp_path, **told))
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
        report = run.report()
    good = [number for number in range(100) if not is_bad(number)]
    assert sorted(map(int, (tmp_path / "out.txt").read_text().splitlines())) == good
    found = {one.value: one for one in letters(kafka, dead)}
    assert set(found) == {value(number) for number in range(100) if is_bad(number)}
    for number in filter(is_bad, range(100)):
        one = found[value(number)]
        assert (one.key, one.timestamp_ms) == (b"k%d" % number, stamps[number])
        headers = dict(one.headers)
        assert headers["trace"] == b"%d" % number
        assert headers["__connect.errors.topic"] == topic.encode()
        assert headers["__connect.errors.partition"] == b"%d" % (number % PARTITIONS)
        assert headers["__connect.errors.offset"] == b"%d" % (number // PARTITIONS)
        assert headers["__connect.errors.stage"] == b"VALUE_CONVERTER"
        assert (headers["__connect.errors.exception.message"] or b"").startswith(b"Converting byte[]")
    assert topics.group_offsets(kafka.bootstrap, f"connect-{topic}") == {(topic, at): 25 for at in range(PARTITIONS)}
    ledger = report["totals"]["sinks"]
    bad = 100 - len(good)
    assert (ledger["records_in"], ledger["records_out"], ledger["skipped"]) == (100, len(good), bad)
    assert run.stderr.count("Error encountered in task copy-0. Executing stage 'VALUE_CONVERTER'") == bad
    described = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(dead, timeout=10).topics[dead]
    assert [len(one.replicas) for one in described.partitions.values()] == [1]


def test_a_topic_that_cannot_be_made_ends_the_task_and_nothing_is_read(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    topics.produce(kafka.bootstrap, topic, [b"1"])
    too_many = {"errors.deadletterqueue.topic.replication.factor": 99}
    pipeline(tmp_path, kafka, sink_of(topic, dead, tmp_path, **too_many), **{"restart.max": 0})
    with Millrace("run", "pipeline.toml", folder=tmp_path) as run:
        assert run.wait() != 0
    assert f"cannot create the dead letter topic {dead}" in run.stderr
    assert not (tmp_path / "out.txt").exists() or not (tmp_path / "out.txt").read_text()


def test_a_letter_that_is_refused_ends_the_task_and_its_record_stays_to_be_read(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    topics.create_topic(kafka.bootstrap, dead, partitions=1, config={"max.message.bytes": "1000"})
    large = b"{" + b"x" * 5_000
    topics.produce(kafka.bootstrap, topic, [b"1", large, b"2"], partitions=[0, 0, 0])
    pipeline(tmp_path, kafka, sink_of(topic, dead, tmp_path), **{"restart.max": 0})
    with Millrace("run", "pipeline.toml", folder=tmp_path) as run:
        assert run.wait() != 0
    assert f"cannot write the dead letter of {topic}-0@1 to topic {dead}" in run.stderr
    assert topics.group_offsets(kafka.bootstrap, f"connect-{topic}")[topic, 0] <= 1


def check_committed(kafka: Kafka, topic: str, dead: str) -> int:
    """No offset is committed past a bad record without a letter; returns how many are committed. All are dead."""
    committed = topics.group_offsets(kafka.bootstrap, f"connect-{topic}")
    there = {one.value for one in letters(kafka, dead)}
    for (_, partition), offset in committed.items():
        numbers = [at * PARTITIONS + partition for at in range(offset)]
        missing = [number for number in numbers if is_bad(number) and value(number) not in there]
        assert not missing, f"partition {partition} is committed to {offset}, no letters of {missing[:10]}"
    return sum(committed.values())


@pytest.mark.parametrize("processes", [2, pytest.param(1, marks=pytest.mark.long)])
def test_none_is_lost_when_pumps_and_all_are_killed_while_letters_are_written(
    processes: int, kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    numbers = range(RECORDS)
    topics.produce(
        kafka.bootstrap, topic, [value(number) for number in numbers], partitions=[n % PARTITIONS for n in numbers]
    )
    paced = {
        "connector.class": "paced_sink:PacedSinkConnector",
        "seconds": 0.05,
        "consumer.override.max.poll.records": AT_ONCE,
        "task.processes": processes,
    }
    pipeline(tmp_path, kafka, sink_of(topic, dead, tmp_path, **paced), **{"offset.flush.interval.ms": 100})

    def start() -> Millrace:
        return Millrace("run", "pipeline.toml", "--json", folder=tmp_path, environment=PLUGINS)

    def more_letters(than: int) -> None:
        wait.until(lambda: count() >= than + LETTERS_SEEN, "more dead letters", timeout_s=WAIT_S)

    def count() -> int:
        known = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
        return sum(topics.end_offsets(kafka.bootstrap, dead).values()) if dead in known else 0

    role = "copy/0 pump" if processes == 2 else "copy/0 both"
    progress = []
    for _ in range(ROUNDS):
        with start() as run:
            more_letters(count())
            if processes == 2:
                run.kill9(role)
                more_letters(count())
        progress.append(check_committed(kafka, topic, dead))
    assert progress[-1] > 0
    assert progress[-1] < RECORDS, "all was over before the last kill"
    with start() as run:
        assert run.wait(WAIT_S) == 0, run.stderr
    assert check_committed(kafka, topic, dead) == RECORDS
    written = Counter(json.loads(line) for line in (tmp_path / "out.txt").read_text().splitlines())
    assert set(written) == {number for number in numbers if not is_bad(number)}
    assert {one.value for one in letters(kafka, dead)} == {value(number) for number in numbers if is_bad(number)}


def test_what_a_sink_reports_has_its_letter_and_is_skipped_once_though_its_task_is_killed_before_it_is_flushed(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    numbers = range(60)
    texts = [b'"bad %d"' % number if is_bad(number) else b'"%d"' % number for number in numbers]
    bad = {text for number, text in enumerate(texts) if is_bad(number)}
    topics.produce(kafka.bootstrap, topic, texts, partitions=[number % PARTITIONS for number in numbers])
    holds, held = tmp_path / "holds", tmp_path / "held"
    holds.touch()
    sink = {"connector.class": "reporting_sink.ReportingSinkConnector", "holds": holds}
    seldom = {"offset.flush.interval.ms": 600_000, "restart.backoff.ms": 10}
    pipeline(tmp_path, kafka, sink_of(topic, dead, tmp_path, **sink), **seldom)
    out = tmp_path / "out.txt"
    out.touch()

    def put() -> Counter[int]:
        return Counter(map(int, out.read_text().split()))

    with Millrace("run", "pipeline.toml", "--forever", "--json", folder=tmp_path, environment=PLUGINS) as run:
        wait.until(held.exists, "a report within put")
        assert sum(topics.group_offsets(kafka.bootstrap, f"connect-{topic}").values()) == 0
        before = put()
        run.kill9("copy/0 task")
        holds.unlink()
        good = [number for number in numbers if not is_bad(number)]
        wait.until(lambda: all(put()[number] > before[number] for number in good), "all are put")
        wait.until(lambda: {one.value for one in letters(kafka, dead)} == bad, "all letters")
        run.interrupt()
        run.wait()
        ledger: dict[str, Any] = run.report()["totals"]["sinks"]
    assert (ledger["records_in"], ledger["records_out"], ledger["skipped"]) == (60, 60 - len(bad), len(bad))
    assert {one.value for one in letters(kafka, dead)} == bad
    assert sum(topics.group_offsets(kafka.bootstrap, f"connect-{topic}").values()) == len(numbers)
    assert {*put()} == {number for number in numbers if not is_bad(number)}


def test_the_example_of_the_documentation_does_what_it_says(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    lines = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0].splitlines()
    for old, new in {"localhost:9092": kafka.bootstrap, '"orders"': f'"{topic}"', "orders-dead": dead}.items():
        assert old in example
        example = example.replace(old, new)
    (tmp_path / "pipeline.toml").write_text(example)
    topics.produce(kafka.bootstrap, topic, lines)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
        ledger: dict[str, Any] = run.report()["totals"]["sinks"]
    assert (ledger["records_in"], ledger["records_out"], ledger["skipped"]) == (3, 2, 1)
    (one,) = letters(kafka, dead)
    assert one.value == lines[1].encode()
    assert dict(one.headers)["__connect.errors.stage"] == b"VALUE_CONVERTER"


def test_a_source_goes_on_without_what_is_too_large_for_it_or_for_the_topic(
    kafka: Kafka, dead: str, tmp_path: Path
) -> None:
    topic = dead  # which nothing has made yet
    topics.create_topic(kafka.bootstrap, topic, partitions=1, config={"max.message.bytes": "20000"})
    lines = ["a", "b" * 30_000, "c", "d" * 60_000, "e", "f" * 60_000]
    (tmp_path / "in.txt").write_text("".join(line + "\n" for line in lines))
    source: dict[str, object] = {
        "connector.class": "FileStreamSource",
        "file": str(tmp_path / "in.txt"),
        "topic": topic,
        "producer.override.max.request.size": "40000",
        "errors.tolerance": "all",
        "errors.log.enable": "true",
    }
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": TEXT}
    (tmp_path / "pipeline.toml").write_text(pipeline_toml(worker, {"copy": source}))
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
        report = run.report()
    ledger: dict[str, Any] = report["totals"]["sources"]
    assert (ledger["records_in"], ledger["records_out"], ledger["skipped"]) == (6, 3, 3)
    found = [one.value for one in topics.consume_all(kafka.bootstrap, topic)[0]]
    assert list(dict.fromkeys(found)) == [b"a", b"c", b"e"]
    assert len(found) - 3 <= report["totals"]["repeated_at_most"]  # to find it, its batch is sent again
    assert run.stderr.count("Executing stage 'KAFKA_PRODUCE'") == 3


def source_of(folder: Path, kafka: Kafka, topic: str, dead: str) -> None:
    """A source of numbers, one a line, whose dead letters tell what happened."""
    source: dict[str, object] = {
        "connector.class": "FileStreamSource",
        "file": str(folder / "in.txt"),
        "topic": topic,
        "producer.override.max.request.size": "40000",
        "transforms": "number",
        "transforms.number.type": "org.apache.kafka.connect.transforms.Cast$Value",
        "transforms.number.spec": "int64",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        "errors.deadletterqueue.context.headers.enable": "true",
    }
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": TEXT, "restart.max": 0}
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"copy": source}))


def test_a_sources_bad_records_are_dead_letters_as_they_were_polled(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    lines = ["1", "two", "3", "four " + "x" * 60_000, "5"]
    (tmp_path / "in.txt").write_text("".join(line + "\n" for line in lines))
    source_of(tmp_path, kafka, topic, dead)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
        report = run.report()
    ledger: dict[str, Any] = report["totals"]["sources"]
    assert (ledger["records_in"], ledger["records_out"], ledger["skipped"], ledger["added"]) == (5, 3, 2, 0)
    found = [one.value for stored in topics.consume_all(kafka.bootstrap, topic).values() for one in stored]
    assert sorted(value or b"" for value in found) == [b"1", b"3", b"5"]
    two, four = letters(kafka, dead)
    assert two.value == b"two"
    headers = dict(two.headers)
    assert headers["__connect.errors.topic"] == topic.encode()
    assert headers["__connect.errors.stage"] == b"TRANSFORMATION"
    assert (headers["__connect.errors.class.name"] or b"").endswith(b".CastValue")
    assert headers["__connect.errors.exception.message"]
    assert json.loads(headers["__millrace.errors.source.offset"] or b"") == {"position": len("1\ntwo\n")}
    assert (headers["__millrace.errors.code"], headers["__millrace.errors.attempts"]) == (b"record", b"1")
    assert four.value is None  # it would be too large itself
    assert dict(four.headers)["__millrace.errors.left.out"] == b"%d bytes of value" % len(lines[3])


def test_what_kafka_refuses_of_a_source_is_a_dead_letter_and_one_that_is_refused_ends_the_task(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    topics.configure_topic(kafka.bootstrap, topic, {"max.message.bytes": "2000"})
    topics.create_topic(kafka.bootstrap, dead, partitions=1, config={"max.message.bytes": "1000"})
    (tmp_path / "in.txt").write_text("1\n" + "2" * 3_000 + "\n3\n")
    source_of(tmp_path, kafka, topic, dead)
    text = (tmp_path / "pipeline.toml").read_text()
    (tmp_path / "pipeline.toml").write_text(text.replace("int64", "string"))
    with Millrace("run", "pipeline.toml", folder=tmp_path) as run:
        assert run.wait() != 0
    assert "cannot produce the dead letter of record 2 of 3" in run.stderr
    topics.configure_topic(kafka.bootstrap, dead, {"max.message.bytes": "100000"})
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
        ledger: dict[str, Any] = run.report()["totals"]["sources"]
    assert (ledger["records_out"], ledger["skipped"]) == (2, 1)
    found = {one.value for stored in topics.consume_all(kafka.bootstrap, topic).values() for one in stored}
    assert found == {b"1", b"3"}
    for one in letters(kafka, dead):
        headers = dict(one.headers)
        assert (one.value, headers["__connect.errors.stage"]) == (None, b"KAFKA_PRODUCE")
        assert headers["__millrace.errors.code"] == b"MSG_SIZE_TOO_LARGE"
        assert headers["__millrace.errors.left.out"] == b"3000 bytes of value"
    assert letters(kafka, dead)


def test_a_letter_is_not_refused_for_what_its_record_was(kafka: Kafka, topic: str, dead: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("1\n2\n3\n")
    (tmp_path / "clocks.py").write_text(
        "from msgspec.structs import replace\n"
        "def in_a_year(record):\n"
        "    far = 4102444800000 if record.value == '2' else None  # which brokers refuse as a mistake\n"
        "    return replace(record, timestamp=far)\n"
    )
    source_of(tmp_path, kafka, topic, dead)
    text = (tmp_path / "pipeline.toml").read_text()
    text = text.replace("org.apache.kafka.connect.transforms.Cast$Value", "Python").replace(".spec", ".function")
    (tmp_path / "pipeline.toml").write_text(text.replace("int64", "clocks:in_a_year"))
    with Millrace("run", "pipeline.toml", folder=tmp_path, environment={"PYTHONPATH": str(tmp_path)}) as run:
        assert run.wait() == 0, run.stderr
    found = [one.value for stored in topics.consume_all(kafka.bootstrap, topic).values() for one in stored]
    assert set(found) == {b"1", b"3"}
    told = {one.value: dict(one.headers) for one in letters(kafka, dead)}
    assert set(told) == {b"2"}
    assert told[b"2"]["__millrace.errors.code"] == b"INVALID_TIMESTAMP"
    assert told[b"2"]["__millrace.errors.left.out"] == b"timestamp, headers of its own"
