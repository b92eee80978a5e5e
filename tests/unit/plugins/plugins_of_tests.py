"""Small plugins that the tests of this folder ask for by path; each behaves as its name says."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta, field

from engine.api.batch import SinkBatch
from engine.api.config import Config, Password
from engine.api.connector import SinkConnector, SourceConnector
from engine.api.converter import RecordConverter
from engine.api.errors import ConnectError, Problem, RefusedError, RetriableError
from engine.api.record import SourceRecord, TopicPartition
from engine.api.schema import Schema
from engine.api.task import Polled, RecordMetadata, SinkTask, SourceTask
from engine.api.transform import AnyRecord, Transform

__all__ = [
    "Abstract",
    "Counting",
    "Curious",
    "Exiting",
    "Generous",
    "Hanging",
    "Listening",
    "NotText",
    "Picky",
    "Printing",
    "Raising",
    "Refusing",
    "Remembering",
    "Same",
    "Upper",
    "ValidatingCrashing",
    "ValidatingEating",
    "ValidatingExiting",
    "ValidatingHanging",
    "ValidatingLeaving",
    "Writing",
]


EATEN_BYTES = 512 * 1024**2


class NumbersTask(SourceTask):
    def start(self, config: Mapping[str, str]) -> None:
        pass

    def poll(self) -> Polled:
        return None


class ListeningTask(NumbersTask):
    def commit_record(self, record: SourceRecord, metadata: RecordMetadata | None) -> None:
        pass


class NumbersConfig(Config, frozen=True, kw_only=True):
    """What the sources below read."""

    topic: str
    batch_size: Annotated[int, Meta(ge=1)] = field(name="batch.size", default=10)
    password: Password = Password("")


class Counting(SourceConnector):
    """Gives as many tasks as it may, each with its number."""

    config: ClassVar[type[Config]] = NumbersConfig
    task = NumbersTask
    version = "1.2.3"

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [{"number": str(number), "topic": self.properties["topic"]} for number in range(tasks_max)]


class Remembering(Counting):
    """Asks where its only partition is, and for the worker's settings."""

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        assert self.context is not None
        known = {f"worker.{key}": value for key, value in self.context.worker_properties.items()}
        return [{"stored": str(self.context.offset({"b": 1, "a": "x"})), **known}]


class GenerousConfig(NumbersConfig, frozen=True, kw_only=True):
    """How generous it is."""

    extra: int


class Generous(Counting):
    """Gives `extra` tasks more than it may."""

    config = GenerousConfig

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return super().task_configs(tasks_max + int(self.properties["extra"]))


class Listening(Counting):
    """Its task wants to hear of every record."""

    task = ListeningTask


class Hanging(Counting):
    """Never answers."""

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        while True:
            time.sleep(60)


class Exiting(Counting):
    """Ends the process it is asked in."""

    def start(self, properties: Mapping[str, str]) -> None:
        os._exit(0)


class Printing(Counting):
    """Writes where only the command may write."""

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        print("a plugin's chatter")
        os.write(1, b"a plugin's raw chatter\n")
        return super().task_configs(tasks_max)


class Raising(Counting):
    """Cannot start."""

    def start(self, properties: Mapping[str, str]) -> None:
        raise ConnectError(f"no such table; tried with {properties.get('password', 'nothing')}")


class Refusing(Counting):
    """Says no to an offset in the way that it names."""

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[str, Mapping[str, Any] | None]) -> bool:
        errors = {
            "fixed": NotImplementedError(),
            "known": ConnectError(f"no such table; tried with {properties['password']}"),
            "unknown": ValueError(f"tried with {properties['password']}"),
        }
        for offset in offsets.values():
            if offset and offset.get("way") in errors:
                raise errors[offset["way"]]
            if offset and offset.get("way") == "exit":
                os._exit(0)
        return all(offset is None for offset in offsets.values())


class KeepingSink(SinkConnector):
    """Keeps offsets itself, and tells how it was asked to alter them."""

    task = SinkTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [{}]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        raise ConnectError(f"to be altered: {[*offsets.items()]}")

    def reset_offsets(self, properties: Mapping[str, str], offsets: Mapping[TopicPartition, int | None]) -> bool:
        raise ConnectError(f"to be reset: {[*offsets.items()]}")


class Picky(Counting):
    """Finds fault with two keys at once."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        return [Problem("topic", "topic must be plural"), Problem("batch.size", "batch.size must be odd")]


class ValidatingAway(Counting):
    """Cannot look, as its system is away, or refuses it."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        if properties["topic"] == "refused":
            raise RefusedError("the database refuses the password")
        raise RetriableError("the database is away")


class ValidatingHanging(Counting):
    """Never says what is wrong."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        while True:
            time.sleep(60)


class ValidatingLeaving(Counting):
    """Ends the process in which it is asked what is wrong."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        os._exit(3)


class ValidatingExiting(Counting):
    """Exits as a script would."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        sys.exit(5)


class ValidatingCrashing(Counting):
    """Crashes as a library in C does."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return []


class ValidatingEating(Counting):
    """Takes more memory than it may."""

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        eaten = [bytearray(EATEN_BYTES)]
        return [Problem("topic", f"{len(eaten)} was had")]


class NotText(Counting):
    """Gives a task a number where texts belong."""

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [{"number": 1}]  # type: ignore[dict-item]  # the mistake that is tested


class WritingTask(SinkTask):
    def start(self, config: Mapping[str, str]) -> None:
        pass

    def put(self, batch: SinkBatch) -> None:
        pass


class Writing(SinkConnector):
    """A sink that declares no keys."""

    task = WritingTask

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [{"number": str(number)} for number in range(tasks_max)]


class Curious(Writing):
    """Asks how many partitions there are."""

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        assert self.context is not None
        counts = self.context.partition_counts([self.properties["topics"], "no such topic"])
        return [{"counts": str(dict(counts))}]


class Abstract(SourceConnector):
    """Lacks `task_configs`."""

    task = NumbersTask


class UpperConfig(Config, frozen=True, kw_only=True):
    """Of the converter and of the transform."""

    language: str = "en"


class Upper(RecordConverter):
    """Text, shouted."""

    config = UpperConfig

    def from_connect_value(self, topic: str, value: object, schema: Schema | None) -> bytes | None:
        return str(value).upper().encode()

    def to_connect_value(self, topic: str, payload: bytes | None) -> tuple[object, Schema | None]:
        return payload, None


class Same(Transform):
    """Changes nothing."""

    config = UpperConfig

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        return record
