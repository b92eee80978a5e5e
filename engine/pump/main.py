"""The pump: librdkafka, offsets and delivery of one line. No plugin code ever runs here.

Used by: engine.boot (forks it), engine.both.
Not here: the steps (source.py, sink.py), the other bank (engine.task).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from engine import limits, logs
from engine.bank import Bank, Say, Stopper, serve
from engine.clock import Clock, SystemClock
from engine.config.line import DeadLetterSpec, LineSpec
from engine.exits import ExitCode
from engine.kafka.consumer import GroupConsumer
from engine.kafka.embedded import EmbeddedConsumer, EmbeddedProducer
from engine.kafka.producer import BatchProducer
from engine.kafka.topics import provide_topic
from engine.ledger import sink, source
from engine.mending import comes_back, kind_of
from engine.offsets.store import OffsetStore
from engine.patience import Patience, letter_seconds
from engine.pump.delivery import Delivery
from engine.pump.gathering import Gathering
from engine.pump.hold import BoardHold
from engine.pump.letters import DeadLetters, LetterPort
from engine.pump.refusals import Refusals
from engine.pump.sink import SinkPumpBank
from engine.pump.source import SourcePumpBank
from engine.pump.used import UsedTopics
from engine.shm.acts import Act
from engine.shm.board import Board, Row, Target, Word
from engine.shm.channel import Channel, PumpSide
from engine.shm.lease import Lease

__all__ = ["PatientSinkPump", "make_sink_bank", "make_source_bank", "run"]

#: A sink's pump sleeps in librdkafka, which no bell wakes: what comes up the ring is heard so late at most.
PATIENCE_SECONDS = 0.01
#: How often the supervisor's verdict is looked for.
VERDICT_SECONDS = 0.02


def run(
    spec: LineSpec, channel: Channel, board_descriptor: int, index: int, settings: logs.LogSettings, say: Say
) -> ExitCode:
    """The body of a pump process."""
    stopper = Stopper(os.getppid())
    logs.set_up(settings, process="pump", connector=spec.connector, task=spec.task, secrets=spec.secrets)
    side = PumpSide(channel)
    board = Board(board_descriptor)
    clock = SystemClock()

    def make_bank() -> Bank:
        limits.take(spec.limits, has_plugins=False)
        if spec.type == "source":
            return make_source_bank(spec, side, board, index, clock)
        return make_sink_bank(spec, side, board, index, clock, stopper)

    fence = Lease(board.row(index), spec.timing.lease, clock).check
    return serve(make_bank, side.bell, stopper, say, fence, board.levels)


def make_source_bank(spec: LineSpec, side: PumpSide, board: Board, index: int, clock: Clock) -> SourcePumpBank:
    """The pump's bank of a source, its clients made. Raises ConnectError."""
    row = board.row(index)
    row.set(Word.PUMP_ACT, Act.START)
    account = source.PumpAccount.of(spec, board, index)
    dead = spec.errors.dead_letters
    with Patience(row, Word.PUMP_WAIT, clock).leaving():
        store = OffsetStore(spec.store)
        if dead is not None and not spec.is_embedded:
            provide_topic(dead.admin, dead.topic, dead.replication, spec.timing.broker_timeout)
    delivery = Delivery(
        EmbeddedProducer if spec.is_embedded else BatchProducer,
        spec.kafka,
        wants_each=spec.wants_commit_record,
        timeout_seconds=spec.timing.broker_timeout,
        now_ns=clock.monotonic_ns,
        account=account,
        refusals=Refusals(spec, row, clock) if spec.errors.is_tolerant else None,
    )
    hold = BoardHold(board, clock) if spec.is_embedded else None
    bank = SourcePumpBank(spec, delivery, store, side, row, clock, hold, account)
    if spec.tracks_topics:
        bank.used = UsedTopics(spec.connector, store, row, clock)
    return bank


