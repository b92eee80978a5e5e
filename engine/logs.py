"""Log lines that say whose they are: connector, task and process on every one, as text or as JSON.

    2026-03-01 12:00:00,123 ERROR [orders|task-0|task] unexpected KeyError (millrace.process)
    [orders|task-0|task] Traceback (most recent call last):

The place in brackets is Kafka Connect's (`connector.context`), with the process behind it; a line that continues
another has it alone. Secrets that the configuration named are replaced wherever they turn up, in messages and in
tracebacks. Where a line cannot be written, because a disk is full or a reader is gone, it is lost and the run is not;
the next that can be tells how many were.

Used by: engine.launch (the command), each process's main; engine.supervisor (each child begins with `take_over`; masks
what it says at its end).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable

import orjson

from engine.api.config import HIDDEN

__all__ = ["LogSettings", "masked", "set_up", "take_over"]

STANDARD_ERROR = 2
#: Secrets shorter than this would black out half of a log.
SECRET_LENGTH_MIN = 3
#: Takes the display's last picture away from where the line goes; the next one is drawn below it.
CLEAR_BELOW = "\r\x1b[J"


class LogSettings:
    """How this run logs; the same in all its processes."""

    def __init__(self, level: str = "INFO", form: str = "text", *, is_above_display: bool = False) -> None:
        """is_above_display: the live display draws below the lines (engine.display.screen)."""
        self.level = level
        self.form = form
        self.is_above_display = is_above_display


def set_up(
    settings: LogSettings,
    *,
    process: str,
    connector: str = "",
    task: int | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Write this process's log to standard error, every line with its place."""
    place = Place(process, connector, task, tuple(secrets))
    handler = LineHandler()
    before = CLEAR_BELOW if settings.is_above_display else ""
    handler.setFormatter(JsonFormatter(place) if settings.form == "json" else TextFormatter(place, before))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)


def take_over() -> None:
    """From now on what Python would write beside the log goes into it, with its place and without secrets.

    That is the ends of a plugin's threads, errors that nobody can take, and warnings.
    """
    beside = logging.getLogger("millrace.process")

    def of_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and told.exc_type is not SystemExit:
            name = "a thread" if told.thread is None else f"thread {told.thread.name}"
            beside.error("%s has ended: %s", name, told.exc_type.__name__, exc_info=told.exc_value)

    def nowhere(told: sys.UnraisableHookArgs) -> None:
        where = told.err_msg or "Exception ignored in"
        beside.error("%s %r: %s", where, told.object, told.exc_type.__name__, exc_info=told.exc_value)

    logging.captureWarnings(capture=True)
    threading.excepthook = of_thread
    sys.unraisablehook = nowhere


def masked(text: str, secrets: Iterable[str]) -> str:
    """The text without secrets."""
    for secret in sorted(secrets, key=len, reverse=True):  # a long one may hold another
        if len(secret) >= SECRET_LENGTH_MIN:
            text = text.replace(secret, HIDDEN)
    return text


class LineHandler(logging.Handler):
    """Writes each line to standard error in one piece and keeps nothing: what cannot be written now is counted."""

    def __init__(self, descriptor: int = STANDARD_ERROR) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lost = 0  # lines, since the last that was written
        self._reason = ""
        self._is_torn = False  # a line was written in part

    def emit(self, record: logging.LogRecord) -> None:
        lines = [self._line(record)]
        if self._lost:
            lines.insert(0, self.format(_lost_record(self._lost, self._reason)))
        start = "\n" if self._is_torn else ""
        left = (start + "\n".join(lines) + "\n").encode(errors="backslashreplace")
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
                self._is_torn = bool(left)
            self._lost = 0
        except OSError as error:
            self._lost += 1
            self._reason = error.strerror or str(error)

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001  a mistake in a log call costs its line, and is told in a line as well
            return self.format(_spoiled_record(record, error))


def _spoiled_record(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    text = "a line of %s, line %d, could not be made: %s"
    arguments = (record.pathname, record.lineno, f"{type(error).__name__}: {error}")
    return logging.LogRecord(record.name, record.levelno, "", 0, text, arguments, None)


def _lost_record(count: int, reason: str) -> logging.LogRecord:
    text = "%d log lines could not be written: %s"
    return logging.LogRecord("millrace.logs", logging.WARNING, "", 0, text, (count, reason), None)


class Place:
    """Whose lines these are."""

    def __init__(self, process: str, connector: str, task: int | None, secrets: Iterable[str]) -> None:
        self.process = process
        self.connector = connector
        self.task = task
        self._secrets = secrets

    def __str__(self) -> str:
        if not self.connector:
            return self.process
        return f"{self.connector}|{'worker' if self.task is None else f'task-{self.task}'}|{self.process}"

    def masked(self, text: str) -> str:
        """The text without secrets."""
        return masked(text, self._secrets)


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def __init__(self, place: Place, before: str = "") -> None:
        super().__init__(f"%(asctime)s %(levelname)-5s [{str(place).replace('%', '%%')}] %(message)s (%(name)s)")
        self._place = place
        self._before = before
        self._continued = f"\n[{place}] "

    def format(self, record: logging.LogRecord) -> str:
        text = self._place.masked(super().format(record))  # as a whole: a secret may have several lines
        return self._before + text.replace("\n", self._continued)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "connector": self._place.connector or None,
            "task": self._place.task,
            "process": self._place.process,
            "pid": os.getpid(),
            "logger": record.name,
            "message": self._place.masked(record.getMessage()),
        }
        if record.exc_info:
            line["trace"] = self._place.masked(self.formatException(record.exc_info))
        return orjson.dumps(line).decode()
