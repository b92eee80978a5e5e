"""A converter whose schemas are in a registry: columns by schema one way, by id the other.

    (topic, schema) ──► subject ──► id, Writer ──► 0, id, bytes            payload ──► id ──► Reader ──► values

A format says what a Writer and a Reader are; both are kept, the oldest given up beyond `schemas.cache.config`. What
the registry does not tell now is the failure of each slot that needs it, a RetriableError: the task asks again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import Any, Literal, Protocol, TypeVar

from msgspec import Struct

from converters.registry import wire
from converters.registry.client import Registered, Registry, Text
from converters.registry.config import RegistryConfig
from engine.api.column import Repeat
from engine.api.converter import Converter, Decoded, Encoded, Failure
from engine.api.errors import ConfigError, ConnectError, DataError, Problem
from engine.api.schema import Schema

__all__ = ["Column", "Lru", "Reader", "RegistryConverter", "Target", "Writer"]

_STRATEGIES = {
    f"{prefix}{name}{suffix}": name
    for name in ("Topic", "Record", "TopicRecord")
    for prefix in ("", "io.confluent.kafka.serializers.subject.")
    for suffix in ("", "NameStrategy")
}
Value = TypeVar("Value")


class Column(Struct):
    """What became of n slots; a failed one holds None, and is in `failures` with its index."""

    slots: list[Any]
    failures: list[tuple[int, Exception]]
    schemas: list[Schema | None] | None = None  # of what was read, where they are not all the reader's


class Reader(Protocol):
    """Reads payloads of one id."""

    schema: Schema | None

    def read(self, payloads: Sequence[bytes]) -> Column:
        """The values of payloads, which begin with magic byte and id."""


class Writer(Protocol):
    """Writes values of one schema."""

    def write(self, values: Sequence[Any], prefix: bytes) -> Column:
        """The payloads of values, none of which is None; each begins with `prefix`."""


class Target(Struct, frozen=True):
    """What values of one Connect schema are written under, before it has an id."""

    text: Text
    record_name: str | None  # for subjects that are called after it; None: it has none


class Lru(dict[Any, Any]):
    """What is kept, the oldest given up."""

    def __init__(self, size_max: int) -> None:
        super().__init__()
        self._size_max = size_max

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value under a key, made if it is not there."""
        found: Value | None = self.get(key)
        if found is None:
            found = make()
            if len(self) >= self._size_max:
                self.pop(next(iter(self)))
            self[key] = found
        return found


