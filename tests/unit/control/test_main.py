"""The control process serves the board to whoever asks, ends at once at TERM, and leaves the last values behind."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from engine.exits import ExitCode
from engine.shm.board import HeaderWord, Stage
from tests.harness import wait
from tests.unit.control.serving import Control
from tests.unit.metrics.boards import filled_board

pytestmark = pytest.mark.slow  # each starts a web server

ACKNOWLEDGED = 'millrace_records_total{connector="orders",stage="acknowledge",task="0",type="source"}'
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_a_scrape_has_the_counts_of_the_board_now() -> None:
    descriptor, board = filled_board(source_records=1000)
    with Control(descriptor) as control:
        first = control.get()
        board.row(0).count(Stage.ACKNOWLEDGE, 234)
        second = control.get()
    assert first.status_code == 200
    assert first.headers["content-type"].startswith("text/plain; version=")
    assert f"{ACKNOWLEDGED} 1000.0" in first.text.splitlines()
    assert f"{ACKNOWLEDGED} 1234.0" in second.text.splitlines()


def test_openmetrics_is_for_those_who_ask_for_it() -> None:
    descriptor, _ = filled_board()
    with Control(descriptor) as control:
        answer = control.get(accept=f"{OPENMETRICS};q=0.9,text/plain;version=0.0.4;q=0.5")
    assert answer.headers["content-type"].startswith(OPENMETRICS)
    assert answer.text.endswith("# EOF\n")


def test_head_has_no_body_and_other_paths_and_methods_are_refused() -> None:
    descriptor, _ = filled_board()
    with Control(descriptor) as control:
        head = control.get(method="HEAD")
        assert (head.status_code, head.content) == (200, b"")
        assert control.get("/").status_code == 404
        assert control.get("/connectors").status_code == 404
        assert control.get(method="POST").status_code == 405


def test_the_processes_it_tells_of_are_itself_and_its_parent() -> None:
    descriptor, _ = filled_board()
    with Control(descriptor) as control:
        text = control.get().text
    for role in ("control", "supervisor"):
        assert f'millrace_process_resident_memory_bytes{{connector="",process="{role}",task=""}}' in text


def test_term_ends_it_at_once_though_somebody_holds_a_connection_open(tmp_path: Path) -> None:
    descriptor, board = filled_board()
    path = tmp_path / "millrace.prom"
    with Control(descriptor, path) as control, socket.create_connection(("127.0.0.1", control.port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        board.row(0).count(Stage.ACKNOWLEDGE, 500)
        board.header[HeaderWord.FINISHED_NS] = time.monotonic_ns()
        began = time.monotonic()
        assert control.end(signal.SIGTERM) == ExitCode.OK
        assert time.monotonic() - began < 2
    lines = path.read_text().splitlines()
    assert f"{ACKNOWLEDGED} 1500.0" in lines
    assert "millrace_run_finished 1.0" in lines


def test_a_run_that_is_over_before_it_serves_is_in_the_file_all_the_same(tmp_path: Path) -> None:
    descriptor, _ = filled_board()
    path = tmp_path / "millrace.prom"
    with Control(descriptor, path) as control:
        wait.until(lambda: _holds_term_back(control.pid), "TERM held back")
        assert control.end(signal.SIGTERM) == ExitCode.OK
    assert path.exists()


def test_ctrl_c_is_not_for_it() -> None:
    descriptor, _ = filled_board()
    with Control(descriptor) as control:
        control.get()
        os.kill(control.pid, signal.SIGINT)
        assert control.get().status_code == 200


def test_a_file_alone_is_kept_without_a_server(tmp_path: Path) -> None:
    descriptor, _ = filled_board()
    path = tmp_path / "millrace.prom"
    with Control(descriptor, path, serves=False) as control:
        wait.until(path.exists, "first snapshot")
        assert control.end(signal.SIGTERM) == ExitCode.OK


def test_a_folder_that_goes_away_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    descriptor, _ = filled_board()
    folder = tmp_path / "textfile"
    folder.mkdir()
    with Control(descriptor, folder / "millrace.prom") as control:
        control.get()
        wait.until((folder / "millrace.prom").exists, "first snapshot")
        (folder / "millrace.prom").unlink()
        folder.rmdir()
        assert control.get().status_code == 200
        assert control.end(signal.SIGTERM) == ExitCode.OK
    assert "no snapshot of metrics at" in capfd.readouterr().err


def test_who_comes_while_it_is_started_again_is_served() -> None:
    descriptor, _ = filled_board()
    with Control(descriptor) as control:
        control.get()
        control.end(signal.SIGKILL)
        with socket.create_connection(("127.0.0.1", control.port), timeout=20) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            control.start_again()
            assert connection.recv(12) == b"HTTP/1.1 200"


def _holds_term_back(pid: int) -> bool:
    if b"millrace: control" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        return False  # what it holds back before it has its name is not its own doing, but its fork's
    blocked = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) & 1 << (signal.SIGTERM - 1))
