"""`millrace run` moves all of a source through a real topic into a sink, reports it, and ends with the right code."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import topics, wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
JSON = "org.apache.kafka.connect.json.JsonConverter"
PARTITIONS = 4
#: Where records move in a bulk run, and how many at a time at least: a record at a time would be 1. 2,000 were seen at
#: the source, the Generator's batch, and 5,000 at the sink on a busy machine.
MOVING = {"numbers": ("poll", "convert", "produce"), "copy": ("consume", "convert", "put")}
BATCH_RECORDS_MIN = {"numbers": 1_000, "copy": 100}
#: From the second signal to the end of all processes.
ENDS_AT_ONCE_S = 3.0


def worker(kafka: Kafka, **more: object) -> dict[str, object]:
    return {"bootstrap.servers": kafka.bootstrap, "key.converter": TEXT, "value.converter": TEXT, **more}


def generator(topic: str, records: int | None, **more: object) -> dict[str, object]:
    bound = {} if records is None else {"records": records}
    return {"connector.class": "Generator", "topic": topic, "format": "sequence", "partitions": 4, **bound, **more}


def file_sink(topic: str, file: Path, **more: object) -> dict[str, object]:
    # A group of its own: in a shared one a test would wait for the members that another test has killed.
    group = {"consumer.override.group.id": group_of(topic)}
    return {"connector.class": "FileStreamSink", "topics": topic, "file": file, **group, **more}


def group_of(topic: str) -> str:
    return f"connect-{topic}"


def pipeline(folder: Path, worker: Mapping[str, object], **connectors: Mapping[str, object]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, connectors))


def numbers(file: Path) -> list[int]:
    return [int(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def batch_sizes(file: Path) -> dict[str, float]:
    """Records a batch by connector and stage, as the metrics of a run that is over tell."""
    told: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            if sample.name in ("millrace_records_total", "millrace_batches_total"):
                told.setdefault(f"{sample.labels['connector']} {sample.labels['stage']}", {})[sample.name] = (
                    sample.value
                )
    return {
        f"{connector} {stage}": both["millrace_records_total"] / both["millrace_batches_total"]
        for connector, stages in MOVING.items()
        for stage in stages
        for both in [told[f"{connector} {stage}"]]
    }


def run(folder: Path, *arguments: str, code: int = 0) -> Millrace:
    with Millrace("run", "pipeline.toml", "--json", *arguments, folder=folder) as millrace:
        assert millrace.wait() == code, millrace.stderr
    return millrace


def test_what_goes_in_comes_out(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    pipeline(tmp_path, worker(kafka), numbers=generator(topic, 10_000), copy=file_sink(topic, out))
    report = run(tmp_path, "--metrics-file", str(tmp_path / "run.prom")).report()
    assert sorted(numbers(out)) == list(range(10_000))
    for stage, records in batch_sizes(tmp_path / "run.prom").items():
        print(f"{stage}: {records:.0f} records a batch")
        assert records >= BATCH_RECORDS_MIN[stage.split()[0]], f"{records:.1f} records a batch at {stage}"
    for partition in range(PARTITIONS):
        here = [number for number in numbers(out) if number % PARTITIONS == partition]
        assert here == sorted(here)
    assert report["state"] == "DONE"
    assert report["totals"]["records_in"] == report["totals"]["records_out"] == 10_000
    assert report["totals"]["repeated_at_most"] == 0
    committed = topics.group_offsets(kafka.bootstrap, group_of(topic))
    assert [committed[topic, partition] for partition in range(PARTITIONS)] == [2500] * PARTITIONS


def test_a_second_run_finds_nothing_left_to_do(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    pipeline(tmp_path, worker(kafka), numbers=generator(topic, 1000), copy=file_sink(topic, out))
    run(tmp_path)
    report = run(tmp_path).report()
    assert len(numbers(out)) == 1000
    assert (report["totals"]["records_in"], report["totals"]["records_out"]) == (0, 0)


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.long), 2])
def test_several_tasks_share_the_work(kafka: Kafka, topic: str, tmp_path: Path, processes: int) -> None:
    out = tmp_path / "out.txt"
    pipeline(
        tmp_path,
        worker(kafka, **{"task.processes": processes}),
        numbers=generator(topic, 9_000, **{"tasks.max": 3}),
        copy=file_sink(topic, out, **{"tasks.max": 2}),
    )
    report = run(tmp_path).report()
    assert sorted(numbers(out)) == list(range(9_000))
    tasks = {connector["name"]: connector["tasks"] for connector in report["connectors"]}
    assert (len(tasks["numbers"]), len(tasks["copy"])) == (3, 2)
    assert all(task["state"] == "DONE" for many in tasks.values() for task in many)


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        pytest.param(lambda run: run.signal(signal.SIGTERM), 143, id="term"),
        pytest.param(lambda run: run.signal_group(signal.SIGINT), 130, id="ctrl-c"),
        pytest.param(lambda run: run.signal_group(signal.SIGHUP), 143, id="terminal-closed", marks=pytest.mark.long),
    ],
)
def test_a_signal_keeps_what_is_done_and_the_next_run_does_the_rest_without_repeating(
    kafka: Kafka, topic: str, tmp_path: Path, stop: Callable[[Millrace], None], code: int
) -> None:
    out = tmp_path / "out.txt"
    source = generator(topic, 20_000, rate=10_000)
    pipeline(tmp_path, worker(kafka), numbers=source, copy=file_sink(topic, out))
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as millrace:
        wait.until(lambda: len(numbers(out)) > 1000, "lines")
        stop(millrace)
        assert millrace.wait() == code, millrace.stderr
        stopped = millrace.report()
    assert stopped["state"] == "STOPPED"
    assert stopped["totals"]["restarts"] == 0, millrace.stderr
    assert 1000 < len(numbers(out)) < 20_000
    assert stopped["totals"]["repeated_at_most"] == 0
    run(tmp_path)
    assert sorted(numbers(out)) == list(range(20_000))


def test_a_run_that_was_told_to_ignore_a_closed_terminal_goes_on(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    pipeline(tmp_path, worker(kafka), numbers=generator(topic, 10_000, rate=5000), copy=file_sink(topic, out))
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path, ignored=[signal.SIGHUP]) as millrace:
        wait.until(lambda: len(numbers(out)) > 1000, "lines")
        millrace.signal_group(signal.SIGHUP)
        assert millrace.wait() == 0, millrace.stderr
    assert sorted(numbers(out)) == list(range(10_000))
    assert millrace.report()["totals"]["restarts"] == 0


def test_ctrl_c_twice_ends_at_once_and_the_next_run_goes_on_from_what_was_committed(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.txt"
    group = f"slow-{topic}"
    (port,) = free_ports(1)

    def write(delay_ms: int, rate: float) -> None:
        slow = {"connector.class": "NullSink", "topics": topic, "consumer.override.group.id": group}
        pipeline(
            tmp_path,
            worker(kafka, **{"offset.flush.interval.ms": 200}),
            numbers=generator(topic, 20_000, rate=rate),
            copy=file_sink(topic, out),
            slow={**slow, "delay.ms": delay_ms},
        )

    write(delay_ms=600_000, rate=1000)
    with Millrace("run", "pipeline.toml", "--json", "--metrics-port", str(port), folder=tmp_path) as millrace:
        wait.until(lambda: counted(port, "copy", "commit") > 0 < counted(port, "slow", "put"), "a put that blocks")
        millrace.interrupt()
        wait.until(lambda: "SIGINT: stopping" in millrace.stderr, "the first Ctrl-C")
        assert millrace.is_running, "a put that blocks does not hold the run back"
        millrace.interrupt()
        assert millrace.wait(ENDS_AT_ONCE_S) == 137, millrace.stderr
        assert not millrace.roles()
    assert "SIGINT again: ending at once" in millrace.stderr
    committed = sum(topics.group_offsets(kafka.bootstrap, group_of(topic)).values())
    assert 0 < committed <= len(numbers(out)) < 20_000
    assert not any(topics.group_offsets(kafka.bootstrap, group).values()), "what was being put is committed"
    write(delay_ms=0, rate=0)
    report = run(tmp_path).report()
    seen = numbers(out)
    assert set(seen) == set(range(20_000))
    told = {connector["name"]: connector for connector in report["connectors"]}
    in_topic = sum(topics.end_offsets(kafka.bootstrap, topic).values())
    assert (told["copy"]["records"], told["slow"]["records"]) == (in_topic - committed, in_topic)
    assert len(seen) - 20_000 <= sum(told[name]["repeated_at_most"] for name in ("numbers", "copy"))


def counted(port: int, connector: str, stage: str) -> float:
    """Records of a connector that a stage has counted, as `/metrics` tells."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.TransportError:
        return 0  # it does not serve yet
    wanted = (f'connector="{connector}"', f'stage="{stage}"')
    lines = [line for line in text.splitlines() if line.startswith("millrace_records_total{")]
    return sum(float(line.split()[-1]) for line in lines if all(word in line for word in wanted))