class RegistryConverter(Converter):
    """What is the same for all formats."""

    #: The registry's word for it.
    kind: str

    def configure(self, config: Any, *, is_key: bool) -> None:
        """Raises ConfigError for what contradicts itself; asks the registry nothing."""
        self._config: RegistryConfig = config
        self._registry = Registry(config)
        self._readers = Lru(config.schemas_cache)
        self._writers = Lru(config.schemas_cache)
        key = f"{'key' if is_key else 'value'}.subject.name.strategy"
        given = config.key_strategy if is_key else config.value_strategy
        if given not in _STRATEGIES:
            raise ConfigError(
                [Problem(key, f"Invalid value {given} for configuration {key}: expected Topic, Record or TopicRecord")]
            )
        self._strategy = _STRATEGIES[given]
        self._suffix = "key" if is_key else "value"
        if config.auto_register and (config.use_schema_id >= 0 or config.use_latest_version):
            other = "use.schema.id" if config.use_schema_id >= 0 else "use.latest.version"
            raise ConfigError(
                [Problem(other, f"{other} needs auto.register.schemas=false: only one of them can say what is written")]
            )

    @abstractmethod
    def _reader(self, found: Registered, version: int | None) -> Reader:
        """A reader for a registered schema. Raises DataError for one that it cannot read."""

    @abstractmethod
    def _target(self, schema: Schema | None) -> Target:
        """What values of a schema are written under."""

    @abstractmethod
    def _writer(self, schema: Schema | None, found: Registered, *, is_strict: bool) -> Writer:
        """A writer of values of `schema` under what is registered. is_strict: nothing of a value may be left out."""

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        count = len(payloads)
        if isinstance(payloads, Repeat) and count:
            if payloads.value is None:
                return Decoded(payloads, Repeat(None, count))
            payloads = [*payloads]
        groups, bad = wire.by_id(payloads)
        if len(groups) == 1 and not bad:
            ((number, places),) = groups.items()
            if places is None:
                return self._read_all(topic, number, payloads)  # type: ignore[arg-type]  # there is no null in it
        values: list[Any] = [None] * count
        schemas: list[Schema | None] = [None] * count
        failures = [Failure(index, error) for index, error in bad]
        for number, places in groups.items():
            these = range(count) if places is None else places
            decoded = self._read_all(topic, number, [payloads[index] or b"" for index in these])
            for index, value, schema in zip(these, decoded.values, decoded.schemas, strict=True):
                values[index], schemas[index] = value, schema
            failures += [Failure(these[failure.index], failure.error) for failure in decoded.failures]
        return Decoded(values, schemas, failures)

    def _read_all(self, topic: str, number: int, payloads: Sequence[bytes]) -> Decoded:
        count = len(payloads)
        try:
            reader = self._readers.once((number, topic), lambda: self._make_reader(topic, number))
        except ConnectError as error:
            return Decoded(Repeat(None, count), Repeat(None, count), [Failure(index, error) for index in range(count)])
        column = reader.read(payloads)
        if not column.failures and column.schemas is None:
            return Decoded(column.slots, Repeat(reader.schema, count))
        schemas: list[Schema | None] = column.schemas or [reader.schema] * count
        for index, _ in column.failures:
            schemas[index] = None
        return Decoded(column.slots, schemas, [Failure(index, error) for index, error in column.failures])

    def _make_reader(self, topic: str, number: int) -> Reader:
        found = self._registry.schema(number)
        if found.text.kind != self.kind:
            raise DataError(f"the schema id {number} is one of {found.text.kind}, expected {self.kind}")
        version = self._registry.version_of(number, self._subject(topic, self._name_of(found)))
        return self._reader(found, version)

    def _name_of(self, found: Registered) -> str | None:
        """The name that subjects of a registered schema are called after."""
        return None

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        count = len(values)
        if isinstance(values, Repeat) and count and values.value is None:
            error = _null(schemas)
            return Encoded(Repeat(None, count), [Failure(index, error) for index in range(count)] if error else ())
        if isinstance(schemas, Repeat) and count and None not in values:
            column = self._write_all(topic, schemas.value, values)
            return Encoded(column.slots, [Failure(index, error) for index, error in column.failures])
        payloads: list[bytes | None] = [None] * count
        failures = []
        groups: dict[Schema | None, list[int]] = {}
        for index, (value, schema) in enumerate(zip(values, schemas, strict=True)):
            if value is not None:
                groups.setdefault(schema, []).append(index)
            elif (error := _null([schema])) is not None:
                failures.append(Failure(index, error))
        for schema, places in groups.items():
            column = self._write_all(topic, schema, [values[index] for index in places])
            for index, payload in zip(places, column.slots, strict=True):
                payloads[index] = payload
            failures += [Failure(places[index], error) for index, error in column.failures]
        return Encoded(payloads, failures)

    def _write_all(self, topic: str, schema: Schema | None, values: Sequence[Any]) -> Column:
        age = 0
        if self._config.use_latest_version and self._config.latest_cache_seconds >= 0:
            age = int(monotonic() // max(self._config.latest_cache_seconds, 1))
        try:
            writer, prefix = self._writers.once((topic, age, schema), lambda: self._make_writer(topic, schema, age))
        except ConnectError as error:
            return Column([None] * len(values), [(index, error) for index in range(len(values))])
        return writer.write(values, prefix)

    def _make_writer(self, topic: str, schema: Schema | None, age: int) -> tuple[Writer, bytes]:
        config = self._config
        if config.use_schema_id >= 0:
            found = self._registry.schema(config.use_schema_id)
            return self._writer(schema, found, is_strict=config.id_strict), wire.header(found.id)
        target = self._target(schema)
        subject = self._subject(topic, target.record_name)
        if config.use_latest_version:
            found = self._registry.latest(subject, age)
            return self._writer(schema, found, is_strict=config.latest_strict), wire.header(found.id)
        ask = self._registry.register if config.auto_register else self._registry.lookup
        found = Registered(ask(subject, target.text), target.text)
        return self._writer(schema, found, is_strict=True), wire.header(found.id)

    def _subject(self, topic: str, record_name: str | None) -> str:
        strategy: Literal["Topic", "Record", "TopicRecord"] = self._strategy  # type: ignore[assignment]  # of these
        if strategy == "Topic":
            return f"{topic}-{self._suffix}"
        if record_name is None:
            raise DataError(
                f"{strategy}NameStrategy calls a subject after the name of a record, and this schema has none: "
                "name the schema, or use TopicNameStrategy"
            )
        return record_name if strategy == "Record" else f"{topic}-{record_name}"


def _null(schemas: Sequence[Schema | None]) -> DataError | None:
    """What is wrong with a null under the first of these schemas."""
    schema = schemas[0] if len(schemas) else None
    if schema is None or schema.optional or schema.default is not None:
        return None
    return DataError("Found null value for non-optional schema")
