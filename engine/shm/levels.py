"""Levels of loggers that were set while the worker runs: a table on the board's first page, and who follows it.

    control ── write ──► sequence │ entries, in the order in which they were set ──► every process, at its next step

The sequence is odd while control writes; whoever meets that, or another sequence behind it, looks again at its next
step. The board outlives every process, so that a task that is started again has the levels too. Names may be Java's.

Used by: engine.shm.board (places it), engine.bank, engine.supervisor.loop and engine.control.rest.loggers (follow).
Not here: what is asked and answered (engine.control.rest.loggers), log lines (engine.logs).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from engine.shm import segment

__all__ = ["ROOT", "Follower", "LevelTable", "LoggerLevel", "level_name", "level_number", "python_name"]

ROOT = "root"
#: Log4j's levels; Python has no TRACE, OFF or ALL.
_NUMBERS: Mapping[str, int] = {
    "OFF": 1000,
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": 5,
    "ALL": 1,
}
#: Where Java's names begin so, these of ours log the like; the longest first.
_JAVA: Mapping[str, str] = {
    "org.apache.kafka.connect.runtime.rest": "millrace.control.rest",
    "org.apache.kafka.connect": "millrace",
    "org.apache.kafka.clients": "millrace.kafka",
}
_SEQUENCE, _SIZE, _TEXT_AT = 0, 1, 16

logging.addLevelName(_NUMBERS["TRACE"], "TRACE")


class LoggerLevel(Struct, frozen=True, array_like=True):
    """One logger's."""

    name: str  # as it was asked for; ROOT: of all
    level: str  # log4j's, in capitals
    modified_ms: int | None  # wall clock; None: it was set to what it was


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[LoggerLevel]).decode


class LevelTable:
    """The table; control alone writes it."""

    def __init__(self, memory: memoryview) -> None:
        self._words = segment.words(memory[:_TEXT_AT])
        self._text = memory[_TEXT_AT:]

    @property
    def sequence(self) -> int:
        """Another one: something has changed. Odd: it is just being changed."""
        return self._words[_SEQUENCE]

    def read(self) -> list[LoggerLevel] | None:
        """The entries, in the order in which they were set; None: they are just being written."""
        before = self.sequence
        text = bytes(self._text[: min(self._words[_SIZE], len(self._text))])
        if before & 1 or self.sequence != before:
            return None
        return _decode(text) if text else []

    def write(self, levels: Sequence[LoggerLevel]) -> bool:
        """Replace all entries; False, and nothing is changed: there is no room for so many."""
        text = _encode(list(levels))
        if len(text) > len(self._text):
            return False
        begun = self.sequence | 1  # who died in the middle has left it odd
        self._words[_SEQUENCE] = begun
        self._text[: len(text)] = text
        self._words[_SIZE] = len(text)
        self._words[_SEQUENCE] = begun + 1
        return True


class Follower:
    """Keeps this process's loggers as the table has them."""

    def __init__(self, table: LevelTable) -> None:
        self._table = table
        self._seen = 0

    def look(self) -> None:
        """Take what has changed, if anything has: one word is read else."""
        sequence = self._table.sequence
        if sequence == self._seen:
            return
        levels = self._table.read()
        if levels is not None:
            self._seen = sequence
            for one in levels:
                _apply(one)


def level_number(name: str) -> int | None:
    """Python's number of a level of log4j's, in whatever case; None: there is no such level."""
    return _NUMBERS.get(name.upper())


def level_name(number: int) -> str:
    """Log4j's name of a level; of one between two, that of the lower."""
    at_most = [(known, name) for name, known in _NUMBERS.items() if known <= number]
    return max(at_most)[1] if at_most else "ALL"


def python_name(name: str) -> str:
    """The logger of ours that is meant; empty: the root."""
    if name.lower() in (ROOT, ""):
        return ""
    for java, ours in _JAVA.items():
        if name == java or name.startswith(f"{java}."):
            return ours
    # A name above both means all that is below it.
    return "millrace" if "org.apache.kafka".startswith(name) else name


def _apply(one: LoggerLevel) -> None:
    name, number = python_name(one.name), _NUMBERS[one.level]
    logging.getLogger(name or None).setLevel(number)
    for known, logger in list(logging.root.manager.loggerDict.items()):
        # Those with a level of their own would not hear of it.
        if isinstance(logger, logging.Logger) and logger.level and known.startswith(name):
            logger.setLevel(number)
