"""What has failed starts again by its cause: soon, slowly, once, by way of trial, or not by itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.api.errors import (
    ConfigError,
    ConnectError,
    DataError,
    RecordTooLargeError,
    RefusedError,
    RetriableError,
    UnreachableError,
)
from engine.config.line import Restarts
from engine.exits import ExitCode
from engine.ledger.errors import LedgerError
from engine.mending import Circuit, How, Kind, Mending, code_of, kind_of, kind_of_code
from engine.shm.lease import RivalError
from engine.shm.waits import Cause, OutsideError

SECOND_NS = 1_000_000_000
WORKER = Restarts(count_max=3, window_ms=60_000, refused_ms=300_000, circuit_ms=10_000, error_max=3, record_max=1)
A_RUN_THAT_ENDS = replace(WORKER, refused_ms=0, circuit_ms=0, error_max=0, record_max=0)
AS_KAFKA_CONNECT = replace(WORKER, policy="none")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RetriableError("busy"), Kind.OUTSIDE),
        (UnreachableError("away"), Kind.OUTSIDE),
        (OutsideError("no leader", Cause.LEADER), Kind.OUTSIDE),
        (ConnectionRefusedError("port 5432"), Kind.OUTSIDE),
        (TimeoutError("no answer"), Kind.OUTSIDE),
        (RefusedError("wrong password"), Kind.REFUSED),
        (ConfigError("no such table"), Kind.CONFIG),
        (DataError("no number"), Kind.RECORD),
        (RecordTooLargeError("2 MB"), Kind.RECORD),
        (LedgerError("1 record is missing"), Kind.FINAL),
        (RivalError("another one"), Kind.FENCED),
        (ConnectError("it did not work"), Kind.ERROR),
        (ZeroDivisionError("by zero"), Kind.ERROR),
        (MemoryError(), Kind.CRASH),
    ],
)
def test_an_error_has_a_kind_which_the_exit_code_of_its_process_tells(error: Exception, kind: Kind) -> None:
    assert kind_of(error) == kind
    assert kind_of_code(code_of(kind)) == kind


@pytest.mark.parametrize("code", [-9, -11, 70, 3, 255])
def test_signals_and_codes_that_nobody_knows_are_crashes(code: int) -> None:
    assert kind_of_code(code) == Kind.CRASH


def test_a_code_without_a_word_is_no_more_than_a_crash() -> None:
    assert kind_of_code(ExitCode.FAILED) == Kind.FINAL
    assert kind_of_code(ExitCode.FAILED, is_told=False) == Kind.CRASH


@pytest.mark.parametrize(
    ("restarts", "kind", "hows"),
    [
        (WORKER, Kind.OUTSIDE, [How.BACKOFF] * 6),
        (WORKER, Kind.REFUSED, [How.SLOWLY] * 6),
        (WORKER, Kind.CONFIG, [How.NEVER]),
        (WORKER, Kind.FINAL, [How.NEVER]),
        (WORKER, Kind.RECORD, [How.BACKOFF, How.NEVER]),
        (WORKER, Kind.ERROR, [How.BACKOFF] * 3 + [How.CIRCUIT] * 2),
        (WORKER, Kind.CRASH, [How.BACKOFF] * 3 + [How.CIRCUIT] * 2),
        (WORKER, Kind.FENCED, [How.BACKOFF] * 3 + [How.CIRCUIT] * 2),
        (A_RUN_THAT_ENDS, Kind.OUTSIDE, [How.BACKOFF] * 6),
        (A_RUN_THAT_ENDS, Kind.REFUSED, [How.NEVER]),
        (A_RUN_THAT_ENDS, Kind.RECORD, [How.NEVER]),
        (A_RUN_THAT_ENDS, Kind.ERROR, [How.NEVER]),
        (A_RUN_THAT_ENDS, Kind.CRASH, [How.BACKOFF] * 3 + [How.NEVER]),
        (AS_KAFKA_CONNECT, Kind.OUTSIDE, [How.NEVER]),
        (AS_KAFKA_CONNECT, Kind.REFUSED, [How.NEVER]),
        (AS_KAFKA_CONNECT, Kind.RECORD, [How.NEVER]),
        (AS_KAFKA_CONNECT, Kind.ERROR, [How.NEVER]),
        (AS_KAFKA_CONNECT, Kind.CRASH, [How.NEVER]),
        (AS_KAFKA_CONNECT, Kind.FENCED, [How.BACKOFF] * 3 + [How.NEVER]),
    ],
)
def test_what_becomes_of_it_follows_from_its_kind(restarts: Restarts, kind: Kind, hows: list[How]) -> None:
    assert _lives(Mending(restarts), [kind] * len(hows)) == hows


def test_what_its_kafka_client_has_ended_comes_back_for_whatever_policy() -> None:
    mending = Mending(AS_KAFKA_CONNECT)
    verdict = mending.ended(Kind.OUTSIDE, 0, has_progressed=False, is_plugins=False)
    assert verdict.how == How.BACKOFF


def test_progress_in_between_begins_anew() -> None:
    mending = Mending(WORKER)
    for now_ns in range(20):
        assert mending.ended(Kind.ERROR, now_ns, has_progressed=True).how == How.BACKOFF
    assert mending.fruitless(20) == 1


def test_what_is_longer_ago_than_the_window_does_not_count() -> None:
    mending = Mending(WORKER)
    hows = [mending.ended(Kind.CRASH, at * 25 * SECOND_NS, has_progressed=False).how for at in range(20)]
    assert hows == [How.BACKOFF] * 20


def test_an_outage_between_crashes_uses_up_nothing_and_makes_nothing_good() -> None:
    kinds = [Kind.CRASH, Kind.OUTSIDE, Kind.CRASH, Kind.OUTSIDE, Kind.REFUSED, Kind.CRASH, Kind.CRASH]
    assert _lives(Mending(WORKER), kinds)[-2:] == [How.BACKOFF, How.CIRCUIT]


def test_restarts_in_a_row_are_counted_for_the_pause_and_told() -> None:
    mending = Mending(WORKER)
    verdicts = [mending.ended(Kind.ERROR, 0, has_progressed=False) for _ in range(4)]
    assert [verdict.in_a_row for verdict in verdicts] == [1, 2, 3, 4]
    assert verdicts[-1].told == " (after 3 restarts without progress)"


def test_a_trial_that_fails_opens_the_circuit_again_at_once() -> None:
    mending = _open()
    circuits = [mending.circuit]
    mending.starts()
    circuits.append(mending.circuit)
    long_after_ns = 500 * SECOND_NS
    assert mending.ended(Kind.ERROR, long_after_ns, has_progressed=False).how == How.CIRCUIT
    assert [*circuits, mending.circuit] == [Circuit.OPEN, Circuit.HALF_OPEN, Circuit.OPEN]


def test_a_trial_that_the_world_outside_ends_goes_on_when_that_is_back() -> None:
    mending = _open()
    mending.starts()
    assert mending.ended(Kind.OUTSIDE, 0, has_progressed=False).how == How.BACKOFF
    mending.starts()
    assert mending.circuit == Circuit.HALF_OPEN


@pytest.mark.parametrize(
    ("life_ns", "has_progressed", "circuit"),
    [
        (9 * SECOND_NS, False, Circuit.HALF_OPEN),
        (10 * SECOND_NS, False, Circuit.CLOSED),
        (1, True, Circuit.CLOSED),
    ],
)
def test_a_trial_ends_well_by_progress_or_by_a_long_life(life_ns: int, has_progressed: bool, circuit: Circuit) -> None:
    mending = _open()
    mending.starts()
    mending.lives(life_ns, has_progressed=has_progressed)
    assert mending.circuit == circuit


def test_a_circuit_that_is_closed_again_takes_as_many_failures_as_before() -> None:
    mending = _open()
    mending.starts()
    assert mending.ended(Kind.ERROR, 0, has_progressed=True).how == How.BACKOFF
    assert _lives(mending, [Kind.ERROR] * 3) == [How.BACKOFF, How.BACKOFF, How.CIRCUIT]


def _open() -> Mending:
    """A course that has come to an open circuit."""
    mending = Mending(WORKER)
    assert _lives(mending, [Kind.ERROR] * 4)[-1] == How.CIRCUIT
    return mending


def _lives(mending: Mending, kinds: list[Kind]) -> list[How]:
    hows = []
    for kind in kinds:
        mending.starts()
        hows.append(mending.ended(kind, 0, has_progressed=False).how)
    return hows
