"""What earlier runs on a store may have done without keeping a note of it, until the connector runs again.

    board of the last run ──┐
    what was left before  ──┴──► find ──► keep (in the file)
                                  └─────► share ──► CARRIED of each task's row

A run that is killed leaves records that Kafka or a sink has and no offset tells of; they are done again by the next
run of the same connector, which need not be the next run on the store. The file is written before a new board takes
the old one's place, and says nothing against a board: whatever is killed in between, neither a count is lost nor
taken twice.

Used by: engine.boot.
Not here: the bound within one run (engine.shm.board).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.shm.board import Board, HeaderWord, Row, Word

__all__ = ["TaskName", "find", "keep", "share"]


class TaskName(Struct, frozen=True, array_like=True):
    """A task, over all runs."""

    connector: str
    task: int


_Kept = list[tuple[TaskName, int]]  # as the file has it


def find(board: Path, kept: Path) -> dict[TaskName, int]:
    """Records by task: of the last board, and for connectors that are not on it what was kept before.

    Raises OSError when a file is there and cannot be read; one that is torn or not ours has nothing to say.
    """
    told, connectors = _of_board(board)
    before = {name: count for name, count in _of_file(kept) if name.connector not in connectors}
    return {name: count for name, count in (before | told).items() if count}


def keep(path: Path, left: Mapping[TaskName, int]) -> None:
    """Write the file, or leave it as it is. Raises OSError."""
    if not left and not path.exists():
        return
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(msgspec.json.encode(list(left.items())))
    fresh.replace(path)


def share(left: Mapping[TaskName, int], tasks: Iterable[TaskName]) -> dict[TaskName, int]:
    """For each of these tasks what it takes over; task 0 for those of its connector that are no more."""
    shares = dict.fromkeys(tasks, 0)
    for name, count in left.items():
        heir = name if name in shares else TaskName(name.connector, 0)
        if heir in shares:
            shares[heir] += count
    return shares


def _of_board(path: Path) -> tuple[dict[TaskName, int], set[str]]:
    """By task, and the connectors that ran."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            board = Board(descriptor)
            if board.is_begun():
                is_told = bool(board.header[HeaderWord.FINISHED_NS])
                rows = [(row, row.identity) for row in board.rows()]
                left = {TaskName(of.connector, of.task): _left_over(row, is_told) for row, of in rows}
                return left, {of.connector for _, of in rows}
        except ValueError:
            pass  # an empty or torn file: the run ended before it began
        finally:
            os.close(descriptor)
    return {}, set()


def _of_file(path: Path) -> _Kept:
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    return []


def _left_over(row: Row, is_told: bool) -> int:
    # A run that ended by itself has told of what it did twice; only what it left undecided is still to come.
    bound = row.may_be_repeated()
    told = row.get(Word.CARRIED) + row.get(Word.WRITTEN_OFF) + row.get(Word.DOUBTFUL)
    return max(0, bound - told) if is_told else bound
