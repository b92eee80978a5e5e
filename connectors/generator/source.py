"""Generator: numbered records from a seed, at full speed or at a rate, endless or up to a bound.

    tasks.max 3     stripe 0: 0 3 6 9 ...     stripe 1: 1 4 7 ...     stripe 2: 2 5 8 ...

Each task has one stripe of the numbers and stores the last one made; a restart goes on with the next. What a
record says depends on its number and the settings alone (bodies.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, overload

import msgspec
from msgspec import Meta, field

from connectors.generator import bodies
from connectors.generator.pace import Pace
from engine.api.batch import SourceBatch
from engine.api.column import Repeat, Utf8Column
from engine.api.config import Config
from engine.api.connector import SourceConnector
from engine.api.errors import ConfigError, ConnectError, Problem
from engine.api.record import Header
from engine.api.schema import Schema
from engine.api.task import SourceTask

__all__ = ["GeneratorConfig", "GeneratorSourceConnector", "GeneratorSourceTask"]

#: A batch is cut short rather than larger than this.
BATCH_BYTES_MAX = 4 * 1024 * 1024
SIZE_MAX = 64 * 1024 * 1024
#: The end of a generator without one.
ENDLESS = 2**62

TEXT = Schema("STRING")
STRIPE, STRIPES, SEQUENCE = "stripe", "stripes", "sequence"


class GeneratorConfig(Config, frozen=True, kw_only=True):
    """What is made, how much and how fast."""

    topic: Annotated[str, Meta(min_length=1, description="The topic that gets the records.")]
    records: (
        Annotated[int, Meta(ge=0, le=ENDLESS, description="How many records all tasks make together. Absent: no end.")]
        | None
    ) = None
    rate: Annotated[
        float, Meta(ge=0, description="Records a second, of all tasks together. 0: as fast as it goes.")
    ] = 0.0
    format: Annotated[
        Literal["orders", "text", "sequence", "bytes"],
        Meta(description="'orders': maps; 'text': number and letters; 'sequence': the number; 'bytes': random bytes."),
    ] = "orders"
    size: Annotated[int, Meta(ge=0, le=SIZE_MAX, description="Bytes of a value of format 'text' or 'bytes'.")] = 146
    size_min: (
        Annotated[
            int,
            Meta(
                ge=0,
                description="Format 'bytes': sizes are mixed, from this to `size`, each order of magnitude as often as "
                "any other. Absent: all values have `size`.",
            ),
        ]
        | None
    ) = field(name="size.min", default=None)
    key: Annotated[
        Literal["none", "sequence", "cycle"],
        Meta(description="'sequence': the number; 'cycle': one of key.cardinality keys after the other."),
    ] = "none"
    key_cardinality: Annotated[int, Meta(ge=1, le=1_000_000, description="How many keys 'cycle' has.")] = field(
        name="key.cardinality", default=1000
    )
    headers: Annotated[int, Meta(ge=0, le=100, description="How many headers each record has.")] = 0
    timestamps: Annotated[bool, Meta(description="Whether records carry the time they were made.")] = False
    stamp: Annotated[
        bool, Meta(description="Whether values of format 'orders' or 'text' hold the microsecond they were made.")
    ] = False
    partitions: Annotated[
        int, Meta(ge=0, description="Number modulo this is the partition. 0: the partitioner chooses.")
    ] = 0
    seed: Annotated[int, Meta(description="The same seed makes the same values.")] = 1
    batch_size: Annotated[int, Meta(ge=1, le=1_000_000, description="The most records in one batch.")] = field(
        name="batch.size", default=2000
    )


class GeneratorTaskConfig(GeneratorConfig, frozen=True, kw_only=True):
    """The same for one task."""

    stripe: Annotated[int, Meta(ge=0)] = field(name="task.stripe", default=0)
    stripes: Annotated[int, Meta(ge=1)] = field(name="task.stripes", default=1)


class SequenceOffsets(Sequence[Mapping[str, Any]]):
    """The stored offset of each of the numbers, made when looked at."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> SequenceOffsets: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return SequenceOffsets(self._numbers[index])
        return {SEQUENCE: self._numbers[index]}


