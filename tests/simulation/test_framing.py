"""What was fetched goes into frames once, however a fetch overlaps the last."""

from __future__ import annotations

from engine.kafka.consumer import Start
from engine.kafka.fetched import Fetched, Slice
from engine.pump import framing
from engine.pump.partitions import Partitions

PLACE = ("t", 0)


def fetched(offsets: list[int]) -> Fetched:
    is_gapless = offsets[-1] - offsets[0] + 1 == len(offsets)
    slice_ = Slice(*PLACE, len(offsets), offsets[0], offsets[-1], None if is_gapless else offsets)
    return Fetched([slice_], [b"%d" % offset for offset in offsets], None, None, 0, None)


def values(parts: Partitions, offsets: list[int]) -> list[bytes | None]:
    return [value for whole in framing.frames_of(fetched(offsets), parts) for value in whole.values]


def test_what_a_fetch_brings_again_is_in_no_second_frame() -> None:
    parts = Partitions()
    parts.assign({PLACE: Start(0, is_committed=True)})
    assert values(parts, [0, 1, 2, 4]) == [b"0", b"1", b"2", b"4"]
    assert values(parts, [2, 4, 7]) == [b"7"]
    assert values(parts, [7]) == []
    assert values(parts, [6, 7, 8, 9]) == [b"8", b"9"]
