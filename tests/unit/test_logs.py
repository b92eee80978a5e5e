"""A log line says whose it is, as text and as JSON, and never a secret."""

from __future__ import annotations

import json
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import command_line, logs
from engine.exits import ExitCode
from tests.harness.engine import Millrace

SECRET = "correct horse"
LONGER = f"{SECRET} battery"
logger = logging.getLogger("millrace.tests")


@contextmanager
def logging_as(form: str, level: str = "INFO", **place: Any) -> Iterator[None]:
    """This process logs so within; what pytest has at the root is there again afterwards."""
    root = logging.getLogger()
    handlers, level_before = root.handlers[:], root.level
    try:
        logs.set_up(logs.LogSettings(level, form), **{"process": "task", **place})
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level_before)


def refuse(text: str) -> None:
    raise ValueError(text)


def log_failure(text: str) -> None:
    """As one does it, with the traceback."""
    try:
        refuse(text)
    except ValueError:
        logger.exception("it failed")


def test_a_json_line_has_its_place_its_process_and_its_message(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as("json", connector="orders", task=3, process="pump"):
        logger.warning("%d records of %s", 5, "a\nb")
    (line,) = capfd.readouterr().err.splitlines()
    said = json.loads(line)
    time = said.pop("time")
    assert said == {
        "level": "WARNING",
        "connector": "orders",
        "task": 3,
        "process": "pump",
        "pid": os.getpid(),
        "logger": "millrace.tests",
        "message": "5 records of a\nb",
    }
    assert time.endswith("Z") and len(time) == len("2026-03-01T12:00:00.123Z")


def test_a_json_line_of_no_connector_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as("json", process="supervisor"):
        logger.info("stopping")
    said = json.loads(capfd.readouterr().err)
    assert (said["connector"], said["task"], said["process"]) == (None, None, "supervisor")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ({"connector": "orders", "task": 0, "process": "pump"}, "[orders|task-0|pump]"),
        ({"connector": "orders", "process": "probe"}, "[orders|worker|probe]"),
        ({"process": "supervisor"}, "[supervisor]"),
        ({"connector": "100%s", "task": 1}, "[100%s|task-1|task]"),
    ],
)
def test_a_text_line_begins_with_its_place(
    place: dict[str, Any], shown: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with logging_as("text", **place):
        logger.info("ready after %d ms", 20)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f" INFO  {shown} ready after 20 ms (millrace.tests)")


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_hidden_in_message_arguments_and_traceback(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as(form, secrets=[SECRET, LONGER]):
        logger.info(f"written out: {SECRET}")  # noqa: G004  as a plugin might
        logger.info("handed over: %s, %r", SECRET, {"password": SECRET})
        log_failure(f"refused: {SECRET}")
    said = capfd.readouterr().err
    assert SECRET not in said
    assert said.count("[hidden]") >= 4
    assert "Traceback" in said and "refused: [hidden]" in said


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_a_secret_that_begins_like_another_nothing_is_left(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as(form, secrets=[SECRET, LONGER]):
        logger.info("it is %s", LONGER)
    said = capfd.readouterr().err
    assert "it is [hidden]" in said
    assert "battery" not in said


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_secret_of_several_lines_is_hidden_as_well(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    key = "-----BEGIN\nabcdef\n-----END"
    with logging_as(form, secrets=[key]):
        logger.info("read: %s", key)
        log_failure(f"refused: {key}")
    said = capfd.readouterr().err
    assert "read: [hidden]" in said and "refused: [hidden]" in said
    assert "abcdef" not in said


def test_every_line_of_a_traceback_has_the_place(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as("text", connector="100%s", task=0, process="task"):
        log_failure("two\nlines")
    first, *more = capfd.readouterr().err.splitlines()
    assert first.endswith(" ERROR [100%s|task-0|task] it failed (millrace.tests)")
    assert more[0] == "[100%s|task-0|task] Traceback (most recent call last):"
    assert more[-2:] == ["[100%s|task-0|task] ValueError: two", "[100%s|task-0|task] lines"]
    assert all(line.startswith("[100%s|task-0|task] ") for line in more)


def test_a_traceback_in_json_is_a_member_of_its_line(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as("json", connector="orders", task=0):
        log_failure("two\nlines")
    (line,) = capfd.readouterr().err.splitlines()
    said = json.loads(line)
    assert said["message"] == "it failed"
    assert said["trace"].startswith("Traceback (most") and said["trace"].endswith("ValueError: two\nlines")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_wrong_log_call_is_told_in_one_line_without_what_was_to_be_logged(
    form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python's own handlers print a traceback and all arguments."""
    with logging_as(form, connector="orders", task=0, secrets=[SECRET]):
        logger.info("%d records", SECRET)
        logger.info("and on")
    wrong, good = capfd.readouterr().err.splitlines()
    assert "test_logs.py" in wrong and "could not be made: TypeError" in wrong
    assert SECRET not in wrong
    assert "and on" in good


def test_an_error_of_the_command_itself_is_logged_as_all_else(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as("json", process="supervisor", secrets=[SECRET]), pytest.raises(SystemExit) as left:
        command_line._leave(lambda: refuse(f"refused: {SECRET}"))
    assert left.value.code == ExitCode.BUG
    said = json.loads(capfd.readouterr().err)
    assert said["message"] == "unexpected ValueError"
    assert said["trace"].endswith("ValueError: refused: [hidden]")


def test_what_is_too_short_to_be_a_secret_leaves_the_log_readable(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as("text", secrets=["a", ""]):
        logger.info("an arm and a leg")
    assert "an arm and a leg" in capfd.readouterr().err


def test_a_level_leaves_out_what_is_less_grave(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_as("text", "WARNING"):
        logger.info("all is well")
        logger.warning("look at this")
    assert [line.split("] ")[1] for line in capfd.readouterr().err.splitlines()] == ["look at this (millrace.tests)"]


def test_lines_that_cannot_be_written_cost_nothing_and_are_counted_afterwards(tmp_path: Path) -> None:
    """A limit on the file's size stands for a full disk: it can be set and lifted for one process."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    handler = logs.LineHandler(descriptor)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def say(text: str) -> None:
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, text, (), None))

    say("first")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        for number in range(1000):
            say(f"lost {number}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    say("there is room")
    say("last")
    os.close(descriptor)
    assert path.read_text().splitlines() == [
        "first",
        "lost",
        "1000 log lines could not be written: File too large",
        "there is room",
        "last",
    ]


def test_a_reader_that_is_gone_costs_the_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = logs.LineHandler(writing)
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "nobody reads", (), None))
    os.close(writing)


@pytest.mark.slow
@pytest.mark.parametrize(("option", "wrong"), [("--log-level", "loud"), ("--log-format", "xml")])
def test_what_cannot_be_logged_as_is_a_mistake_of_the_command_line(tmp_path: Path, option: str, wrong: str) -> None:
    with Millrace("run", "pipeline.toml", option, wrong, folder=tmp_path) as millrace:
        assert millrace.wait() == 2, millrace.stderr
    assert option in millrace.stderr and wrong in millrace.stderr
    assert "Traceback" not in millrace.stderr


@pytest.mark.slow
def test_level_and_format_may_be_written_in_any_case(tmp_path: Path) -> None:
    arguments = ("run", "pipeline.toml", "--log-level", "warning", "--log-format", "JSON")
    with Millrace(*arguments, folder=tmp_path) as millrace:
        assert millrace.wait() == 2, millrace.stderr
    (line,) = map(json.loads, millrace.stderr.splitlines())
    assert "pipeline.toml" in line["message"], "the command line is good, the file is missing"
    assert (line["level"], line["process"]) == ("ERROR", "supervisor")
