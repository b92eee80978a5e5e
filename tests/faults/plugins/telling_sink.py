"""A sink of lines that says in the same file, by a line each, which partitions come and go, and in which process.

    17
    18
    open 4711 2 3
    19

Several tasks may append to one file: then all lines have one order. Loaded by name, in the process of a task.
Not here: what is expected of them (tests/faults/test_siblings.py).
"""

from __future__ import annotations

import os
from collections.abc import Collection

from connectors.file.sink import FileStreamSinkConnector, FileStreamSinkTask
from engine.api.record import TopicPartition


class TellingSinkTask(FileStreamSinkTask):
    """Tells of its partitions."""

    def open(self, partitions: Collection[TopicPartition]) -> None:
        self._tell("open", partitions)

    def close(self, partitions: Collection[TopicPartition]) -> None:
        self._tell("close", partitions)

    def _tell(self, what: str, partitions: Collection[TopicPartition]) -> None:
        assert self._output is not None
        numbers = " ".join(str(number) for number in sorted(place.partition for place in partitions))
        self._output.append(f"{what} {os.getpid()} {numbers}\n".encode())


class TellingSinkConnector(FileStreamSinkConnector):
    """With as many tasks as it may have."""

    task = TellingSinkTask