def make_sink_bank(
    spec: LineSpec,
    side: PumpSide,
    board: Board,
    index: int,
    clock: Clock,
    stopper: Stopper,
    wait: Callable[[float], object] | None = None,
) -> PatientSinkPump:
    """The pump's bank of a sink, its client made; wait: as `SinkPumpBank` has it. Raises ConnectError."""
    row = board.row(index)
    row.set(Word.PUMP_ACT, Act.START)
    store = OffsetStore(spec.store) if spec.store and not spec.is_embedded else None
    dead = spec.errors.dead_letters
    make_consumer = EmbeddedConsumer if spec.is_embedded else GroupConsumer
    bank = SinkPumpBank(
        spec,
        lambda member: make_consumer(
            spec.kafka,
            member,
            spec.start_at,
            spec.timing.broker_timeout,
            wants_ends=spec.is_bulk,
            wants_timestamps=spec.wants_timestamps,
            wants_headers=spec.wants_headers,
        ),
        side,
        row,
        clock,
        wait,
        sink.PumpAccount.of(spec, board, index),
        store,
    )
    if dead is not None:
        bank.letters = DeadLetters(dead.topic, lambda: _letter_producer(spec, dead), row)
    if spec.tracks_topics and store is not None:
        bank.used = UsedTopics(spec.connector, store, row, clock)
    return PatientSinkPump(bank, side, row, clock, stopper, spec, is_apart=wait is None)


def _letter_producer(spec: LineSpec, dead: DeadLetterSpec) -> LetterPort:
    """A producer for dead letters, their topic made if there is none. Raises ConnectError."""
    if spec.is_embedded:
        return EmbeddedProducer(dead.kafka)  # which makes each topic that it is asked for
    provide_topic(dead.admin, dead.topic, dead.replication, spec.timing.broker_timeout)
    return BatchProducer(dead.kafka)


class PatientSinkPump:
    """A sink's pump as a `Bank`: it waits inside librdkafka, and knows whether to leave its group at the end."""

    def __init__(
        self,
        bank: SinkPumpBank,
        side: PumpSide,
        row: Row,
        clock: Clock,
        stopper: Stopper,
        spec: LineSpec,
        *,
        is_apart: bool = True,
    ) -> None:
        """is_apart: the task has a process of its own; else nobody takes what was written while this one waits."""
        self.bank = bank
        self._side = side
        self._row = row
        self._clock = clock
        self._stopper = stopper
        self._spec = spec
        self._gathering = Gathering(row, bank.ring.is_empty if is_apart else lambda: True)
        self._progress = row.progress()  # of earlier lives
        self.patience = PATIENCE_SECONDS
        self._letter_turns = 0  # in which answers to letters were missing
        self.cause: Exception | None = None  # why the line ends, where the bank itself has not failed

    @property
    def failure(self) -> Exception | None:
        return self.bank.failure

    @property
    def is_over(self) -> bool:
        return self.bank.is_over

    def start(self) -> None:
        try:
            self.bank.start()
        except Exception as error:
            self.cause = error
            raise

    def step(self) -> float:
        self._letter_turns = self._letter_turns + 1 if self.bank.letters.are_awaited() else 0
        if self._letter_turns:  # a task may wait for them
            pause = letter_seconds(self._letter_turns)
            return min(self.bank.step(min(self.patience, pause)), pause)
        self._gathering.wait()
        return self.bank.step(self.patience)

    def ask_to_stop(self) -> None:
        # A task process is killed with its supervisor, and nobody is left to say so.
        has_own_process = self._row.get(Word.TASK_PID) != self._row.get(Word.PUMP_PID)
        self.bank.ask_to_stop(task_is_gone=self._stopper.is_orphan and has_own_process)

    def fail(self, error: Exception) -> None:
        self.bank.fail(error)

    def stop(self) -> None:
        # Whoever comes back with the same member id finds its partitions; whoever does not must give them to others.
        cause = self.failure or self.cause
        if cause is None:
            self._await_verdict()
        is_final = cause is not None and not self._may_come_back(cause)
        is_followed = self._row.get(Word.IS_FOLLOWED) == 1
        is_last = is_final or (self._is_told_to_stop() and not is_followed) or self._stopper.is_orphan
        self.bank.stop(leave=is_last)

    def _may_come_back(self, cause: Exception) -> bool:
        """What the supervisor will decide when it hears of the end: as `Line` counts it."""
        has_progressed = self._row.progress() > self._progress
        fruitless = self._row.get(Word.FRUITLESS)
        return comes_back(
            self._spec.restarts, kind_of(cause), fruitless, has_progressed=has_progressed, is_plugins=False
        )

    def _is_told_to_stop(self) -> bool:
        return self._row.get(Word.TARGET) == Target.STOP

    def _await_verdict(self) -> None:
        """Until the supervisor knows why the task has ended: it aims, and then terminates, a pump that was not asked.

        A task that fails says its last before it is stopped, which takes a plugin's time.
        """
        deadline_ns = self._clock.monotonic_ns() + int(self._spec.timing.stop_timeout * 1e9)
        while not self._is_told_to_stop() and not self._stopper.look() and self._clock.monotonic_ns() < deadline_ns:
            self._side.bell.wait(VERDICT_SECONDS)
