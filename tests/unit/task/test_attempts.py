"""A dead letter tells how often that was tried which has failed: to convert its batch, or to put it."""

from __future__ import annotations

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import DataError, RetriableError
from engine.api.record import SinkRecord
from engine.mending import Kind
from engine.shm.acts import Act
from engine.shm.board import Word
from tests.harness.banks import CollectingSink
from tests.unit.task.test_dead_letters import Bed, errors
from tests.unit.task.test_positions import begin_again

RETRIES = errors(retry_ms=-1, retry_pause_ms_max=10)
#: Several frames of them go into the ring.
VALUES = [b"v%d" % number + b" " * 300 for number in range(20)]
RING_BYTES = 8 * 1024


class Busy(CollectingSink):
    """Is called again twice for the batch of v5, reports that, and v13 of another one."""

    put_is_atomic = False

    def __init__(self) -> None:
        super().__init__([])
        self.calls = 0

    def put(self, batch: SinkBatch) -> None:
        if VALUES[5] in batch.values and self.calls < 2:
            self.calls += 1
            self.context.retry_after(10)
            raise RetriableError("away")
        for record in batch:
            if record.value in (VALUES[5], VALUES[13]):
                self.refuse(record)
        super().put(batch)

    def refuse(self, record: SinkRecord) -> None:
        reporter = self.context.errant_record_reporter()
        assert reporter is not None
        reporter.report(record, DataError("no note"))


class BusyAndAtomic(Busy):
    """Has the engine look for it."""

    put_is_atomic = True

    def refuse(self, record: SinkRecord) -> None:
        raise DataError("no note")


class Refusing(Busy):
    """Reports v4 and v9, and is never called again."""

    def put(self, batch: SinkBatch) -> None:
        for record in batch:
            if record.value in (VALUES[4], VALUES[9]):
                self.refuse(record)


def attempts(bed: Bed) -> dict[bytes, bytes | None]:
    told = [bed.headers(at)["__millrace.errors.attempts"] for at in range(len(bed.letters))]
    return {(letter.value or b"").strip(): text for letter, text in zip(bed.letters, told, strict=True)}


@pytest.mark.parametrize("kind", [Busy, BusyAndAtomic])
@pytest.mark.parametrize("stages", [0, 2])
def test_of_a_put_that_is_called_again_the_calls_count_and_the_next_begins_anew(kind: type[Busy], stages: int) -> None:
    bed = Bed(VALUES, {VALUES[6]}, errors(), kind, stage_processes=stages, ring_bytes=RING_BYTES)
    bed.complete()
    assert attempts(bed) == {b"v5": b"3", b"v6": b"1", b"v13": b"1"}


@pytest.mark.parametrize("stages", [0, 2])
def test_what_is_converted_at_once_has_nothing_of_the_batch_before(stages: int) -> None:
    bed = Bed(VALUES, {VALUES[1], VALUES[16]}, RETRIES, Refusing, stage_processes=stages, ring_bytes=RING_BYTES)
    row = bed.banks.row
    # Beside the connector alone, where a batch with a bad record is worked on.
    bed.banks.memory.is_away = lambda: row.get(Word.TASK_ACT) == Act.CONVERT and row.get(Word.RETRIES) < 2
    begin_again(bed, Kind.NOTHING)  # with that
    bed.complete()
    assert attempts(bed) == {b"v1": b"3", b"v4": b"1", b"v9": b"1", b"v16": b"1"}
