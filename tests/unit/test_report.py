"""The report counts what is safe, tells the gravest state, and bounds what is repeated."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.exits import ExitCode
from engine.ledger.reckoning import Reckoning
from engine.quantities import bytes_text, seconds_text
from engine.report import Report, Totals, as_json, as_text, comes_out_even, make_report
from engine.shm.board import Board, HeaderWord, Identity, Stage, State, Word
from engine.shm.lost_range import LostRange
from engine.shm.waits import Cause, Wait, pack
from tests.unit.metrics.boards import STARTED_NS, filled_board, new_board

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


def ended(board: Board, seconds: float = 4.0) -> Board:
    board.header[HeaderWord.FINISHED_NS] = STARTED_NS + int(seconds * 1e9)
    return board


def test_in_is_acknowledged_and_out_is_committed() -> None:
    _, board = filled_board(source_records=1000, sink_records=900)
    totals = make_report(ended(board), ExitCode.OK).totals
    assert (totals.records_in, totals.records_out) == (1000, 800)
    assert (totals.bytes_in, totals.bytes_out) == (100_000, 90_000)


def test_put_without_a_commit_may_be_repeated() -> None:
    _, board = filled_board(source_records=1000, sink_records=900)
    report = make_report(ended(board), ExitCode.OK)
    assert report.totals.repeated_at_most == 100
    assert {of.name: of.repeated_at_most for of in report.connectors} == {"orders": 0, "copy": 100}


@pytest.mark.parametrize(
    ("out", "repeated_at_most", "is_even"),
    [
        (1000, 0, True),
        (1000, 50_000, True),
        (999, 0, False),
        (999, 50_000, False),  # what a restart repeats makes up for nothing that is missing
        (1010, 10, True),
        (1011, 10, False),
    ],
)
def test_what_comes_out_is_what_went_in_and_more_only_where_it_was_repeated(
    out: int, repeated_at_most: int, is_even: bool
) -> None:
    sources, sinks = Reckoning(1000, 1000), Reckoning(out, out - 2, dropped=1, skipped=1)
    # What sinks have committed and not counted, because they were killed, tells nothing of what is missing.
    totals = Totals(1000, 900, 0, 0, 1, repeated_at_most, sources, sinks)
    assert comes_out_even(Report("DONE", 0, 1.0, totals, ())) is is_even


def test_without_a_ledger_nobody_knows_what_is_missing() -> None:
    assert comes_out_even(Report("DONE", 0, 1.0, Totals(1000, 900, 0, 0, 0, 0), ()))


def test_tasks_are_gathered_by_connector_and_summed() -> None:
    _, board = new_board()
    for connector, task in (("a", 0), ("b", 0), ("a", 1)):
        row = board.row(board.add(Identity(connector, task, "source", "Generator")))
        row.count(Stage.ACKNOWLEDGE, 10 + task, 100)
        row.set(Word.RESTARTS, task)
        row.set(Word.STATE, State.DONE)
    first, second = make_report(ended(board), ExitCode.OK).connectors
    assert (first.name, first.records, first.bytes, first.restarts) == ("a", 21, 200, 1)
    assert [task.task for task in first.tasks] == [0, 1]
    assert (second.name, second.records) == ("b", 10)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([State.DONE, State.DONE], "DONE"),
        ([State.DONE, State.STOPPED], "STOPPED"),
        ([State.STOPPED, State.FAILED], "FAILED"),
        ([State.DONE, State.RUNNING], "RUNNING"),
        ([], "DONE"),
    ],
)
def test_the_state_is_the_gravest_of_all_tasks(states: list[State], told: str) -> None:
    _, board = new_board()
    for task, state in enumerate(states):
        board.row(board.add(Identity("a", task, "sink", "x"))).set(Word.STATE, state)
    assert make_report(ended(board)).state == told


def test_seconds_are_those_of_the_run() -> None:
    _, board = filled_board()
    assert make_report(ended(board, 4.25), ExitCode.OK).seconds == 4.25


def test_a_task_takes_from_its_first_record_to_its_end() -> None:
    _, board = filled_board()
    source, sink = board.rows()
    for row, state in ((source, State.DONE), (sink, State.RUNNING)):
        row.set(Word.STATE, state)
        row.set(Word.FIRST_RECORD_NS, STARTED_NS + 10**9)
        row.set(Word.STATE_SINCE_NS, STARTED_NS + 3 * 10**9)
    never = board.row(board.add(Identity("never", 0, "sink", "x")))
    never.set(Word.STATE, State.RUNNING)
    report = make_report(ended(board, 4), ExitCode.OK)
    assert [of.tasks[0].seconds for of in report.connectors] == [2, 3, 0]


def test_a_run_that_goes_on_is_as_long_as_the_clock_says() -> None:
    class Clock:
        def monotonic_ns(self) -> int:
            return STARTED_NS + 2_500_000_000

    _, board = filled_board()
    report = make_report(board, clock=Clock())
    assert (report.seconds, report.exit_code) == (2.5, None)


def test_every_member_of_the_json_is_documented() -> None:
    _, board = filled_board()
    report = json.loads(as_json(make_report(ended(board), ExitCode.TERMINATED)))
    assert report["exit_code"] == 143
    codes = re.findall(r"`([\w.\[\]]+)`", PAGE.read_text())
    documented = {word for code in codes for word in re.findall(r"\w+", code)}
    connector = report["connectors"][0]
    for table in (report, report["totals"], connector, connector["tasks"][0]):
        assert set(table) <= documented


def test_people_read_a_sentence_a_table_and_the_reasons() -> None:
    _, board = filled_board(source_records=1000, sink_records=900)
    sink = board.row(1)
    sink.set(Word.STATE, State.FAILED)
    sink.set(Word.RESTARTS, 2)
    for row, began, over in ((board.row(0), 0, 4), (sink, 1, 3)):
        row.set(Word.FIRST_RECORD_NS, STARTED_NS + began * 10**9)
        row.set(Word.STATE_SINCE_NS, STARTED_NS + over * 10**9)
    sink.reason = "the disk is full"
    text = as_text(make_report(ended(board), ExitCode.FAILED))
    assert text == (
        "Failed after 4.0 s: 1,000 records in, 800 records out.\n"
        "\n"
        "  connector/task  type    state   records  records/s     bytes  restarts\n"
        "  orders/0        source  done      1,000        250  100.0 kB         0\n"
        "  copy/0          sink    failed      800        400   90.0 kB         2\n"
        "\n"
        "At most 100 records were done twice, or will be next time.\n"
        "\n"
        "copy/0 failed: the disk is full"
    )


def test_a_run_in_which_nothing_went_wrong_has_nothing_below_its_table() -> None:
    _, board = new_board()
    row = board.row(board.add(Identity("orders", 0, "source", "Generator")))
    row.set(Word.STATE, State.DONE)
    assert as_text(make_report(ended(board), ExitCode.OK)).startswith("Done in 4.0 s: 0 records in, 0 records out.\n")
    assert as_text(make_report(ended(board), ExitCode.OK)).count("\n") == 3


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (146e6, "146.0 MB")],
)
def test_bytes_are_told_in_the_unit_that_fits(size: float, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 0 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")],
)
def test_lengths_of_time_are_told_in_two_units(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_what_a_stopped_task_waited_for_is_told() -> None:
    _, board = filled_board()
    row = board.row(1)
    row.set(Word.STATE, State.STOPPED)
    row.set(Word.STATE_SINCE_NS, STARTED_NS + 90_000_000_000)
    row.set(Word.PUMP_WAIT, pack(Wait(Cause.CREDENTIALS, STARTED_NS)))
    report = make_report(ended(board), ExitCode.TERMINATED)
    (task,) = report.connectors[1].tasks
    assert (task.waits_for, task.waits_seconds) == ("credentials", 90.0)
    assert "copy/0 waited at its end, for 1 min 30 s: Kafka refuses who this client says it is" in as_text(report)
    assert report.connectors[0].tasks[0].waits_for == ""


def test_how_often_a_task_was_stalled_is_told() -> None:
    _, board = filled_board()
    board.row(1).set(Word.STALLS, 2)
    report = make_report(ended(board), ExitCode.OK)
    assert [connector.tasks[0].stalls for connector in report.connectors] == [0, 2]
    assert "copy/0 was stalled 2 times: see the log" in as_text(report)


def test_lost_ranges_are_named_until_the_row_is_full_and_all_are_counted() -> None:
    _, board = filled_board(source_records=1000, sink_records=900)
    row = next(row for row in board.rows() if row.identity.type == "sink")
    for partition in range(500):
        row.add_lost(LostRange("t" * 100, partition, 10, 19, "deleted"))
    row.add_lost(LostRange("t", 0, 10, None, "remade"))
    assert row.get(Word.LOST_RECORDS) == 5_000
    report = make_report(ended(board), ExitCode.FAILED)
    (task,) = next(of for of in report.connectors if of.type == "sink").tasks
    assert task.lost_ranges_count == 501
    named = len(task.lost_ranges)
    assert 20 < named < 501
    assert task.lost_ranges[0].partition == 0
    lines = as_text(report).splitlines()
    assert f"copy/0 lost: topic {'t' * 100} partition 0, offsets 10 to 19 (deleted)" in lines
    assert f"copy/0 lost: {501 - named} more ranges; the log names them" in lines
