"""A record that fails costs itself, never its batch: the others go on in order, and who is to blame is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from converters.byte_array import ByteArrayConverter
from converters.string import StringConverter
from engine.api.batch import Run
from engine.api.column import Repeat
from engine.api.converter import Converter, Decoded, Encoded, RecordConverter
from engine.api.errors import DataError, RetriableError
from engine.api.record import Header, SourceRecord
from engine.api.schema import Schema
from engine.api.transform import AnyRecord, Transform
from engine.shm import frame
from engine.shm.frame import ArrivedSinkFrame
from engine.stages.convert import Converters
from engine.stages.outgoing import columns_of
from engine.stages.tolerate import STRICT, AgainError, Manner
from engine.stages.transform import Step, fused
from engine.stages.work import Inbound, Outbound, Stages, inbound, outbound, transformed

SKIPS = Manner(skips=True, converters_wait=False)
PATIENT = Manner(skips=True, converters_wait=True, transforms_wait=True)


class Refuses(RecordConverter):
    """Refuses what begins with an x; what begins with an r may pass."""

    def __init__(self) -> None:
        self.calls = 0

    def from_connect_value(self, topic: str, value: Any, schema: Schema | None) -> bytes | None:
        self._look(value)
        return None if value is None else bytes(value)

    def to_connect_value(self, topic: str, payload: bytes | None) -> tuple[Any, Schema | None]:
        self._look(payload)
        return payload, None

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        self._look(payload)
        return Header(key, payload)

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        self._look(header.value)
        return bytes(header.value)

    def _look(self, value: Any) -> None:
        self.calls += 1
        if value is not None and value.startswith(b"x"):
            raise DataError(f"no {value!r}")
        if value is not None and value.startswith(b"r"):
            raise RetriableError("the registry is away")


class RaisesForAll(Converter):
    """A column with a bad value in it is refused as a whole, as a converter with a mistake in it does."""

    def __init__(self) -> None:
        self.calls = 0

    def from_connect(self, topic: str, values: Sequence[Any], schemas: Sequence[Schema | None]) -> Encoded:
        self._look(values)
        return Encoded(list(values))

    def to_connect(self, topic: str, payloads: Sequence[bytes | None]) -> Decoded:
        self._look(payloads)
        return Decoded(list(payloads), Repeat(None, len(payloads)))

    def _look(self, values: Sequence[Any]) -> None:
        self.calls += 1
        for value in values:
            if value is not None and value.startswith(b"x"):
                raise ValueError("somewhere")
            if value is not None and value.startswith(b"r"):
                raise ConnectionError("away")


class Upper(Transform):
    """Refuses what begins with a t; what begins with a w may pass; drops a d."""

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if record.value.startswith(b"t"):
            raise DataError("no such field")
        if record.value.startswith(b"w"):
            raise RetriableError("later")
        return None if record.value == b"d" else record


def stages(value: Converter, *chain: Transform, key: Converter | None = None, header: Any = None) -> Stages:
    return Stages(
        [Step(one) for one in chain], Converters(key or ByteArrayConverter(), value, header or ByteArrayConverter())
    )


def arrived(
    *values: bytes, keys: list[bytes | None] | None = None, headers: list[list[tuple[str, bytes | None]]] | None = None
) -> ArrivedSinkFrame:
    """Records of two partitions, the first with a gap in its offsets."""
    half = len(values) // 2
    offsets = [*range(5, 5 + half - 1), 100][:half]
    runs = [
        Run("t", 0, 1, half, offsets[0], offsets[-1], offsets),
        Run("t", 1, 1, len(values) - half, 0, len(values) - half - 1),
    ]
    raw = msgspec.Raw(frame.encode(headers))
    return ArrivedSinkFrame(runs, 0, list(values), keys, [1000 + at for at in range(len(values))], 1, raw)


def seen(done: Inbound) -> list[tuple[Any, int, int]]:
    batch = done.batch
    return [*zip(batch.values, batch.partitions, batch.offsets, strict=True)]


def skipped(done: Inbound | Outbound) -> list[tuple[int, str, str]]:
    found = done.all_skipped() if isinstance(done, Outbound) else done.skipped
    return [(one.index, one.stage, "" if one.plugin is None else one.plugin.__name__) for one in found]


def test_a_sinks_bad_records_are_left_out_and_the_others_keep_their_places() -> None:
    frame_of = arrived(b"a", b"x1", b"b", b"c", b"x2", b"x3", b"d2")
    done = inbound(frame_of, stages(Refuses()), lambda _: None, SKIPS)
    assert seen(done) == [(b"a", 0, 5), (b"b", 0, 100), (b"c", 1, 0), (b"d2", 1, 3)]
    assert skipped(done) == [(at, "VALUE_CONVERTER", "Refuses") for at in (1, 4, 5)]
    assert list(done.origins or ()) == [0, 2, 3, 6]
    assert [*done.batch.timestamps] == [1000, 1002, 1003, 1006]
    assert (done.came, done.converted, done.not_converted_count) == (7, 4, 3)
    assert not done.is_whole


def test_without_tolerance_the_first_bad_record_ends_the_batch() -> None:
    done = inbound(arrived(b"a", b"x1", b"b", b"c"), stages(Refuses()), lambda _: None, STRICT)
    assert seen(done) == [(b"a", 0, 5)]
    assert done.not_converted is not None
    assert (done.not_converted.index, done.not_converted.stage, done.skipped) == (1, "VALUE_CONVERTER", ())


def test_of_a_record_in_which_all_is_bad_the_key_is_to_blame_then_the_value_then_a_header() -> None:
    message = arrived(
        *(b"x", b"x", b"a", b"b"),
        keys=[b"x", b"k", b"k", b"k"],
        headers=[[("h", b"x")], [("h", b"x")], [("h", b"ok"), ("h", b"x")], [("h", b"ok")]],
    )
    refuses = Refuses()
    some = stages(refuses, key=refuses, header=refuses)
    done = inbound(message, some, lambda _: None, SKIPS._replace(reads_headers=True))
    assert [stage for _, stage, _ in skipped(done)] == ["KEY_CONVERTER", "VALUE_CONVERTER", "HEADER_CONVERTER"]
    assert seen(done) == [(b"b", 1, 1)]
    assert [*done.batch.headers[0]] == [Header("h", b"ok")]


def test_headers_that_nobody_needs_are_not_converted_beforehand() -> None:
    refuses = Refuses()
    message = arrived(b"a", b"b", headers=[[("h", b"x")], []])
    done = inbound(message, stages(ByteArrayConverter(), header=refuses), lambda _: None, SKIPS)
    assert (refuses.calls, done.is_whole, len(done.batch)) == (0, True, 2)


def test_transforms_and_converters_skip_together_and_what_is_dropped_is_no_failure() -> None:
    message = arrived(b"a", b"x", b"t1", b"d", b"t2", b"b")
    done = inbound(message, stages(Refuses(), Upper()), lambda _: None, SKIPS)
    assert seen(done) == [(b"a", 0, 5), (b"b", 1, 2)]
    assert list(done.origins or ()) == [0, 5]
    assert skipped(done) == [
        (1, "VALUE_CONVERTER", "Refuses"),
        (2, "TRANSFORMATION", "Upper"),
        (4, "TRANSFORMATION", "Upper"),
    ]


def test_a_frame_of_bad_records_only_leaves_an_empty_batch() -> None:
    for chain in ((), (Upper(),)):
        done = inbound(arrived(b"x", b"x", b"x"), stages(Refuses(), *chain), lambda _: None, SKIPS)
        assert (len(done.batch), len(done.skipped), list(done.origins or ())) == (0, 3, [])


@pytest.mark.parametrize("count", [100, 1000])
def test_a_converter_that_raises_for_a_column_is_asked_once_for_each_record(count: int) -> None:
    converter = RaisesForAll()
    values = [b"x" if at % 10 == 0 else b"%d" % at for at in range(count)]
    done = inbound(arrived(*values), stages(converter), lambda _: None, SKIPS)
    assert len(done.skipped) == count // 10
    assert len(done.batch) == count - count // 10
    assert converter.calls == count + 1
    with pytest.raises(ValueError, match="somewhere"):
        inbound(arrived(*values), stages(converter), lambda _: None, STRICT)


def test_what_may_pass_is_waited_for_and_then_fails_as_anything_else() -> None:
    message = arrived(b"a", b"r", b"b", b"r")
    for some in (stages(Refuses()), stages(RaisesForAll())):
        with pytest.raises(AgainError, match="away"):
            inbound(message, some, lambda _: None, PATIENT)
        with pytest.raises(AgainError):
            inbound(message, some, lambda _: None, STRICT)
    assert len(inbound(message, stages(Refuses()), lambda _: None, SKIPS).batch) == 2
    converter = RaisesForAll()
    done = inbound(message, stages(converter), lambda _: None, SKIPS)
    assert (len(done.skipped), converter.calls) == (4, 1)  # each further call might wait as long


def test_a_transform_is_waited_for_only_where_there_is_time() -> None:
    message = arrived(b"a", b"w")
    with pytest.raises(AgainError) as raised:
        inbound(message, stages(ByteArrayConverter(), Upper()), lambda _: None, PATIENT)
    assert raised.value.records == 1
    done = inbound(message, stages(ByteArrayConverter(), Upper()), lambda _: None, STRICT)
    assert done.not_transformed is not None
    assert isinstance(done.not_transformed.error, RetriableError)


def test_a_sources_bad_records_are_left_out() -> None:
    records = [
        SourceRecord(topic=topic, value=value, headers=[Header("h", header)], partition=at, timestamp=at)
        for at, (topic, value, header) in enumerate(
            [("t", b"a", b"1"), ("t", b"x", b"x"), ("t", b"t", b"1"), ("u", b"x", b"1"), ("u", b"b", b"1")]
        )
    ]
    refuses = Refuses()
    some = stages(refuses, Upper(), header=refuses)
    done = outbound(transformed(columns_of(records), some, lambda _: None, SKIPS), some, lambda _: None, SKIPS)
    assert skipped(done) == [
        (2, "TRANSFORMATION", "Upper"),
        (1, "HEADER_CONVERTER", "Refuses"),
        (3, "VALUE_CONVERTER", "Refuses"),
    ]
    assert [(one.topic, one.columns.values, one.partitions, one.timestamps) for one in done.batches] == [
        ("t", [b"a"], [0], [0]),
        ("u", [b"b"], [4], [4]),
    ]
    assert list(done.going()) == [0, 4]
    assert not done.is_whole


class Named(Upper):
    """Fuses with whatever follows it, and refuses one value."""

    def __init__(self, bad: bytes, *parts: Transform) -> None:
        self._bad = bad
        self._parts = parts or (self,)

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        for part in self._parts:
            if part is self and record.value == self._bad:
                raise DataError("no")
            if part is not self and part.apply(record) is None:
                return None
        return record

    def fused(self, following: Transform) -> Transform | None:
        return Named(b"", self, following)


class Other(Named):
    """One of another name."""


def test_of_transforms_that_are_one_the_one_to_blame_is_told() -> None:
    chain = fused([Step(Named(b"1")), Step(Other(b"2"))])
    assert len(chain) == 1
    some = Stages(chain, Converters(ByteArrayConverter(), ByteArrayConverter(), StringConverter()))
    done = inbound(arrived(b"1", b"a", b"2", b"b"), some, lambda _: None, SKIPS)
    assert skipped(done) == [(0, "TRANSFORMATION", "Named"), (2, "TRANSFORMATION", "Other")]
