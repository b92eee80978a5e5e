"""A board as a running worker leaves it: a source and a sink, filled by the numbers a test names."""

from __future__ import annotations

from engine.shm import segment
from engine.shm.board import Board, Identity, Stage, State, Word, board_bytes

__all__ = ["filled_board", "new_board"]

STARTED_NS = 1_000_000_000


def new_board(rows_max: int = 8) -> tuple[int, Board]:
    """An empty board that began at STARTED_NS, and its descriptor."""
    descriptor = segment.create("board", board_bytes(rows_max))
    board = Board(descriptor)
    board.begin(STARTED_NS)
    return descriptor, board


def filled_board(*, source_records: int = 1000, sink_records: int = 900) -> tuple[int, Board]:
    """A source `orders` that is done with `source_records`, a running sink `copy` that has put `sink_records`."""
    descriptor, board = new_board()
    source = board.row(board.add(Identity("orders", 0, "source", "Generator")))
    source.set(Word.STATE, State.DONE)
    source.set(Word.RING_BYTES, 8_000)
    for stage in (Stage.POLL, Stage.CONVERT, Stage.PRODUCE, Stage.ACKNOWLEDGE, Stage.STORE):
        source.count(stage, source_records, 0 if stage in (Stage.POLL, Stage.STORE) else 100 * source_records)
    sink = board.row(board.add(Identity("copy", 0, "sink", "FileStreamSink")))
    sink.set(Word.STATE, State.RUNNING)
    sink.set(Word.RING_BYTES, 8_000)
    sink.set(Word.RING_USED_BYTES, 2_000)
    sink.set(Word.LAG, source_records - sink_records)
    sink.set(Word.PARTITIONS, 4)
    for stage in (Stage.CONSUME, Stage.CONVERT):
        sink.count(stage, sink_records, 100 * sink_records)
    sink.count(Stage.PUT, sink_records)
    sink.reach(Stage.FLUSH, sink_records)
    sink.count(Stage.COMMIT, sink_records - 100)
    return descriptor, board
