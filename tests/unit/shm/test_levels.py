"""Levels of loggers that one process writes are taken by all others, and a half-written table by nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from engine.shm import segment
from engine.shm.board import Board, board_bytes
from engine.shm.levels import Follower, LevelTable, LoggerLevel, level_name, level_number, python_name

NAMES = ("", "tests.levels", "tests.levels.low", "tests.levelsother", "millrace", "millrace.kafka")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {name: logging.getLogger(name or None).level for name in NAMES}
    yield
    for name, level in before.items():
        logging.getLogger(name or None).setLevel(level)


def table(size: int = 1024) -> LevelTable:
    return LevelTable(memoryview(bytearray(size)))


def level(name: str, text: str) -> LoggerLevel:
    return LoggerLevel(name, text, 1)


def test_what_is_written_is_read_by_who_maps_the_board_later() -> None:
    descriptor = segment.create("board", board_bytes(1))
    written = [level("tests.levels", "DEBUG"), level("root", "OFF")]
    assert Board(descriptor).levels.write(written)
    assert Board(descriptor).levels.read() == written


def test_a_follower_takes_what_is_new_once() -> None:
    levels = table()
    follower = Follower(levels)
    levels.write([level("tests.levels", "TRACE")])
    follower.look()
    assert logging.getLogger("tests.levels").level == 5
    logging.getLogger("tests.levels").setLevel(logging.ERROR)
    follower.look()
    assert logging.getLogger("tests.levels").level == logging.ERROR
    levels.write([level("tests.levels", "INFO")])
    follower.look()
    assert logging.getLogger("tests.levels").level == logging.INFO


def test_a_table_that_is_just_being_written_is_left_until_it_is_whole() -> None:
    levels = table()
    levels.write([level("tests.levels", "INFO")])
    levels._words[0] |= 1  # control has been killed in the middle of it
    assert levels.read() is None
    Follower(levels).look()
    assert logging.getLogger("tests.levels").level != logging.INFO
    levels.write([level("tests.levels", "WARN")])
    assert levels.read() == [level("tests.levels", "WARN")]


def test_what_does_not_fit_changes_nothing() -> None:
    levels = table(64)
    assert levels.write([level("a", "INFO")])
    assert not levels.write([level("b" * 100, "INFO")])
    assert levels.read() == [level("a", "INFO")]


def test_a_level_reaches_what_has_one_of_its_own_and_begins_so() -> None:
    logging.getLogger("tests.levels.low").setLevel(logging.ERROR)
    logging.getLogger("tests.levelsother").setLevel(logging.ERROR)
    levels = table()
    levels.write([level("tests.levels", "DEBUG")])
    Follower(levels).look()
    for name in ("tests.levels", "tests.levels.low", "tests.levelsother"):
        assert logging.getLogger(name).level == logging.DEBUG


def test_a_later_one_counts_for_what_an_earlier_one_has_set() -> None:
    levels = table()
    levels.write([level("root", "ERROR"), level("tests.levels", "DEBUG")])
    Follower(levels).look()
    assert (logging.getLogger().level, logging.getLogger("tests.levels").level) == (logging.ERROR, logging.DEBUG)


@pytest.mark.parametrize(
    ("java", "ours"),
    [
        ("root", ""),
        ("ROOT", ""),
        ("org.apache.kafka.connect.runtime.WorkerSinkTask", "millrace"),
        ("org.apache.kafka.connect", "millrace"),
        ("org.apache.kafka.connect.runtime.rest", "millrace.control.rest"),
        ("org.apache.kafka.clients.consumer.KafkaConsumer", "millrace.kafka"),
        ("org.apache.kafka", "millrace"),
        ("org", "millrace"),
        ("org.reflections", "org.reflections"),
        ("my.plugin", "my.plugin"),
    ],
)
def test_names_of_java_mean_what_logs_the_like_here(java: str, ours: str) -> None:
    assert python_name(java) == ours


def test_levels_are_log4js_in_whatever_case() -> None:
    assert [level_number(name) for name in ("debug", "Warn", "FATAL", "WARNING", "")] == [10, 30, 50, None, None]
    assert [level_name(number) for number in (0, 1, 5, 10, 25, 30, 50, 1000)] == [
        *("ALL", "ALL", "TRACE", "DEBUG", "INFO", "WARN", "FATAL", "OFF")
    ]
