"""What Prometheus reads is what stands on the board, under the names of the table."""

from __future__ import annotations

import os
import subprocess
from functools import partial

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine import __version__
from engine.metrics.collector import BoardCollector, exposition
from engine.metrics.table import PROCESS_METRICS, RUN_METRICS, TASK_METRICS
from engine.shm.acts import Act
from engine.shm.board import Board, HeaderWord, Identity, Stage, StageWord, State, Word
from engine.shm.stalls import Stall, Way, pack
from tests.harness.prometheus import installed
from tests.harness.server import UnavailableError
from tests.unit.metrics.boards import STARTED_NS, filled_board, new_board

SECOND_NS = 1_000_000_000


class StoppedClock:
    """A clock that stands where the test puts it."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns


def scraped(board: Board, now_ns: int = STARTED_NS, **workers: int) -> dict[tuple[str, frozenset[str]], float]:
    """Every sample by its name and its label values."""
    collector = BoardCollector(board, workers=workers, clock=StoppedClock(now_ns), wall_seconds=lambda: 5000.0)
    samples = [sample for family in collector.collect() for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.values())): sample.value for sample in samples}


def value(board: Board, name: str, *labels: str, now_ns: int = STARTED_NS) -> float | None:
    return scraped(board, now_ns).get((name, frozenset(labels)))


def test_records_of_each_stage_are_those_of_the_board() -> None:
    _, board = filled_board(source_records=1000, sink_records=900)
    assert value(board, "millrace_records_total", "orders", "0", "source", "acknowledge") == 1000
    assert value(board, "millrace_records_total", "copy", "0", "sink", "put") == 900
    assert value(board, "millrace_records_total", "copy", "0", "sink", "commit") == 800
    assert value(board, "millrace_record_bytes_total", "orders", "0", "source", "acknowledge") == 100_000
    assert value(board, "millrace_batches_total", "copy", "0", "sink", "consume") == 1


def test_counters_grow_with_the_board() -> None:
    _, board = filled_board(sink_records=900)
    collector = BoardCollector(board)
    for row in board.rows():
        row.count(Stage.CONVERT, 5, errors=2)
    samples = {
        (sample.name, sample.labels["connector"]): sample.value
        for family in collector.collect()
        for sample in family.samples
        if sample.labels.get("stage") == "convert"
    }
    assert samples["millrace_records_total", "copy"] == 905
    assert samples["millrace_errors_total", "copy"] == 2


def test_a_stage_that_does_not_see_bytes_has_no_count_of_them() -> None:
    _, board = filled_board()
    assert value(board, "millrace_record_bytes_total", "copy", "0", "sink", "put") is None
    assert value(board, "millrace_records_total", "copy", "0", "sink", "poll") is None


def test_lag_is_of_sinks_and_the_queue_of_sources() -> None:
    _, board = filled_board(source_records=1000, sink_records=900)
    assert value(board, "millrace_task_lag_records", "copy", "0", "sink") == 100
    assert value(board, "millrace_task_lag_records", "orders", "0", "source") is None
    assert value(board, "millrace_task_queued_records", "orders", "0", "source") == 0
    assert value(board, "millrace_task_queued_records", "copy", "0", "sink") is None


def test_what_was_given_up_without_a_commit_is_counted_of_sinks() -> None:
    _, board = filled_board()
    board.row(1).set(Word.GIVEN_UP, 7)
    assert value(board, "millrace_task_given_up_records_total", "copy", "0", "sink") == 7
    assert value(board, "millrace_task_given_up_records_total", "orders", "0", "source") is None


def test_exactly_one_state_of_a_task_is_1() -> None:
    _, board = filled_board()
    states = {state.name.lower(): value(board, "millrace_task_state", "copy", "0", "sink", state.name.lower())
              for state in State}  # fmt: skip
    assert states.pop("running") == 1
    assert set(states.values()) == {0}


def test_the_fill_of_a_ring_is_a_share_of_its_size() -> None:
    _, board = filled_board()
    assert value(board, "millrace_task_ring_fill_ratio", "copy", "0", "sink") == 0.25


def test_a_heartbeat_has_an_age_while_its_process_lives() -> None:
    _, board = filled_board()
    row = board.row(1)
    row.set(Word.TASK_PID, 2**22 - 1)
    row.set(Word.TASK_BEAT_NS, 2 * SECOND_NS)
    row.set(Word.PUMP_BEAT_NS, 2 * SECOND_NS)
    labels = ("copy", "0", "sink")
    assert value(board, "millrace_task_heartbeat_age_seconds", *labels, "task", now_ns=5 * SECOND_NS) == 3
    assert value(board, "millrace_task_heartbeat_age_seconds", *labels, "pump", now_ns=5 * SECOND_NS) is None


def test_a_heartbeat_after_the_moment_of_the_scrape_is_no_age_below_zero() -> None:
    _, board = filled_board()
    board.row(1).set(Word.PUMP_PID, 2**22 - 1)
    board.row(1).set(Word.PUMP_BEAT_NS, 9 * SECOND_NS)
    age = value(board, "millrace_task_heartbeat_age_seconds", "copy", "0", "sink", "pump", now_ns=5 * SECOND_NS)
    assert age == 0


def test_the_run_tells_its_version_start_and_length() -> None:
    _, board = filled_board()
    assert value(board, "millrace_info", __version__) == 1
    assert value(board, "millrace_tasks") == 2
    assert value(board, "millrace_run_seconds", now_ns=STARTED_NS + 7 * SECOND_NS) == 7
    assert value(board, "millrace_start_time_seconds", now_ns=STARTED_NS + 7 * SECOND_NS) == pytest.approx(4993)
    assert value(board, "millrace_run_finished") == 0


def test_a_run_that_has_finished_does_not_grow_longer() -> None:
    _, board = filled_board()
    board.header[HeaderWord.FINISHED_NS] = STARTED_NS + 3 * SECOND_NS
    assert value(board, "millrace_run_seconds", now_ns=STARTED_NS + 9 * SECOND_NS) == 3
    assert value(board, "millrace_run_finished") == 1


def test_processes_are_measured_while_they_live() -> None:
    _, board = filled_board()
    board.row(1).set(Word.TASK_PID, os.getpid())
    board.row(1).set(Word.PUMP_PID, 2**22 - 1)  # above pid_max: nobody
    found = scraped(board, control=os.getpid())
    assert found["millrace_process_resident_memory_bytes", frozenset(("copy", "0", "task"))] > 2**20
    assert found["millrace_process_proportional_memory_bytes", frozenset(("", "control"))] > 2**20
    assert found["millrace_process_cpu_seconds_total", frozenset(("", "control"))] > 0
    assert ("millrace_process_resident_memory_bytes", frozenset(("copy", "0", "pump"))) not in found


def test_one_process_for_both_banks_is_measured_once() -> None:
    _, board = filled_board()
    board.row(1).set(Word.TASK_PID, os.getpid())
    board.row(1).set(Word.PUMP_PID, os.getpid())
    labels = [labels for name, labels in scraped(board) if name == "millrace_process_resident_memory_bytes"]
    assert labels == [frozenset(("copy", "0", "both"))]


def test_the_text_has_every_metric_of_the_table() -> None:
    _, board = filled_board()
    families = {family.name: family for family in text_string_to_metric_families(exposition(board).decode())}
    for metric in (*RUN_METRICS, *TASK_METRICS, *PROCESS_METRICS):
        assert families[metric.name.removesuffix("_total")].documentation == metric.sentence


def test_names_that_need_escaping_come_through() -> None:
    _, board = new_board()
    board.add(Identity('say "hi"\\now\n', 0, "sink", "x"))
    families = text_string_to_metric_families(exposition(board).decode())
    names = {
        sample.labels["connector"] for family in families for sample in family.samples if sample.labels.get("task")
    }
    assert names == {'say "hi"\\now\n'}


def test_promtool_has_nothing_to_say_about_the_text() -> None:
    _, board = filled_board()
    board.row(1).set(Word.TASK_PID, os.getpid())
    try:
        promtool = installed("promtool")
    except UnavailableError as error:
        pytest.skip(str(error))
    text = exposition(board, workers={"control": os.getpid()})
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_stall_is_told_by_its_stage_and_how_long_it_has_lasted() -> None:
    _, board = filled_board()
    row = board.row(1)
    assert value(board, "millrace_task_stall_seconds", "copy", "0", "sink") == 0
    row.set(Word.STALL, pack(Stall(Way.CALL, "task", Act.PUT, STARTED_NS)))
    row.set(Word.STALLS, 1)
    now_ns = STARTED_NS + 12 * SECOND_NS
    assert value(board, "millrace_task_stall_seconds", "copy", "0", "sink", now_ns=now_ns) == pytest.approx(12, abs=0.1)
    assert value(board, "millrace_task_stalled", "copy", "0", "sink", "put") == 1
    assert value(board, "millrace_task_stalled", "copy", "0", "sink", "poll") == 0
    assert value(board, "millrace_task_stalls_total", "copy", "0", "sink") == 1


def test_each_stage_process_is_counted_for_itself_and_has_a_heartbeat_while_it_lives() -> None:
    _, board = filled_board()
    row = next(row for row in board.rows() if row.identity.connector == "orders")
    row.set(Word.STAGE_PROCESSES, 2)
    row.stage_set(1, StageWord.PID, os.getpid())
    row.stage_set(1, StageWord.BEAT_NS, STARTED_NS)
    row.stage_set(1, StageWord.BATCHES, 7)
    row.stage_set(1, StageWord.RECORDS, 700)
    row.stage_set(1, StageWord.BUSY_NS, SECOND_NS // 2)
    of_task = ("orders", "0", "source")
    assert value(board, "millrace_stage_process_batches_total", *of_task, "stage 1") == 7
    assert value(board, "millrace_stage_process_records_total", *of_task, "stage 1") == 700
    assert value(board, "millrace_stage_process_busy_seconds_total", *of_task, "stage 1") == 0.5
    assert value(board, "millrace_stage_process_batches_total", *of_task, "stage 0") == 0
    assert value(board, "millrace_stage_process_batches_total", "copy", "0", "sink", "stage 0") is None
    age = partial(value, board, "millrace_task_heartbeat_age_seconds", *of_task, now_ns=STARTED_NS + 2 * SECOND_NS)
    assert age("stage 1") == 2
    assert age("stage 0") is None
    assert value(board, "millrace_process_resident_memory_bytes", "orders", "0", "stage 1") is not None
