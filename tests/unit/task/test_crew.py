"""Batches are dealt in turn and collected in the same turn; what comes back out of turn, or short, is refused."""

from __future__ import annotations

import pytest

from engine.ledger.errors import LedgerError
from engine.shm.board import StageWord, Word
from engine.shm.channel import Channel, StageSide, TaskSide
from engine.stage.bank import StageBank
from engine.task.crew import DEALT_PER_STAGE, Crew
from tests.harness.banks import LineMemory, VirtualClock, line_spec


class Rig:
    """A crew and its stage processes, each stepped by the test."""

    def __init__(self, stages: int) -> None:
        self.memory = LineMemory(line_spec("source"))
        self.channel = Channel.create("line", 64 * 1024, stages)
        self.crew = Crew(TaskSide(self.channel).stage_ends(is_checked=True), self.memory.row)
        self.sides = [StageSide(self.channel, number, is_checked=True) for number in range(stages)]
        self.banks = [
            StageBank(
                lambda message, note: (int(bytes(message)), b"made of " + bytes(message)),
                lambda: None,
                side,
                self.memory.row,
                VirtualClock(),
                number,
                stages,
            )
            for number, side in enumerate(self.sides)
        ]

    def deal(self, records: int) -> None:
        self.crew.deal(records, str(records).encode())

    def collect(self) -> str | None:
        parcel = self.crew.collect()
        if parcel is None:
            return None
        made = bytes(parcel.payload).decode()
        del parcel
        self.crew.release()
        return made


@pytest.fixture
def rig() -> Rig:
    return Rig(2)


def test_what_is_dealt_comes_back_in_order_whoever_is_ready_first(rig: Rig) -> None:
    for records in (10, 11, 12):
        rig.deal(records)
    rig.banks[1].step()
    assert rig.collect() is None
    rig.banks[0].step()
    assert [rig.collect(), rig.collect(), rig.collect()] == ["made of 10", "made of 11", None]
    rig.banks[0].step()
    assert rig.collect() == "made of 12"


def test_each_stage_process_has_a_few_batches_and_no_more(rig: Rig) -> None:
    dealt = 0
    while not rig.crew.is_full:
        rig.deal(1)
        dealt += 1
    assert dealt == 2 * DEALT_PER_STAGE
    rig.banks[0].step()
    assert rig.crew.is_full
    rig.collect()
    assert not rig.crew.is_full


def test_a_batch_that_comes_back_with_another_number_of_records_is_refused(rig: Rig) -> None:
    rig.crew.deal(3, b"2")
    rig.banks[0].step()
    with pytest.raises(LedgerError, match="1 record is missing between dealt and collected"):
        rig.collect()
    assert rig.memory.row.get(Word.TASK_MISSING) == 1


def test_a_batch_that_comes_back_out_of_turn_is_refused(rig: Rig) -> None:
    rig.deal(1)
    rig.sides[0].done.put(2, 1, b"")
    rig.sides[0].done.flush()
    with pytest.raises(LedgerError, match="other records than expected between dealt and collected"):
        rig.collect()


def test_a_batch_that_is_dealt_out_of_turn_is_refused_by_the_stage_process(rig: Rig) -> None:
    end = TaskSide(rig.channel).stage_ends(is_checked=True)[1]
    end.work.put(0, 1, b"1")
    end.work.flush()
    with pytest.raises(LedgerError, match="batch 0 was dealt to stage process 1, 1 was its next"):
        rig.banks[1].step()


def test_what_was_changed_on_its_way_is_noticed(rig: Rig) -> None:
    rig.deal(1)
    memory = rig.channel.parts()[3]
    at = bytes(memory).index(b"1", 4096 + 32)
    memory[at : at + 1] = b"2"
    with pytest.raises(RuntimeError, match="is not what was written"):
        rig.banks[0].step()


def test_what_each_has_done_is_counted(rig: Rig) -> None:
    for records in (5, 6, 7):
        rig.deal(records)
    for bank in (*rig.banks, rig.banks[0]):
        bank.step()
    row = rig.memory.row
    assert [row.stage_get(0, word) for word in (StageWord.BATCHES, StageWord.RECORDS)] == [2, 12]
    assert [row.stage_get(1, word) for word in (StageWord.BATCHES, StageWord.RECORDS)] == [1, 6]


def test_batches_larger_than_the_ring_pass_piece_by_piece(rig: Rig) -> None:
    big = "9" + " " * 200_000
    rig.crew.deal(9, big.encode())
    assert rig.crew.is_full
    made = None
    for _ in range(100):
        rig.banks[0].step()
        made = made or rig.collect()
    assert made == "made of " + big
