"""Progress says of each offset whether it is done, and a committed offset with its note says the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.errors import ConnectError
from engine.kafka.progress import METADATA_CHARACTERS_MAX, Progress

END = 60
RUNS = st.lists(st.tuples(st.integers(0, END), st.integers(0, 9)), max_size=30)


def of(position: int, runs: list[tuple[int, int]]) -> Progress:
    progress = Progress(position)
    for start, length in runs:
        progress.mark(start, start + length)
    return progress


@given(st.integers(0, END), RUNS)
def test_it_is_the_set_of_what_was_marked(position: int, runs: list[tuple[int, int]]) -> None:
    progress = of(position, runs)
    wanted = {*range(position), *(offset for start, length in runs for offset in range(start, start + length))}
    assert {offset for offset in range(2 * END) if offset in progress} == wanted
    assert progress.position == next(offset for offset in range(2 * END) if offset not in wanted)


@given(st.integers(0, END), RUNS)
def test_a_committed_offset_says_the_same(position: int, runs: list[tuple[int, int]]) -> None:
    progress = of(position, runs)
    offset, note = progress.as_offset()
    again = Progress.of_offset(offset, note + "\0")  # as librdkafka's Python client commits it
    assert [one in again for one in range(2 * END)] == [one in progress for one in range(2 * END)]
    assert again.as_offset() == (offset, note)


@given(st.integers(0, END), RUNS, RUNS)
def test_a_copy_goes_its_own_way(position: int, runs: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
    progress = of(position, runs)
    before = progress.as_offset()
    copy = progress.copy()
    for start, length in more:
        copy.mark(start, start + length)
    assert progress.as_offset() == before


def test_what_is_all_done_needs_no_note() -> None:
    assert of(0, [(0, 5), (5, 5)]).as_offset() == (10, "")


def test_a_note_has_room_for_very_many_letters_of_which_every_second_is_left() -> None:
    _, note = of(0, [(offset, 1) for offset in range(1, 40_000, 2)]).as_offset()
    assert len(note) <= METADATA_CHARACTERS_MAX // 4


def test_a_note_has_room_for_15_000_letters_of_which_any_are_left() -> None:
    chance = random.Random(1)
    _, note = of(0, [(offset, 1) for offset in range(1, 15_000) if chance.random() < 0.5]).as_offset()
    assert len(note) <= METADATA_CHARACTERS_MAX


@pytest.mark.parametrize("note", ["by somebody else", "millrace:1:???", "millrace:1:" + "A" * 20, "millrace:1:"])
def test_a_note_that_is_none_is_told(note: str) -> None:
    with pytest.raises(ConnectError, match="beside offset 7 is no note of Millrace's"):
        Progress.of_offset(7, note)
