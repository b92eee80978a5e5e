"""A stage process: a task's transforms and converters, once more, at work on the batches that its task deals.

Used by: engine.boot (forks it).
Not here: the steps (bank.py), the task's end (engine.task.crew).
"""

from __future__ import annotations

import logging
import os

from engine import limits, logs
from engine.api.errors import ConnectError, RetriableError
from engine.bank import Bank, Say, Stopper, serve
from engine.clock import Clock, SystemClock
from engine.config.line import LineSpec
from engine.exits import ExitCode
from engine.plugins import environment
from engine.shm import frame
from engine.shm.acts import Act, stage_name
from engine.shm.board import Board, Row, StageWord
from engine.shm.channel import Channel, StageSide
from engine.shm.frame import ArrivedSinkFrame
from engine.shm.lease import Lease
from engine.stage.bank import StageBank, Worker
from engine.stages import crossing
from engine.stages.carrying import NotCarriedError, Packer, Unpacker
from engine.stages.tolerate import STRICT, Manner, reads_headers
from engine.stages.work import Note, Stages, inbound, make_stages, outbound, transformed

__all__ = ["make_bank", "run", "sink_worker", "source_worker"]

logger = logging.getLogger("millrace.task")


def run(
    spec: LineSpec,
    channel: Channel,
    board_descriptor: int,
    index: int,
    settings: logs.LogSettings,
    say: Say,
    number: int,
) -> ExitCode:
    """The body of a stage process; number: which of the line's, from 0."""
    stopper = Stopper(os.getppid())
    logs.set_up(settings, process=stage_name(number), connector=spec.connector, task=spec.task, secrets=spec.secrets)
    side = StageSide(channel, number, is_checked=spec.ledger >= 0)
    board = Board(board_descriptor)
    row = board.row(index)
    clock = SystemClock()

    def make() -> Bank:
        row.stage_set(number, StageWord.ACT, Act.LOAD)
        limits.take(spec.limits, has_plugins=True)
        environment.enter(spec.environments)
        return make_bank(spec, make_stages(spec), side, row, clock, number)

    fence = Lease(row, spec.timing.lease, clock).check
    return serve(make, side.bell, stopper, say, fence, board.levels)


def make_bank(spec: LineSpec, stages: Stages, side: StageSide, row: Row, clock: Clock, number: int) -> StageBank:
    """The bank of a stage process."""
    manner = STRICT._replace(reads_headers=reads_headers(spec.errors, stages.converters.header))
    worker = source_worker(stages) if spec.type == "source" else sink_worker(stages, manner)
    return StageBank(worker, stages.close, side, row, clock, number, spec.stage_processes)


def source_worker(stages: Stages) -> Worker:
    """Transforms and converts a source's batches."""
    unpacker, packer = Unpacker(), Packer()

    def work(message: memoryview, note: Note) -> tuple[int, bytes] | None:
        columns = crossing.read_columns(message, unpacker)
        try:
            done = outbound(transformed(columns, stages, note), stages, note)
        except RetriableError:
            return None
        return (len(columns), crossing.outbound_message(done, packer)) if done.is_whole else None

    return work


def sink_worker(stages: Stages, manner: Manner = STRICT) -> Worker:
    """Converts and transforms a sink's frames."""
    packer = Packer()
    notice = crossing.Notice()

    def work(message: memoryview, note: Note) -> tuple[int, bytes] | None:
        arrived = frame.decode_sink(message)
        assert isinstance(arrived, ArrivedSinkFrame), "only frames of records are dealt"
        try:
            done = inbound(arrived, stages, note, manner)
            return (done.came, crossing.inbound_message(done, packer)) if done.is_whole else None
        except NotCarriedError as error:
            notice.tell(error)
        except ConnectError:
            pass  # a converter must wait, or a header cannot be read: the task has both again
        return None

    return work
