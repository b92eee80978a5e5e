"""A snapshot is whole whenever it is read, readable for the node exporter, and refused where nobody would read it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.metrics.place import check_snapshot_path
from engine.metrics.snapshot import write_snapshot
from engine.shm.board import Stage
from tests.unit.metrics.boards import filled_board

LAST_FAMILY = "# TYPE millrace_process_proportional_memory_bytes gauge\n"


def test_a_snapshot_has_the_values_of_now_and_is_readable_for_all(tmp_path: Path) -> None:
    _, board = filled_board(sink_records=900)
    path = tmp_path / "millrace.prom"
    write_snapshot(board, path)
    board.row(1).count(Stage.PUT, 50)
    write_snapshot(board, path)
    series = 'millrace_records_total{connector="copy",stage="put",task="0",type="sink"} 950.0'
    assert series in path.read_text().splitlines()
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_reader_never_sees_half_of_one(tmp_path: Path) -> None:
    _, board = filled_board()
    path = tmp_path / "millrace.prom"
    write_snapshot(board, path)

    def write() -> None:
        for _ in range(20):
            write_snapshot(board, path)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert path.read_text().endswith(LAST_FAMILY)
    writer.join()


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    _, board = filled_board()
    write_snapshot(board, tmp_path / "millrace.prom")
    (tmp_path / "folder.prom").mkdir()
    with pytest.raises(OSError, match="folder.prom"):
        write_snapshot(board, tmp_path / "folder.prom")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.prom", "millrace.prom"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("metrics.txt", r"Invalid value .*metrics\.txt for configuration metrics\.file: .* ends in \.prom"),
        ("nowhere/millrace.prom", "a folder that is there: .*nowhere"),
    ],
)
def test_a_path_that_would_not_be_read_is_refused(path: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason) as refusal:
        check_snapshot_path(tmp_path / path)
    (problem,) = refusal.value.problems
    assert problem.key == "metrics.file"
