"""What a killed run has left undecided is told by the next run of the same connector, whatever runs in between."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.offsets import left_over
from engine.offsets.left_over import TaskName
from engine.shm import segment
from engine.shm.board import Board, HeaderWord, Identity, Stage, Word, board_bytes

Tasks = Mapping[tuple[str, int], int]


class Store:
    """The files beside a store, run after run."""

    def __init__(self, folder: Path) -> None:
        self.board = folder / "offsets.board"
        self.kept = folder / "offsets.left"

    def run(self, tasks: Tasks, *, is_killed: bool = True) -> dict[tuple[str, int], int]:
        """Sources of these names that produce so many records and store none; returns what each was told to carry."""
        left = left_over.find(self.board, self.kept)
        left_over.keep(self.kept, left)
        shares = left_over.share(left, [TaskName(*name) for name in tasks])
        descriptor = segment.create_file(self.board, board_bytes(8), board_bytes(8))
        board = Board(descriptor)
        board.begin(1)
        for (connector, task), produced in tasks.items():
            row = board.row(board.add(Identity(connector, task, "source", "none")))
            row.set(Word.CARRIED, shares[TaskName(connector, task)])
            row.count(Stage.PRODUCE, produced)
        if not is_killed:
            board.header[HeaderWord.FINISHED_NS] = 2
        os.close(descriptor)
        return {(name.connector, name.task): count for name, count in shares.items()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_the_next_run_carries_what_the_last_has_left(store: Store) -> None:
    assert store.run({("a", 0): 5, ("a", 1): 7}) == {("a", 0): 0, ("a", 1): 0}
    assert store.run({("a", 0): 2, ("a", 1): 0}) == {("a", 0): 5, ("a", 1): 7}
    assert store.run({("a", 0): 0, ("a", 1): 0}, is_killed=False) == {("a", 0): 7, ("a", 1): 7}
    assert store.run({("a", 0): 0, ("a", 1): 0}) == {("a", 0): 0, ("a", 1): 0}


def test_what_a_connector_has_left_waits_until_it_runs_again(store: Store) -> None:
    store.run({("a", 0): 5, ("b", 0): 3})
    for _ in range(2):
        assert store.run({("b", 0): 0}, is_killed=False)
    assert store.run({("a", 0): 0}, is_killed=False) == {("a", 0): 5}
    assert store.run({("a", 0): 0, ("b", 0): 0}) == {("a", 0): 0, ("b", 0): 0}


def test_what_tasks_have_left_that_are_no_more_is_told_by_task_0(store: Store) -> None:
    store.run({("a", 0): 1, ("a", 1): 2, ("a", 2): 4})
    assert store.run({("a", 0): 0, ("a", 1): 0}) == {("a", 0): 5, ("a", 1): 2}


def test_a_run_that_is_killed_before_its_board_stands_loses_and_doubles_nothing(store: Store) -> None:
    store.run({("a", 0): 5, ("b", 0): 3})
    for _ in range(2):
        left_over.keep(store.kept, left_over.find(store.board, store.kept))
    assert store.run({("a", 0): 0, ("b", 0): 0}) == {("a", 0): 5, ("b", 0): 3}


def test_nothing_left_leaves_no_file(store: Store) -> None:
    store.run({("a", 0): 0})
    store.run({("a", 0): 0})
    assert not store.kept.exists()


def test_a_torn_file_says_nothing(store: Store) -> None:
    store.kept.write_bytes(b'[[["a",0],')
    store.board.write_bytes(b"")
    assert store.run({("a", 0): 0}) == {("a", 0): 0}


def test_the_board_is_its_owner_s_alone(store: Store) -> None:
    store.run({("a", 0): 0})
    assert store.board.stat().st_mode & 0o777 == 0o600
