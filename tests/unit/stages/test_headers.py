"""Headers of a sink's records are read when a connector looks at them, are the right record's, and name it when bad."""

from __future__ import annotations

import msgspec
import pytest

from converters.byte_array import ByteArrayConverter
from converters.string import StringConverter
from engine.api.batch import Run
from engine.api.converter import HeaderConverter
from engine.api.errors import DataError
from engine.api.record import Header
from engine.shm import frame
from engine.stages.convert import Converters, decode

RUNS = [Run("orders", 0, 1, 2, 10, 11), Run("orders", 3, 1, 1, 7, 7)]
HEADERS: list[list[tuple[str, bytes | None]]] = [[("a", b"1"), ("a", b"2")], [], [("b", None)]]


class RefusesTwo(HeaderConverter):
    """Cannot read the text 2."""

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        raise NotImplementedError

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        if payload == b"2":
            raise ValueError("no two")
        return Header(key, payload)


def arrived(headers: list[list[tuple[str, bytes | None]]] | None) -> frame.ArrivedSinkFrame:
    sent = frame.SinkFrame(RUNS, 3, [b"x", b"y", b"z"], None, [1, 2, 3], 1, headers)
    read = frame.decode_sink(frame.encode(sent))
    assert isinstance(read, frame.ArrivedSinkFrame)
    return read


def converters(header: HeaderConverter) -> Converters:
    return Converters(ByteArrayConverter(), ByteArrayConverter(), header)


def test_each_record_has_its_own_headers_in_their_order() -> None:
    batch, failed, _ = decode(arrived(HEADERS), converters(StringConverter()))
    assert failed is None
    assert [[(header.key, header.value) for header in record.headers] for record in batch] == [
        [("a", "1"), ("a", "2")],
        [],
        [("b", None)],
    ]


def test_a_batch_without_headers_has_none() -> None:
    batch, *_ = decode(arrived(None), converters(StringConverter()))
    assert [list(record.headers) for record in batch] == [[], [], []]


def test_headers_outlive_the_frame_they_came_in() -> None:
    sent = frame.SinkFrame(RUNS, 3, [b"x", b"y", b"z"], None, [1, 2, 3], 1, HEADERS)
    memory = bytearray(frame.encode(sent))
    read = frame.decode_sink(memory)
    assert isinstance(read, frame.ArrivedSinkFrame)
    batch, *_ = decode(read, converters(StringConverter()))
    memory[:] = bytes(len(memory))
    assert [header.value for header in batch[0].headers] == ["1", "2"]


def test_a_header_that_cannot_be_converted_names_its_record() -> None:
    batch, *_ = decode(arrived(HEADERS), converters(RefusesTwo()))
    with pytest.raises(DataError, match=r'header "a" of the record at topic orders, partition 0, offset 10 .* no two'):
        _ = batch[0].headers
    assert batch[2].headers == [Header("b", None)]


def test_a_slice_of_headers_is_still_lazy_and_right() -> None:
    batch, *_ = decode(arrived(HEADERS), converters(StringConverter()))
    assert [[header.key for header in headers] for headers in batch.headers[1:]] == [[], ["b"]]
    assert len(batch.headers[:2]) == 2


def test_a_received_frame_says_whether_there_are_headers() -> None:
    assert arrived(HEADERS).has_headers()
    assert not arrived(None).has_headers()
    assert msgspec.msgpack.decode(bytes(arrived(None).headers)) is None