def test_forever_runs_until_it_is_stopped(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    pipeline(tmp_path, worker(kafka), numbers=generator(topic, None, rate=2000), copy=file_sink(topic, out))
    with Millrace("run", "pipeline.toml", "--forever", folder=tmp_path) as millrace:
        wait.until(lambda: len(numbers(out)) > 1000, "lines")
        assert set(millrace.roles()) >= {"numbers/0 task", "numbers/0 pump", "copy/0 task", "copy/0 pump"}
        millrace.interrupt()
        assert millrace.wait() == 130, millrace.stderr


def test_kafka_connects_own_files_run_unmodified(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "worker.properties").write_text(
        f"bootstrap.servers={kafka.bootstrap}\n"
        f"key.converter={JSON}\nvalue.converter={JSON}\n"
        "key.converter.schemas.enable=true\nvalue.converter.schemas.enable=true\n"
        f"offset.storage.file.filename={tmp_path}/connect.offsets\noffset.flush.interval.ms=10000\n"
        "listeners=http://127.0.0.1:0\n"
        "#plugin.path=/usr/share/java\n"
    )
    (tmp_path / "source.properties").write_text(
        f"name=local-file-source\nconnector.class=FileStreamSource\ntasks.max=1\nfile={tmp_path}/in.txt\ntopic={topic}\n"
    )
    (tmp_path / "sink.json").write_text(
        json.dumps(
            {
                "name": f"local-file-sink-{topic}",
                "config": {
                    "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
                    "tasks.max": 1,
                    "file": str(tmp_path / "out.txt"),
                    "topics": topic,
                },
            }
        )
    )
    with Millrace("run", "worker.properties", "source.properties", "sink.json", folder=tmp_path) as millrace:
        assert millrace.wait() == 0, millrace.stderr
    assert (tmp_path / "out.txt").read_text() == "one\ntwo\nthree\n"
    assert not (tmp_path / "connect.offsets").exists()
    with Millrace("standalone", "worker.properties", "source.properties", "sink.json", folder=tmp_path) as millrace:
        with (tmp_path / "in.txt").open("a") as file:
            file.write("four\n")
        wait.until(lambda: (tmp_path / "out.txt").read_text() == "one\ntwo\nthree\nfour\n", "the fourth line")
        millrace.signal(signal.SIGTERM)
        assert millrace.wait() == 0, millrace.stderr


def test_a_bad_record_stops_its_task_and_names_itself_and_nothing_is_committed_past_it(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    values = [b'{"a":1}', b'{"a":2}', b"{broken", b'{"a":4}']
    topics.produce(kafka.bootstrap, topic, values, partitions=[1] * 4)
    out = tmp_path / "out.txt"
    settings = worker(kafka, **{"value.converter": JSON, "value.converter.schemas.enable": "false"})
    pipeline(tmp_path, settings, bad=file_sink(topic, out))
    millrace = run(tmp_path, "--log-format", "json", "--log-level", "debug", code=1)
    (task,) = millrace.report()["connectors"][0]["tasks"]
    assert task["state"] == "FAILED"
    lines = [json.loads(line) for line in millrace.stderr.splitlines()]
    told = [line for line in lines if "partition 1, offset 2" in line["message"] and line["process"] == "task"]
    assert [(line["connector"], line["task"], line["level"]) for line in told] == [("bad", 0, "ERROR")], lines
    assert "Traceback (most recent call last)" in told[0]["trace"]
    assert {line["process"] for line in lines} >= {"supervisor", "task"}
    assert f"topic {topic}, partition 1, offset 2" in task["reason"]
    assert out.read_text() == "{a=1}\n{a=2}\n"
    assert topics.group_offsets(kafka.bootstrap, group_of(topic))[topic, 1] == 2


def test_a_topic_that_ends_in_a_transaction_marker_comes_to_its_end(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for is_kept in (True, False):
        producer.begin_transaction()
        for number in range(100):
            producer.produce(topic, str(number if is_kept else number + 1000), partition=number % PARTITIONS)
        producer.flush(30)  # what is still queued would leave no trace in an aborted transaction
        producer.commit_transaction(30) if is_kept else producer.abort_transaction(30)
    out = tmp_path / "out.txt"
    committed = {"consumer.override.isolation.level": "read_committed"}
    pipeline(tmp_path, worker(kafka), copy=file_sink(topic, out, **committed))
    run(tmp_path)
    assert sorted(numbers(out)) == list(range(100))
    # 25 records, a marker, 25 aborted ones, a marker: the position lies behind all of them.
    assert topics.group_offsets(kafka.bootstrap, group_of(topic)) == {(topic, p): 52 for p in range(PARTITIONS)}


def test_an_unreachable_broker_is_said_before_anything_starts(tmp_path: Path) -> None:
    settings = {
        "bootstrap.servers": "127.0.0.1:1",
        "key.converter": TEXT,
        "value.converter": TEXT,
        "startup.timeout.ms": 1000,
    }
    pipeline(tmp_path, settings, copy=file_sink("orders", tmp_path / "out.txt"))
    with Millrace("run", "pipeline.toml", folder=tmp_path) as millrace:
        assert millrace.wait() == 3, millrace.stderr
    assert "127.0.0.1:1" in millrace.stderr
    assert "bootstrap.servers" in millrace.stderr
    assert not (tmp_path / "out.txt").exists()


def test_all_mistakes_are_named_together(tmp_path: Path) -> None:
    settings = {
        "bootstrap.servers": "localhost:9092",
        "key.converter": TEXT,
        "offset.flush.interval.ms": "soon",
        "producer.batch.size": "y",  # though nobody has a producer
    }
    pipeline(
        tmp_path,
        settings,
        a={"connector.class": "FileStreamSinc", "topics": "t"},
        b={"connector.class": "FileStreamSink", "topics": "t", "tasks.max": "0", "producer.override.linger.ms": "x"},
        c={"connector.class": "FileStreamSink", "topics": "t", "file": tmp_path / "gone" / "out.txt"},
    )
    with Millrace("run", "pipeline.toml", folder=tmp_path) as millrace:
        assert millrace.wait() == 2, millrace.stderr
    for word in (
        "value.converter",
        "soon",
        "FileStreamSinc",
        "tasks.max",
        "pipeline.toml: Invalid value y for configuration producer.batch.size: expected a whole number",
        "pipeline.toml: connector b: Invalid value x for configuration producer.override.linger.ms: expected a number",
        f"pipeline.toml: connector c: Invalid value {tmp_path / 'gone' / 'out.txt'} for configuration file: its folder",
    ):
        assert word in millrace.stderr, f"{word} is not in:\n{millrace.stderr}"
    assert "Traceback" not in millrace.stderr
