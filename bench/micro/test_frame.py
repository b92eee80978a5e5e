"""How long it takes to make a frame of a batch, and a batch of a frame."""

from __future__ import annotations

from typing import Any

from engine.api.batch import Run
from engine.shm import frame


def sink_frame(values: list[bytes], *, is_full: bool) -> frame.SinkFrame:
    count = len(values)
    return frame.SinkFrame(
        runs=[Run("orders", 0, 1, count, 0, count - 1)],
        size_bytes=sum(map(len, values)),
        values=[*values],
        keys=[b"c-%08d" % number for number in range(count)] if is_full else None,
        timestamps=[*range(count)],
        timestamp_type=1,
        headers=[[("trace", b"4bf92f3577b34da6"), ("origin", b"shop")]] * count if is_full else None,
    )


def source_frame(values: list[bytes]) -> frame.SourceFrame:
    return frame.SourceFrame("orders", len(values), sum(map(len, values)), len(values), [*values])


def test_pack_source(measure: Any, orders: list[bytes]) -> None:
    made, buffer = source_frame(orders), bytearray(1 << 20)
    measure(lambda: frame.encode_into(made, buffer))


def test_unpack_source(measure: Any, orders: list[bytes]) -> None:
    packed = frame.encode(source_frame(orders))
    measure(lambda: frame.decode_source(packed))


def test_pack_sink(measure: Any, orders: list[bytes]) -> None:
    made, buffer = sink_frame(orders, is_full=False), bytearray(1 << 20)
    measure(lambda: frame.encode_into(made, buffer))


def test_unpack_sink(measure: Any, orders: list[bytes]) -> None:
    packed = frame.encode(sink_frame(orders, is_full=False))
    measure(lambda: frame.decode_sink(packed))


def test_unpack_sink_with_keys_and_headers(measure: Any, orders: list[bytes]) -> None:
    packed = frame.encode(sink_frame(orders, is_full=True))
    measure(lambda: frame.decode_sink(packed))
