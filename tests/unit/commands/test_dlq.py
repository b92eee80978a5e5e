"""`millrace dlq` says what is wrong with its arguments, and what it cannot reach, without a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.commands import dlq
from engine.exits import ExitCode
from tests.harness.command import run

NOBODY = ("--bootstrap", "127.0.0.1:1", "--topic", "dead")
#: How long it is waited for, here.
NOBODY_S = 0.5
PASSWORD = "not-to-be-seen"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("list",), "expected either files of a connector or --bootstrap HOST:PORT"),
        (("list", "a.toml", *NOBODY), "expected either files of a connector or --bootstrap HOST:PORT"),
        (("list", "--bootstrap", "127.0.0.1:1"), "expected --topic TOPIC beside --bootstrap"),
        (("list", *NOBODY, "--place", "x"), "--place x: expected PARTITION@OFFSET"),
        (("list", *NOBODY, "--original-offsets", "9-1"), "--original-offsets 9-1: expected an offset or a range"),
        (("redrive", *NOBODY, "--since", "now"), "--since now: expected a time"),
        (("redrive", *NOBODY, "--to", "dead"), "--to dead: it is the dead letter topic itself"),
        (("redrive", *NOBODY, "--to", "a", "--into", "b"), "expected either --to TOPIC or --into CONNECTOR"),
        (("redrive", *NOBODY, "--into", "b"), "--into b: there is no such file; expected one, or files of a sink"),
        (("show", "0@1-2", *NOBODY), "0@1-2: expected one letter, as 0@12"),
        (("show", "0", *NOBODY), "0: expected one letter, as 0@12"),
    ],
)
def test_an_argument_that_is_wrong_is_told(arguments: tuple[str, ...], reason: str) -> None:
    done = run("dlq", *arguments)
    assert done.code == ExitCode.USAGE, done.err
    assert reason in done.err


@pytest.mark.parametrize("command", ["list", "show", "redrive"])
def test_each_command_has_help(command: str) -> None:
    done = run("dlq", command, "--help")
    assert done.code == ExitCode.OK
    assert "--topic" in done.out
    assert ("--original-topic" in done.out) == (command != "show")


def pipeline(folder: Path, **more: str) -> str:
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="{PASSWORD}";'
    worker = {
        "bootstrap.servers": "127.0.0.1:1",
        "key.converter": "String",
        "value.converter": "String",
        "offset.storage.file.filename": str(folder / "offsets"),
    }
    sink = {
        "name": "copy",
        "connector.class": "FileStreamSink",
        "topics": "orders",
        "file": str(folder / "out"),
        "consumer.override.security.protocol": "SASL_PLAINTEXT",
        "consumer.override.sasl.mechanism": "PLAIN",
        "consumer.override.sasl.jaas.config": login,
        **more,
    }
    for name, properties in (("worker", worker), ("sink", sink)):
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        (folder / f"{name}.properties").write_text(text)
    return str(folder / "sink.properties")


@pytest.mark.slow
def test_a_connector_without_dead_letters_is_told(tmp_path: Path) -> None:
    done = run("dlq", "list", str(tmp_path / "worker.properties"), pipeline(tmp_path))
    assert done.code == ExitCode.USAGE
    assert "it has no errors.deadletterqueue.topic.name; expected that key, or --topic TOPIC" in done.err


@pytest.mark.slow
def test_letters_of_another_cluster_go_into_a_sink_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlq, "_BROKER_SECONDS", NOBODY_S)
    more = {"errors.deadletterqueue.topic.name": "dead", "producer.override.bootstrap.servers": "127.0.0.1:2"}
    files = str(tmp_path / "worker.properties"), pipeline(tmp_path, **more)
    done = run("dlq", "redrive", *files)
    assert done.code == ExitCode.USAGE, done.err
    assert "letters are in 127.0.0.1:2, and the connector's topics in 127.0.0.1:1" in done.err
    into = run("dlq", "redrive", *files, "--into", "copy")
    assert into.code == ExitCode.UNREACHABLE, into.err
    assert "bootstrap.servers=127.0.0.1:2: no broker answers" in into.err


@pytest.mark.slow
def test_a_broker_that_is_not_there_is_told_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlq, "_BROKER_SECONDS", NOBODY_S)
    file = pipeline(tmp_path, **{"errors.deadletterqueue.topic.name": "dead"})
    done = run("dlq", "redrive", str(tmp_path / "worker.properties"), file, "--yes")
    assert done.code == ExitCode.UNREACHABLE, done.err
    assert "bootstrap.servers=127.0.0.1:1: no broker answers" in done.err
    assert PASSWORD not in done.err + done.out
