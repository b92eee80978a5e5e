r"""Lines come out as Kafka Connect's FileStreamSource reads them, however the bytes were cut into pieces."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.file.lines import LineSplitter
from engine.api.errors import ConnectError

TEXTS = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"a", b"bc", "é".encode(), "水".encode(), b"\xff", b"\xe6\xb0", b"\x85", b"\x0c"]
    )
).map(b"".join)


def read_like_java(data: bytes) -> tuple[list[tuple[bytes, int]], int]:
    """A byte at a time: complete lines with the position after them, and where the rest begins."""
    lines = []
    begin = at = 0
    while at < len(data):
        byte = data[at : at + 1]
        if byte == b"\r" and at + 1 == len(data):
            break  # perhaps half of \r\n
        if byte in (b"\n", b"\r"):
            after = at + 2 if data[at : at + 2] == b"\r\n" else at + 1
            lines.append((data[begin:at], after))
            begin = at = after
        else:
            at += 1
    return lines, begin


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data, cut at each of these places (modulo its length)."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


def split(data: bytes, cuts: Iterable[int], *, batch_size: int = 3, is_bulk: bool = False) -> list[tuple[bytes, int]]:
    splitter = LineSplitter("a file")
    lines: list[tuple[bytes, int]] = []

    def take_all() -> None:
        while taken := splitter.take(batch_size):
            assert len(taken.texts) <= batch_size
            positions = [offset["position"] for offset in taken.positions]
            assert positions == [taken.positions[index]["position"] for index in range(len(positions))]
            assert positions[-1] == taken.positions[-1]["position"]
            assert taken.positions.picked([0, len(positions) - 1]) == [taken.positions[0], taken.positions[-1]]
            lines.extend(zip(taken.texts, positions, strict=True))

    for piece in pieces_of(data, cuts):
        splitter.feed(piece)
        take_all()
    if is_bulk:
        splitter.finish()
        take_all()
    return lines


@given(TEXTS, st.lists(st.integers(0, 100)))
def test_lines_and_positions_do_not_depend_on_the_pieces(data: bytes, cuts: list[int]) -> None:
    expected = [(line.decode("utf-8", "replace"), position) for line, position in read_like_java(data)[0]]
    assert [(line.decode(), position) for line, position in split(data, cuts)] == expected


@given(TEXTS, st.lists(st.integers(0, 100)))
def test_a_bulk_run_delivers_what_no_newline_ends(data: bytes, cuts: list[int]) -> None:
    lines, begin = read_like_java(data)
    rest = [(data[begin:].removesuffix(b"\r"), len(data))] if begin < len(data) else []
    expected = [(line.decode("utf-8", "replace"), position) for line, position in lines + rest]
    assert [(line.decode(), position) for line, position in split(data, cuts, is_bulk=True)] == expected


@given(TEXTS, st.data())
def test_reading_on_from_any_position_gives_the_lines_that_are_left(data: bytes, draw: st.DataObject) -> None:
    lines = split(data, (), is_bulk=True)
    index = draw.draw(st.integers(0, len(lines)))
    position = lines[index - 1][1] if index else 0
    assert [line for line, _ in split(data[position:], (), is_bulk=True)] == [line for line, _ in lines[index:]]


def test_bytes_that_are_no_text_become_replacement_characters_and_keep_their_width() -> None:
    assert split(b"a\xffb\nok\n", ()) == [("a\ufffdb".encode(), 4), (b"ok", 7)]


def test_positions_can_be_sliced_and_counted_from_the_end() -> None:
    splitter = LineSplitter("a file", position=100)
    splitter.feed(b"a\nbb\nccc\n")
    lines = splitter.take(10)
    assert lines is not None
    assert lines.positions[-2] == {"position": 105}
    assert lines.positions[1:] == [{"position": 105}, {"position": 109}]
    with pytest.raises(IndexError):
        lines.positions[3]


def test_a_line_that_is_too_long_is_an_error_after_the_lines_before_it() -> None:
    splitter = LineSplitter("orders.txt", line_bytes_max=10)
    splitter.feed(b"one\n" + b"x" * 11)
    assert splitter.take(10).texts == [b"one"]  # type: ignore[union-attr]
    with pytest.raises(ConnectError, match=r"orders\.txt: the line that begins at byte 4 has no end within 10 bytes"):
        splitter.feed(b"x")