class GeneratorSourceTask(SourceTask):
    """Makes the records of one stripe."""

    def __init__(
        self, monotonic_ns: Callable[[], int] = time.monotonic_ns, time_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._time_ns = time_ns

    def start(self, config: Mapping[str, str]) -> None:
        settings = self._settings = GeneratorTaskConfig.parse(config)
        self._partition = {STRIPE: settings.stripe, STRIPES: settings.stripes}
        end = ENDLESS if settings.records is None else settings.records
        self._left = range(self._first(), end, settings.stripes)
        self._bodies = _bodies_of(settings)
        self._batch_size = settings.batch_size
        if settings.format in ("text", "bytes"):
            self._batch_size = min(settings.batch_size, max(1, BATCH_BYTES_MAX // max(1, settings.size)))
        self._pace = Pace(settings.rate / settings.stripes, self._monotonic_ns) if settings.rate else None
        self._headers = tuple(Header(f"header-{index}", f"value-{index}", TEXT) for index in range(settings.headers))
        self._keys = [b"key-%d" % index for index in range(settings.key_cardinality * (settings.key == "cycle"))]

    def poll(self) -> SourceBatch | None:
        count = min(self._batch_size, self._due())
        numbers, self._left = self._left[:count], self._left[count:]
        if not self._left:
            self.context.end()
        return self._batch(numbers) if numbers else None

    def _due(self) -> int:
        """How many records may be made now; waits a little when there are none."""
        if self._pace is None or not self._left:
            return len(self._left)
        if not self._pace.due():
            self.context.wait(min(self._pace.seconds_to_next(), 1.0))
        due = min(self._pace.due(), self._batch_size, len(self._left))
        self._pace.take(due)
        return due

    def _batch(self, numbers: range) -> SourceBatch:
        settings = self._settings
        count = len(numbers)
        now_ns = self._time_ns() if settings.stamp or settings.timestamps else 0
        keys = self._keys_of(numbers)
        return SourceBatch(
            topic=settings.topic,
            values=self._bodies.values(numbers, now_ns // 1000 if settings.stamp else None),
            value_schema=self._bodies.schema,
            keys=keys,
            key_schema=None if keys is None else TEXT,
            partitions=[number % settings.partitions for number in numbers] if settings.partitions else None,
            timestamps=Repeat(now_ns // 1_000_000, count) if settings.timestamps else None,
            headers=Repeat(self._headers, count) if self._headers else None,
            source_partition=self._partition,
            source_offsets=SequenceOffsets(numbers),
        )

    def _keys_of(self, numbers: range) -> Sequence[Any] | None:
        if self._settings.key == "none":
            return None
        if self._settings.key == "sequence":
            return list(map(str, numbers))
        return Utf8Column([key for _, part in bodies.laps(numbers, len(self._keys)) for key in self._keys[part]])

    def _first(self) -> int:
        stripe, stripes = self._settings.stripe, self._settings.stripes
        stored = self.context.offset(self._partition)
        last = stored.get(SEQUENCE) if stored else None
        if last is None:
            return stripe
        if not _is_of(stripe, stripes, last):
            raise ConnectError(f"the stored offset {stored} is no number of stripe {stripe} of {stripes}")
        return int(last) + stripes


class GeneratorSourceConnector(SourceConnector):
    """Deals the numbers to the tasks."""

    config = GeneratorConfig
    task = GeneratorSourceTask
    topic_keys = ("topic",)

    def validate(self, properties: Mapping[str, str]) -> list[Problem]:
        try:
            settings = GeneratorConfig.parse(properties)
        except ConfigError:
            return []  # single keys tell that
        problems = []
        if settings.stamp and settings.format not in ("orders", "text"):
            problems.append(Problem("stamp", "stamp goes with format orders or text: other values have no room for it"))
        size_min = bodies.NUMBER_DIGITS + 1 + settings.stamp * (bodies.STAMP_DIGITS + 1)
        if settings.format == "text" and settings.size < size_min:
            problems.append(Problem("size", f"size is {settings.size}; number and stamp take {size_min} bytes"))
        if settings.size_min is not None and settings.format != "bytes":
            problems.append(Problem("size.min", "size.min goes with format bytes: other values are all of one size"))
        elif settings.size_min is not None and settings.size_min > settings.size:
            problems.append(
                Problem("size.min", f"size.min is {settings.size_min}; expected at most size={settings.size}")
            )
        return problems

    def task_configs(self, tasks_max: int) -> Sequence[Mapping[str, str]]:
        return [
            {**self.properties, "task.stripe": str(stripe), "task.stripes": str(tasks_max)}
            for stripe in range(tasks_max)
        ]

    def alter_offsets(self, properties: Mapping[str, str], offsets: Mapping[str, Mapping[str, Any] | None]) -> bool:
        """True when all are numbers that a task of the stripe would store; None (begin anew) may stand anywhere."""
        for text, offset in offsets.items():
            partition = msgspec.json.decode(text) or {}
            if offset is None:
                continue
            if set(partition) != {STRIPE, STRIPES} or set(offset) != {SEQUENCE}:
                raise ConnectError(
                    f"partition {text}, offset {dict(offset)}: expected a partition with the keys '{STRIPE}' and "
                    f"'{STRIPES}', and an offset that is null or has the key '{SEQUENCE}'"
                )
            if not _is_of(partition[STRIPE], partition[STRIPES], offset[SEQUENCE]):
                raise ConnectError(
                    f"partition {text}, offset {dict(offset)}: expected a number from 0 on that is one of the stripe's"
                )
        return True


def _is_of(stripe: Any, stripes: Any, number: Any) -> bool:
    """Whether a task of this stripe makes this number."""
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in (stripe, stripes, number)):
        return False
    return bool(stripes and number % stripes == stripe)


def _bodies_of(settings: GeneratorConfig) -> bodies.Bodies:
    match settings.format:
        case "orders":
            return bodies.Orders(settings.seed)
        case "text":
            return bodies.Text(settings.seed, settings.size)
        case "bytes":
            return bodies.Opaque(settings.seed, settings.size, settings.size_min)
        case "sequence":
            return bodies.Numbers()
