"""Dead letters of a real sink, and such as Kafka Connect writes, are listed, shown, and sent again: each once.

What is read is what transactions have committed: a command that is killed leaves records that never were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.exits import ExitCode
from engine.kafka.progress import Progress
from engine.kafka.resender import Going, Resender
from engine.kafka.sample import RawRecord
from engine.kafka.topic_reader import reading_alone
from engine.shm.lease import RivalError
from tests.harness import topics, wait
from tests.harness.command import Done, run
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka, bootstrap_of_user
from tests.harness.secure import SecureKafka
from tests.harness.server import UnavailableError
from tests.shape.tree import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
PARTITIONS = 4
STAMP_MS = 1_700_000_000_000
ATTEMPT = "__millrace.redrive.attempt"
MANY = 1_200
AT_ONCE = 5
#: So many are seen before the command is killed.
SEEN = 100
WAIT_S = 60.0
USER, PASSWORD = "alice", "wonderland"


def pipeline(folder: Path, kafka: Kafka, topic: str, dead: str, *, name: str = "pipeline.toml", **more: object) -> Path:
    worker = {"bootstrap.servers": kafka.bootstrap, "key.converter": "String", "value.converter": "Json"}
    sink = {
        "connector.class": "FileStreamSink",
        "topics": topic,
        "file": folder / "out.txt",
        "value.converter": "Json",
        "consumer.override.group.id": f"connect-{topic}",
        "consumer.override.isolation.level": "read_committed",
        "errors.tolerance": "all",
        "errors.deadletterqueue.topic.name": dead,
        "errors.deadletterqueue.topic.replication.factor": 1,
        "errors.deadletterqueue.context.headers.enable": "true",
        **more,
    }
    if sink["value.converter"] == "Json":
        sink["value.converter.schemas.enable"] = "false"
    path = folder / name
    path.write_text(pipeline_toml(worker, {"copy": sink}))
    return path


def sink_runs(folder: Path) -> None:
    with Millrace("run", "pipeline.toml", "--json", folder=folder) as millrace:
        assert millrace.wait(WAIT_S) == 0, millrace.stderr


def produce(kafka: Kafka, topic: str, values: list[bytes]) -> None:
    numbers = range(len(values))
    topics.produce(
        kafka.bootstrap,
        topic,
        values,
        keys=[b"k%d" % number for number in numbers],
        headers=[[("trace", b"%d" % number)] for number in numbers],
        partitions=[number % PARTITIONS for number in numbers],
        timestamps_ms=[STAMP_MS + number for number in numbers],
    )


def committed(kafka: Kafka, topic: str) -> dict[int, list[topics.Stored]]:
    return topics.consume_all(kafka.bootstrap, topic, isolation="read_committed")


def sent_again(kafka: Kafka, topic: str) -> list[tuple[int, topics.Stored]]:
    """What a re-drive has sent, with the partition."""
    found = committed(kafka, topic)
    return [(at, one) for at, stored in found.items() for one in stored if ATTEMPT in dict(one.headers)]


def listed(*arguments: object) -> list[dict[str, Any]]:
    done = run("dlq", "list", *map(str, arguments), "--json")
    assert done.code == ExitCode.OK, done.err
    return [json.loads(line) for line in done.lines]


def redriven(*arguments: object, code: ExitCode = ExitCode.OK) -> dict[str, Any]:
    done = run("dlq", "redrive", *map(str, arguments), "--json")
    assert done.code == code, done.err
    assert done.out, done.err
    found: dict[str, Any] = done.json
    return found


def test_letters_of_a_sink_are_listed_shown_and_sent_again_as_they_were(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    bad = [3, 18, 33]
    produce(kafka, topic, [b"{bad %d" % number if number in bad else b"%d" % number for number in range(40)])
    file = pipeline(tmp_path, kafka, topic, dead)
    sink_runs(tmp_path)
    letters = listed(file)
    origins = {(one["original"]["partition"], one["original"]["offset"]) for one in letters}
    assert origins == {(number % PARTITIONS, number // PARTITIONS) for number in bad}
    assert {(one["original"]["topic"], one["connector"], one["stage"]) for one in letters} == {
        (topic, "copy", "VALUE_CONVERTER")
    }
    text = run("dlq", "list", str(file), "--header", "trace=18").lines
    assert text[0].split() == ["PLACE", "FROM", "STAGE", "ERROR", "ATTEMPT", "MESSAGE"]
    assert [line.split() for line in text[-2:]] == [["LETTERS", "ERROR"], ["1", letters[0]["error"]]]
    shown_as_it_fails(file, letters[0]["place"])
    dry = redriven(file)
    assert (dry["dry_run"], dry["sent"]) == (True, 3)
    assert sent_again(kafka, topic) == []
    assert redriven(file, "--yes", "--header", "trace=18")["sent"] == 1
    assert redriven(file, "--yes")["sent"] == 2
    again = {one.value: (at, one) for at, one in sent_again(kafka, topic)}
    assert len(again) == len(sent_again(kafka, topic)) == 3
    for number in bad:
        at, one = again[b"{bad %d" % number]
        assert (at, one.key, one.timestamp_ms) == (number % PARTITIONS, b"k%d" % number, STAMP_MS + number)
        assert one.headers == [("trace", b"%d" % number), (ATTEMPT, b"1")]


def shown_as_it_fails(file: Path, place: str) -> None:
    shown = run("dlq", "show", place, str(file), "--json")
    assert shown.code == ExitCode.FAILED, shown.err  # it would fail again
    assert shown.json["value"]["text"].startswith("{bad ")
    assert shown.json["error"].rpartition(".")[2] in shown.json["stack"]
    assert [step["step"] for step in shown.json["now"]] == ["as in the topic", "value.converter"]


def test_straight_into_a_sink_go_those_that_its_converters_take_now(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    bad = [3, 18, 33]
    produce(kafka, topic, [b"{bad %d" % number if number in bad else b"%d" % number for number in range(40)])
    file = pipeline(tmp_path, kafka, topic, dead)
    sink_runs(tmp_path)
    mended = pipeline(tmp_path, kafka, topic, dead, name="mended.toml", **{"value.converter": "String"})
    left = redriven(file, "--into", "copy", code=ExitCode.FAILED)
    assert (left["sent"], left["left"]["refused"]) == (0, 3)
    assert redriven(file, "--into", mended)["sent"] == 3
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 37
    assert redriven(file, "--into", mended, "--yes", "--header", "trace=18")["sent"] == 1
    assert redriven(file, "--into", mended, "--yes")["sent"] == 2
    assert redriven(file, "--yes")["sent"] == 0
    lines = (tmp_path / "out.txt").read_text().splitlines()
    wanted = [f"{{bad {number}" if number in bad else str(number) for number in range(40)]
    assert sorted(lines) == sorted(wanted)
    assert sent_again(kafka, topic) == []


@pytest.mark.long
def test_a_record_that_fails_again_and_again_is_left_in_the_end(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    produce(kafka, topic, [b"{bad"])
    file = pipeline(tmp_path, kafka, topic, dead)
    sink_runs(tmp_path)
    assert redriven(file, "--yes")["sent"] == 1
    sink_runs(tmp_path)
    assert [one["attempt"] for one in listed(file)] == [0, 1]
    left = redriven(file, "--yes", "--attempts-max", "1", code=ExitCode.FAILED)
    assert (left["sent"], left["left"]["attempts"]) == (0, 1)
    assert [(one["attempt"], one["reason"]) for one in left["letters_left"]] == [(1, "attempts")]


def has(kafka: Kafka, topic: str, count: int) -> bool:
    return sum(topics.end_offsets(kafka.bootstrap, topic).values()) >= count


@pytest.mark.long
def test_each_is_sent_once_when_the_command_is_killed_at_once_and_goes_on(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    produce(kafka, topic, [b"{bad %d" % number for number in range(MANY)])
    file = pipeline(tmp_path, kafka, topic, dead)
    sink_runs(tmp_path)
    assert sum(topics.end_offsets(kafka.bootstrap, dead).values()) == MANY
    command = ("dlq", "redrive", str(file), "--yes", "--at-once", str(AT_ONCE))
    filters: list[tuple[str, ...]] = [("--original-partition", "1"), ()]
    for number, more in enumerate(filters):
        wanted = sum(topics.end_offsets(kafka.bootstrap, topic).values()) + SEEN
        with Millrace(*command, *more, folder=tmp_path / f"run-{number}") as millrace:
            wait.until(partial(has, kafka, topic, wanted), "records that are sent again", timeout_s=WAIT_S)
            assert millrace.is_running, "all was over before it was killed"
            millrace.kill9_supervisor()
        assert 0 < len(sent_again(kafka, topic)) < MANY
    done = redriven(file, "--yes")
    assert done["sent"] > 0
    assert done["left"]["filter"] == 0
    again = committed(kafka, topic)
    for partition, stored in again.items():
        values = sorted(one.value or b"" for one in stored if ATTEMPT in dict(one.headers))
        assert values == sorted(b"{bad %d" % number for number in range(partition, MANY, PARTITIONS))
    assert redriven(file, "--yes")["sent"] == 0


def letter_of_connect(kafka: Kafka, dead: str, value: bytes | None, **context: bytes | None) -> None:
    """As Kafka Connect's DeadLetterQueueReporter writes it: its own headers behind the record's."""
    told: dict[str, bytes | None] = {
        "topic": b"orders",
        "partition": b"0",
        "offset": b"41",
        "connector.name": b"jdbc",
        "task.id": b"2",
        "stage": b"TASK_PUT",
        "class.name": b"org.apache.kafka.connect.sink.SinkTask",
        "exception.class.name": b"java.sql.BatchUpdateException",
        "exception.message": b"ERROR: value too long\nfor type character(3)",
        "exception.stacktrace": b"java.sql.BatchUpdateException: ERROR\n\tat org.postgresql.Driver\n",
        **context,
    }
    headers: list[tuple[str, bytes | None]] = [("own", b"1")]
    headers += [(f"__connect.errors.{name}", text) for name, text in told.items()]
    topics.produce(kafka.bootstrap, dead, [value], headers=[headers], timestamps_ms=[STAMP_MS])


def test_a_letter_of_kafka_connect_is_shown_and_sent_elsewhere(kafka: Kafka, topic: str, dead: str) -> None:
    topics.create_topic(kafka.bootstrap, dead, partitions=1)
    letter_of_connect(kafka, dead, b"\x00\xff", topic=b"no-such-topic")
    where = ("--bootstrap", kafka.bootstrap, "--topic", dead)
    (one,) = listed(*where, "--error", "BatchUpdateException", "--connector", "jdbc")
    assert (one["place"], one["stage"], one["task"]) == ("0@0", "TASK_PUT", "2")
    shown = run("dlq", "show", "0@0", *where, "--json")
    assert shown.code == ExitCode.OK, shown.err
    assert (shown.json["value"], shown.json["now"]) == ({"hex": "00ff"}, None)
    assert shown.json["headers"] == [["own", {"text": "1"}]]
    assert "at org.postgresql.Driver" in run("dlq", "show", "0@0", *where).out
    left = redriven(*where, "--yes", code=ExitCode.FAILED)
    assert left["letters_left"][0]["why"].startswith("there is no topic no-such-topic")
    assert redriven(*where, "--yes", "--to", topic)["sent"] == 1
    ((_, sent),) = sent_again(kafka, topic)
    assert (sent.key, sent.value, sent.timestamp_ms) == (None, b"\x00\xff", STAMP_MS)
    assert sent.headers == [("own", b"1"), (ATTEMPT, b"1")]


def test_one_that_its_topic_does_not_take_costs_itself_alone(kafka: Kafka, topic: str, dead: str) -> None:
    topics.create_topic(kafka.bootstrap, dead, partitions=1)
    small = f"small-{topic}"[:200]
    topics.create_topic(kafka.bootstrap, small, partitions=1, config={"max.message.bytes": "2000"})
    try:
        for value in (b"a", b"b" * 5_000, b"c"):
            letter_of_connect(kafka, dead, value, topic=small.encode())
        where = ("--bootstrap", kafka.bootstrap, "--topic", dead)
        left = redriven(*where, "--yes", code=ExitCode.FAILED)
        assert (left["sent"], left["left"]["refused"]) == (2, 1)
        assert [one["place"] for one in left["letters_left"]] == ["0@1"]
        assert [one.value for one in committed(kafka, small)[0]] == [b"a", b"c"]
        assert redriven(*where, "--yes", "--to", topic)["sent"] == 1
    finally:
        topics.delete_topic(kafka.bootstrap, small)


def test_of_two_commands_at_once_the_first_one_ends(kafka: Kafka, topic: str, dead: str) -> None:
    topics.create_topic(kafka.bootstrap, dead, partitions=1)
    settings, group = {"bootstrap.servers": kafka.bootstrap}, f"millrace-redrive-{dead}"
    first, second = (Resender(settings, reading_alone(settings, group), dead, group, WAIT_S) for _ in range(2))
    record = RawRecord(topic, 0, -1, STAMP_MS, None, b"1")
    going = [Going(record._replace(topic=dead, offset=0), record)]
    try:
        first.begin()
        first.send(going, 0, lambda _: Progress(1))
        second.begin()
        with pytest.raises(RivalError, match=f"another re-drive of group {group} has begun"):
            first.send(going, 0, lambda _: Progress(1))
        second.renew({0: Progress(1)})
        second.send(going, 0, lambda _: Progress(2))
    finally:
        first.close()
        second.close()
    assert [one.value for one in committed(kafka, topic)[0]] == [b"1", b"1"]


def test_what_is_no_dead_letter_or_not_there_is_told(kafka: Kafka, topic: str, dead: str) -> None:
    def told(*arguments: str) -> Done:
        return run("dlq", *arguments, "--bootstrap", kafka.bootstrap)

    gone = told("list", "--topic", dead)
    assert gone.code == ExitCode.UNREACHABLE
    assert f"topic {dead} is not there" in gone.err
    produce(kafka, topic, [b"1"])
    plain = told("list", "--topic", topic)
    assert plain.code == ExitCode.FAILED
    assert "none of them has the headers of a dead letter" in plain.err
    left = told("redrive", "--topic", topic, "--yes")
    assert left.code == ExitCode.FAILED
    assert "it does not say where it was; --to TOPIC says where to" in left.out
    none = told("show", "0@7", "--topic", topic)
    assert none.code == ExitCode.FAILED
    assert f"topic {topic} has no record at 0@7; it has 0@0-0" in none.err


def test_the_example_of_the_documentation_does_what_it_says(
    kafka: Kafka, topic: str, dead: str, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    names = {"localhost:9092": kafka.bootstrap, '"orders"': f'"{topic}"', "orders-dead": dead}
    example = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    for old, new in names.items():
        example = example.replace(old, new)
    example = example.replace('"orders.txt"', f'"{tmp_path / "orders.txt"}"')
    (tmp_path / "pipeline.toml").write_text(example)
    lines = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0].splitlines()
    topics.produce(kafka.bootstrap, topic, lines, partitions=[0, 0, 0])
    sink_runs(tmp_path)
    section = re.search(r"## Re-drive\n.*?```sh\n(.*?)```.*?```\n(.*?)```", page, re.DOTALL)
    assert section is not None
    commands, wanted = section.groups()
    outputs = []
    for line in commands.splitlines():
        words = line.partition("#")[0].split()[1:]
        done = run(*[str(tmp_path / word) if word == "pipeline.toml" else word for word in words])
        assert done.code == (ExitCode.FAILED if "show" in words else ExitCode.OK), done.err
        outputs.append(done.out)
    assert len(outputs) == 4
    assert "letter 0@0 of " in outputs[1]
    assert "value.converter failed: DataError" in outputs[1]
    # Columns are as wide as the names in them.
    told = outputs[2].replace(topic, "orders").split()
    assert told == wanted.split()
    ((_, sent),) = sent_again(kafka, topic)
    assert sent.value == lines[1].encode()


# A broker of its own, with users.
@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureKafka]:
    if bootstrap_of_user() is not None:
        pytest.skip("needs users and rights, and MILLRACE_TEST_BOOTSTRAP names servers that are not ours")
    try:
        made = SecureKafka(tmp_path / "secure").start()
    except UnavailableError as error:
        pytest.skip(f"no real Kafka: {error}")
    with made:
        made.add_user(USER, PASSWORD)
        yield made


@pytest.mark.long
def test_a_user_of_the_file_sends_what_he_may_and_is_told_what_he_may_not(secure: SecureKafka, tmp_path: Path) -> None:
    for name in ("orders", "dead"):
        topics.create_topic(secure.bootstrap, name, partitions=1)
    topics.produce(secure.bootstrap, "dead", [b"1"], headers=[[("__connect.errors.topic", b"orders")]])
    client = secure.client(USER, PASSWORD)
    keys = {f"{kind}.{key}": value for kind in ("producer", "consumer") for key, value in client.items()}
    worker = {"bootstrap.servers": client["bootstrap.servers"], "key.converter": "String", "value.converter": "String"}
    sink = {"connector.class": "NullSink", "topics": "orders", "errors.deadletterqueue.topic.name": "dead"}
    file = tmp_path / "pipeline.toml"
    file.write_text(pipeline_toml({**worker, **keys}, {"copy": sink}))

    def told() -> str:
        done = run("dlq", "redrive", str(file), "--yes")
        assert PASSWORD not in done.out + done.err
        assert done.code != ExitCode.OK
        return done.err

    secure.deny(USER, "orders", operation="WRITE")
    left = redriven(file, "--yes", code=ExitCode.FAILED)
    assert "cannot send to topic orders" in left["letters_left"][0]["why"]
    secure.allow_again(USER, "orders")
    secure.deny(USER, "dead", operation="READ")
    assert "cannot note the progress of group millrace-redrive-dead" in told()
    secure.allow_again(USER, "dead")
    secure.change_password(USER, "another")
    assert "the broker refuses this client" in told()
    secure.change_password(USER, PASSWORD)
    assert redriven(file, "--yes")["sent"] == 1
