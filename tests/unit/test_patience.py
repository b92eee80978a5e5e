"""A wait is on the board at once, in the log when it is one, and over when what was waited for is there."""

from __future__ import annotations

import logging
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.errors import ConnectError, DeliveryTimeoutError, RetriableError, UnreachableError
from engine.patience import PAUSE_SECONDS_MAX, TELL_NS, Patience, pause_seconds
from engine.shm.board import Row, State, Word
from engine.shm.waits import Cause, OutsideError, Trouble, Wait, cause_of, gravest, pack, unpack
from tests.harness.banks import LineMemory, VirtualClock, line_spec

AWAY = Trouble(Cause.BROKER, "127.0.0.1:9092: Connection refused")
FULL = OutsideError("the offset store cannot be written: database or disk is full", Cause.STORE)


@pytest.fixture
def row() -> Row:
    return LineMemory(line_spec("source")).row


def patience_of(row: Row, clock: VirtualClock, word: Word = Word.PUMP_WAIT) -> Patience:
    return Patience(row, word, clock, Random(1))


@given(st.sampled_from(Cause), st.integers(0, 2**55 // 1_000_000))
def test_a_word_says_cause_and_beginning(cause: Cause, since_ms: int) -> None:
    wait = None if cause == Cause.NOTHING else Wait(cause, since_ms * 1_000_000)
    assert unpack(pack(wait)) == wait
    assert pack(wait) < 2**64


def test_a_word_of_a_later_version_is_no_wait() -> None:
    assert unpack(250) is None


def test_a_wait_is_on_the_board_at_once_and_gone_when_it_is_over(row: Row) -> None:
    clock = VirtualClock()
    patience = patience_of(row, clock)
    began_ns = clock.now_ns
    patience.note(AWAY)
    clock.advance(3)
    patience.note(AWAY)
    assert gravest(row) == Wait(Cause.BROKER, began_ns)
    patience.end(Cause.STORE)
    assert patience.cause == Cause.BROKER
    patience.end(Cause.STORE, Cause.BROKER)
    assert gravest(row) is None


def test_what_tells_more_takes_the_place_of_what_tells_less_and_not_the_other_way(row: Row) -> None:
    clock = VirtualClock()
    patience = patience_of(row, clock)
    patience.note(Trouble(Cause.ACKNOWLEDGEMENTS, "for 5 s"))
    began_ns = clock.now_ns
    clock.advance(2)
    patience.note(Trouble(Cause.REPLICAS, "1 of 2"))
    patience.note(Trouble(Cause.ACKNOWLEDGEMENTS, "for 7 s"))
    assert gravest(row) == Wait(Cause.REPLICAS, began_ns), "it is the same wait, known better"


def test_a_blink_is_not_told_and_a_wait_once_a_minute(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = VirtualClock()
    patience = patience_of(row, clock)
    patience.note(AWAY)
    clock.advance(0.5)
    patience.end(Cause.BROKER)
    assert not caplog.records
    patience.note(AWAY)
    for _ in range(int(2.5 * TELL_NS / 1e8)):
        clock.advance(0.1)
        patience.tick(clock.now_ns)
    patience.end(Cause.BROKER)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3 + ["INFO"]
    assert caplog.messages[0] == f"waits for 1 s: no broker can be reached ({AWAY.why})"
    assert caplog.messages[-1] == "goes on after 150.0 s: it waited because no broker can be reached"


def test_a_trouble_that_comes_and_goes_is_told_once_a_minute(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    patience = patience_of(row, clock)
    for _ in range(20):
        patience.note(AWAY)
        clock.advance(2)
        patience.tick(clock.now_ns)
        patience.end(Cause.BROKER)
    assert len(caplog.records) == 1


def test_a_call_that_fails_is_due_after_a_pause_that_grows_to_a_bound(row: Row) -> None:
    clock = VirtualClock()
    patience = patience_of(row, clock)
    pauses = []
    for _ in range(12):
        patience.bear(FULL)
        failed_ns = clock.now_ns
        while not patience.is_due(clock.now_ns):
            clock.advance(0.01)
        pauses.append((clock.now_ns - failed_ns) / 1e9)
    assert pauses[0] < 0.3
    assert max(pauses) <= PAUSE_SECONDS_MAX + 0.01
    assert min(pauses[-3:]) >= PAUSE_SECONDS_MAX / 2


@given(st.sampled_from(Cause), st.integers(0, 10**6), st.floats(0, 1))
def test_every_pause_has_both_bounds(cause: Cause, tries: int, chance: float) -> None:
    assert 0.1 < pause_seconds(cause, tries, chance) <= PAUSE_SECONDS_MAX


def test_throttling_is_over_when_nobody_tells_of_it_any_more(row: Row) -> None:
    clock = VirtualClock()
    patience = patience_of(row, clock)
    for _ in range(5):
        patience.note(Trouble(Cause.QUOTA, "2 s"), lasts_seconds=5)
        clock.advance(4)
        patience.tick(clock.now_ns)
        assert patience.cause == Cause.QUOTA
    clock.advance(2)
    patience.tick(clock.now_ns)
    assert patience.cause == Cause.NOTHING


def test_the_next_life_goes_on_with_the_wait_of_the_last(row: Row) -> None:
    clock = VirtualClock()
    began_ns = clock.now_ns
    with pytest.raises(RetriableError), patience_of(row, clock).leaving():
        raise RetriableError("the database is away")
    clock.advance(30)
    patience = patience_of(row, clock)
    assert gravest(row) == Wait(Cause.START, began_ns)
    patience.end(Cause.START)
    assert gravest(row) is None


def test_both_banks_have_a_word_and_the_graver_one_is_shown(row: Row) -> None:
    clock = VirtualClock()
    patience_of(row, clock, Word.TASK_WAIT).note(Trouble(Cause.POLL, "not yet"))
    patience_of(row, clock).note(AWAY)
    assert gravest(row) == Wait(Cause.BROKER, clock.now_ns)
    row.set(Word.STATE, State.DONE)
    assert gravest(row) is None


def test_an_error_says_what_is_waited_for_and_one_that_will_not_pass_is_no_wait(row: Row) -> None:
    assert [cause_of(error) for error in (FULL, UnreachableError(), DeliveryTimeoutError(), RetriableError())] == [
        Cause.STORE,
        Cause.BROKER,
        Cause.ACKNOWLEDGEMENTS,
        Cause.START,
    ]
    patience = patience_of(row, VirtualClock())
    assert not patience.note_error(ConnectError("no such topic"))
    assert patience.cause == Cause.NOTHING


def test_every_cause_has_a_sentence() -> None:
    assert all(cause.sentence and cause.label for cause in Cause)
