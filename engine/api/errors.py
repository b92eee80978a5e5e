"""Every error the engine and its plugins raise, in one tree, sorted by what the caller does about it.

ConnectError                    something is wrong; stop the task
├── ConfigError                 keys are missing or bad; carries every one of them
├── DataError                   this record is bad; tolerance decides
│   ├── SchemaBuilderError      a schema that contradicts itself
│   └── SchemaProjectorError    a value cannot be read under another schema
├── RetriableError              the outside world may recover; try again
│   └── DeliveryTimeoutError    librdkafka gave up within its time budget
├── RefusedError                the outside world refuses who the connector says it is
├── RecordTooLargeError         a record larger than a frame, or than the topic takes
├── UnreachableError            no broker answered within the time budget
└── NotFoundError               no such connector, plugin, topic, offset

Other exceptions are not here. One that leaves a plugin's code, or a bank of the
engine, ends its task as a ConnectError does, with a traceback (engine/bank.py). One
outside of a bank is an error of Millrace: its process ends with ExitCode.BUG.

Names follow Kafka Connect's (ConnectException, DataException, ...), with Python's ending.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from msgspec import Struct

__all__ = [
    "ConfigError",
    "ConnectError",
    "DataError",
    "DeliveryTimeoutError",
    "NotFoundError",
    "Problem",
    "RecordTooLargeError",
    "RefusedError",
    "RetriableError",
    "SchemaBuilderError",
    "SchemaProjectorError",
    "UnreachableError",
]


class ConnectError(Exception):
    """Something is wrong; the task stops with this reason. Whether it starts again is said by its restart policy."""

    #: What the other system calls it, such as an SQLSTATE; to be set by who raises it. A dead letter has it.
    code: str = ""


class Problem(Struct, frozen=True):
    """One thing wrong with a configuration, complete enough to mend it without looking anywhere else."""

    key: str
    message: str  # what was given and what was expected; a secret's value is never in it
    connector: str = ""  # empty: the worker's own configuration
    file: str = ""

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.connector and f"connector {self.connector}") if part)
        return f"{place}: {self.message}" if place else self.message


class ConfigError(ConnectError):
    """Keys are missing or bad. Every problem found is in `problems`, so that all can be mended at once."""

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        self.problems = (Problem("", problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class DataError(ConnectError):
    """A record, or a value in it, is bad; it costs itself, never its batch.

    DataError("Invalid type for INT32", expected="an int").within(".price").within("[3]")
        str()      Invalid type for INT32
        whole()    Invalid type for INT32 at $[3].price: expected an int
    """

    def __init__(self, message: str = "", *, expected: str = "") -> None:
        """message: in Kafka Connect's words, where it has some. expected: what would have been right."""
        super().__init__(message)
        self.expected = expected
        self.path = ""  # where inside the value, from the outermost: `.items[3].price`

    def within(self, step: str) -> Self:
        """The same error, seen from around the value: `step` leads to where it was. For who takes a value apart."""
        self.path = step + self.path
        return self

    def whole(self) -> str:
        """What is wrong, where inside the value, and what was expected."""
        text = str(self).rstrip(": ")
        place = f" at ${self.path}" if self.path else ""
        return f"{text}{place}: expected {self.expected}" if self.expected else text + place


class SchemaBuilderError(DataError):
    """A schema contradicts itself or was built in the wrong order."""


class SchemaProjectorError(DataError):
    """A value written under one schema cannot be read under the other."""


class RetriableError(ConnectError):
    """The outside world may recover: the same call is made again, later."""


class DeliveryTimeoutError(RetriableError):
    """librdkafka gave up on a record within its time budget."""


class RefusedError(ConnectError):
    """A password, token or certificate is refused: tried again slowly, and at once when a secret's file changes."""


class RecordTooLargeError(ConnectError):
    """A record that can never be carried: larger than a frame of the ring, or than its topic takes."""


class UnreachableError(ConnectError):
    """No broker answered within the time budget."""


class NotFoundError(ConnectError):
    """No such connector, plugin, topic or offset."""
