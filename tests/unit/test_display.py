"""The display tells true rates, fits every terminal, and leaves log lines as they were written."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import sys
from collections.abc import Callable, Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console

from engine import display, logs
from engine.display.picture import lines_of
from engine.display.screen import Screen
from engine.display.watch import Look, Meter, TaskLook, Watch
from engine.exits import ExitCode
from engine.shm.acts import Act
from engine.shm.board import Identity, Stage, State, Word
from engine.shm.stalls import Stall, Way
from engine.supervisor.fork import fork
from tests.unit.metrics.boards import STARTED_NS, filled_board, new_board

SECOND_NS = 1_000_000_000


class SteppedClock:
    def __init__(self) -> None:
        self.now_ns = STARTED_NS

    def monotonic_ns(self) -> int:
        return self.now_ns


# Rates


def test_a_rate_is_the_growth_of_the_last_three_seconds() -> None:
    meter = Meter()
    quarter_ns = SECOND_NS // 4
    rates = [meter.rate(step * quarter_ns, 100 * step if step <= 20 else 2000) for step in range(40)]
    assert rates[0] == 0
    assert rates[1:21] == [400] * 20
    assert rates[26] == pytest.approx(200)  # half of the window
    assert rates[32:] == [0] * 8


def test_a_rate_is_of_its_window_however_seldom_somebody_looks() -> None:
    meter = Meter()
    assert [meter.rate(minute * 60 * SECOND_NS, minute * 600) for minute in range(3)] == [0, 10, 10]


def test_a_count_that_goes_back_begins_anew() -> None:
    meter = Meter()
    meter.rate(0, 1000)
    assert meter.rate(SECOND_NS, 10) == 0
    assert meter.rate(2 * SECOND_NS, 20) == 10


def test_a_source_has_moved_what_kafka_acknowledged_and_a_sink_what_it_put() -> None:
    _, board = filled_board(source_records=1000, sink_records=900)
    clock = SteppedClock()
    watch = Watch(board, clock)
    watch.look()
    clock.now_ns += SECOND_NS
    board.row(0).count(Stage.ACKNOWLEDGE, 50, 5_000)
    board.row(1).count(Stage.PUT, 40)
    board.row(1).count(Stage.CONVERT, 40, 4_000)
    source, sink = watch.look().tasks
    assert (source.records, source.record_rate, source.byte_rate, source.lag) == (1050, 50, 5_000, None)
    assert (sink.records, sink.record_rate, sink.byte_rate, sink.lag) == (940, 40, 4_000, 100)


def test_a_task_that_is_added_while_it_runs_is_seen() -> None:
    _, board = filled_board()
    watch = Watch(board, SteppedClock())
    assert len(watch.look().tasks) == 2
    board.add(Identity("late", 0, "sink", "x"))
    assert [task.title for task in watch.look().tasks] == ["orders/0", "copy/0", "late/0"]


def test_the_last_rates_are_those_from_the_first_record_to_the_end() -> None:
    _, board = filled_board(source_records=1000)
    clock = SteppedClock()
    board.row(0).set(Word.FIRST_RECORD_NS, STARTED_NS + SECOND_NS)
    board.row(0).set(Word.STATE_SINCE_NS, STARTED_NS + 5 * SECOND_NS)
    clock.now_ns += 60 * SECOND_NS
    source, sink = Watch(board, clock).last_look().tasks
    assert source.record_rate == 250
    assert sink.record_rate == 0  # it never noted a first record


# Pictures


def console(width: int, height: int) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, color_system=None, force_terminal=True)


def picture(tasks: Sequence[TaskLook], width: int = 120, height: int = 40) -> list[str]:
    return lines_of(Look(seconds=12.3, is_last=False, tasks=tuple(tasks)), console(width, height))


def task(connector: str = "orders", number: int = 0, kind: str = "source", **others: object) -> TaskLook:
    values: dict[str, object] = {
        "states": (State.RUNNING,),
        "is_held": False,
        "records": 1_234_567,
        "record_rate": 98_765.4,
        "byte_rate": 14_000_000.0,
        "lag": None if kind == "source" else 34_567,
        "ring_fill": 0.5,
        "restarts": 0,
        "history": (0.0, 50_000.0, 100_000.0),
        "reason": "",
    }
    return TaskLook(connector=connector, title=f"{connector}/{number}", type=kind, **{**values, **others})  # type: ignore[arg-type]


def test_a_wide_terminal_shows_everything() -> None:
    lines = picture([task(), task("copy", kind="sink", restarts=2)])
    assert lines[0].split() == ["millrace", "12.3", "s", "2", "running"]
    assert lines[2].split() == ["orders/0", "source", "running", "1,234,567", "98,765", "14.0", "▅", "▁▅█"]
    assert lines[3].split()[-4:] == ["34,567", "2", "▅", "▁▅█"]


def test_a_task_that_is_stalled_is_shown_so_with_the_stage_and_how_long() -> None:
    stalled = task("copy", kind="sink", stall=Stall(Way.CALL, "task", Act.PUT, 1), stall_seconds=12.0)
    lines = picture([task(), stalled])
    assert "stalled: put" in lines[3]
    assert any("copy/0: stalled: put has not returned for 12.0 s" in line for line in lines)


def test_restarts_have_a_column_once_there_are_some() -> None:
    assert "restarts" not in picture([task()])[1]
    assert "restarts" in picture([task(), task(restarts=1)])[1]


def test_a_narrow_terminal_keeps_names_counts_and_rates() -> None:
    lines = picture([task()], width=38)
    assert lines[1].split() == ["task", "records", "records/s"]
    assert lines[2].split() == ["orders/0", "1,234,567", "98,765"]


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 100, 140])
@pytest.mark.parametrize("height", [3, 10, 24, 80])
@pytest.mark.parametrize("count", [0, 1, 7, 50])
def test_it_fits_every_terminal(width: int, height: int, count: int) -> None:
    tasks = [task(f"connector-{number % 20}", number, reason="x" * 300 * (number % 9 == 1)) for number in range(count)]
    lines = picture(tasks, width, height)
    assert 1 <= len(lines) <= max(1, height - 2)
    assert max(map(cell_len, lines)) <= max(1, width - 1)


def test_tasks_that_do_not_fit_are_told_by_connector() -> None:
    tasks = [task("orders", number, states=(State.DONE if number else State.RUNNING,)) for number in range(20)]
    lines = picture([*tasks, task("copy", kind="sink")], height=16)
    (orders,) = (line for line in lines if line.startswith("orders (20)"))
    assert "1 running, 19 done" in orders
    assert f"{20 * 1_234_567:,}" in orders


def test_connectors_that_do_not_fit_are_counted() -> None:
    lines = picture([task(f"connector-{number}") for number in range(30)], height=12)
    shown = sum(line.startswith("connector-") for line in lines)
    assert f"and {30 - shown} more connectors" in [line.strip() for line in lines]


def test_several_tasks_of_a_kind_are_summed() -> None:
    lines = picture([task("a"), task("b"), task("copy", kind="sink")])
    assert sum(line.startswith("all sources") for line in lines) == 1
    assert not any(line.startswith("all sinks") for line in lines)


def test_why_a_task_failed_comes_first_and_in_one_line() -> None:
    started_again = task("copy", states=(State.RUNNING,), reason="pump process ended by SIGKILL")
    failed = task("orders", states=(State.FAILED,), reason="the disk is full\nand more")
    assert [line.strip() for line in picture([started_again, failed])[-2:]] == [
        "orders/0: the disk is full",
        "copy/0: pump process ended by SIGKILL",
    ]


def test_a_source_that_is_held_says_so() -> None:
    assert "held" in picture([task(is_held=True)])[2].split()
    assert "done" in picture([task(is_held=True, states=(State.DONE,))])[2].split()


def test_a_long_name_keeps_the_end_that_tells_tasks_apart() -> None:
    lines = picture([task("a-very-long-name-of-a-connector-that-goes-on-and-on", number) for number in (7, 8)])
    assert [line.split()[0][-3:] for line in lines[2:4]] == ["n/7", "n/8"]


def test_what_looks_like_markup_in_a_name_is_shown_as_it_is() -> None:
    assert picture([task("[red]x[/]")])[2].startswith("[red]x[/]/0")


# The terminal


class Terminal:
    """What a person sees: a terminal that knows the few sequences that a Screen and log lines use."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self.row = self.column = 0

    def show(self, text: str) -> None:
        for argument, letter in _pieces(text):
            self._obey(argument, letter)

    def _obey(self, argument: str, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif argument.startswith("?") or letter == "m":
            pass
        elif argument == "-":
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1
        elif letter == "A":
            self.row -= int(argument)
        elif letter in "KJ":
            self.lines[self.row] = self.lines[self.row][: self.column]
            if letter == "J":
                del self.lines[self.row + 1 :]
        else:
            raise AssertionError(f"unknown sequence {argument}{letter}")


def _pieces(text: str) -> list[tuple[str, str]]:
    """Sequences as (argument, letter), other characters as ("-", character)."""
    found = re.finditer(r"\x1b\[(?P<argument>\??[\d;]*)(?P<letter>[A-Za-z])|(?P<character>[\s\S])", text)
    return [
        ("-" if piece["character"] not in "\r\n" else "", piece["character"])
        if piece["character"]
        else (piece["argument"], piece["letter"])
        for piece in found
    ]


def drawn(act: Callable[[Screen, Callable[[str], None]], None]) -> list[str]:
    """What stands on a terminal after `act`, which draws, and writes log lines as a terminal would get them."""
    reading, writing = os.pipe()

    def log(line: str) -> None:
        os.write(writing, f"{logs.CLEAR_BELOW}{line}\r\n".encode())

    act(Screen(writing), log)
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        terminal = Terminal()
        terminal.show(output.read().decode())
    return terminal.lines


def test_a_picture_replaces_the_one_before_even_if_it_is_smaller() -> None:
    def act(screen: Screen, log: Callable[[str], None]) -> None:
        screen.draw(["first one", "first two", "first three"])
        screen.draw(["second"])

    assert drawn(act) == ["", "second"]


def test_log_lines_stay_above_and_nothing_of_an_old_picture_is_left_beside_them() -> None:
    def act(screen: Screen, log: Callable[[str], None]) -> None:
        screen.draw(["a long line of a picture", "another long line"])
        log("one")
        log("two")
        log("three\r\nfour")
        screen.draw(["a long line of a picture"])
        log("five")
        screen.leave(["last"])
        log("six")

    assert drawn(act) == ["one", "two", "three", "four", "five", "", "last", "", "six", ""]


def test_a_terminal_that_cannot_move_its_cursor_gets_the_last_picture_only() -> None:
    reading, writing = os.pipe()
    screen = Screen(writing, can_move=False)
    screen.draw(["first"])
    screen.leave(["last"])
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        assert output.read() == b"\r\nlast\r\n\r\n"


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    screen = Screen(writing)
    screen.draw(["first"])
    screen.leave(["last"])
    os.close(writing)


def test_it_draws_until_term_and_leaves_the_last_counts_on_the_terminal() -> None:
    descriptor, board = filled_board(source_records=1000, sink_records=900)
    terminal, inside = pty.openpty()

    def body(_: object) -> int:
        os.dup2(inside, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        return display.run(descriptor)

    child = fork("display", body, [descriptor, inside])
    os.close(inside)
    seen = b""
    while b"1,000" not in seen:
        seen += os.read(terminal, 65536)
    board.row(0).count(Stage.ACKNOWLEDGE, 234)
    os.kill(child.pid, signal.SIGTERM)
    _, status = os.waitpid(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == ExitCode.OK
    assert child.last_words() == ""
    assert b"1,234" in _rest(terminal)


def _rest(terminal: int) -> bytes:
    """What was written to a terminal whose other side is closed."""
    seen = b""
    try:
        while piece := os.read(terminal, 65536):
            seen += piece
    except OSError:  # what Linux says at the end of it
        pass
    os.close(terminal)
    return seen


def test_an_empty_board_is_a_picture_too() -> None:
    _, board = new_board()
    lines = lines_of(Watch(board, SteppedClock()).look(), console(80, 24))
    assert lines[0].startswith("millrace")
