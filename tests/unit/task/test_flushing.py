"""A flush that fails for what may pass is made again: when its task has asked for it, and before partitions go."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import RetriableError
from engine.api.record import TopicPartition
from engine.shm.board import Target
from tests.harness.banks import CollectingSink
from tests.unit.task.test_dead_letters import PLACE, VALUES, Bed, errors

EVER = 1_000_000
#: As the timing of the beds has it.
BACKOFF_S = 3.0
REVOCATION_S = 60.0


class Late(CollectingSink):
    """Asks to be flushed again in 0.1 s, as often as it is told to; each time costs a second."""

    def __init__(self) -> None:
        super().__init__([])
        self.times = EVER
        self.fails_to_put = False
        self.spend: Callable[[float], None]

    def put(self, batch: SinkBatch) -> None:
        if self.fails_to_put:
            self.fails_to_put = False
            raise RetriableError("not now")
        super().put(batch)

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        if not self.times:
            return offsets
        self.times -= 1
        self.spend(1.0)
        self.context.retry_after(100)
        raise RetriableError("at work yet")


def late_bed() -> tuple[Bed, Late]:
    """All is put, and nothing flushed."""
    sink = Late()
    bed = Bed(VALUES, set(), errors(), lambda: sink)
    sink.spend = bed.clock.advance
    bed.until(lambda: len(sink.records) == len(VALUES))
    assert bed.committed == 0
    return bed, sink


def seconds_of(bed: Bed, act: Callable[[], object]) -> float:
    began_ns = bed.clock.now_ns
    act()
    return (bed.clock.now_ns - began_ns) / 1e9


def revoke(bed: Bed) -> None:
    bed.banks.pump.revoked([PLACE])


def stop(bed: Bed) -> None:
    bed.banks.memory.aim(Target.STOP)
    bed.banks.pump.ask_to_stop()
    bed.until(lambda: bed.banks.pump.is_over and bed.banks.task.is_over)


@pytest.mark.parametrize("end", [revoke, stop])
def test_what_was_put_is_committed_before_partitions_go_though_the_flush_takes_a_while(
    end: Callable[[Bed], None],
) -> None:
    bed, sink = late_bed()
    sink.times = 2
    end(bed)
    assert (bed.committed, sink.closed) == (len(VALUES), [TopicPartition(*PLACE)])


def test_partitions_go_in_time_though_they_cannot_be_flushed() -> None:
    bed, sink = late_bed()
    took = seconds_of(bed, lambda: revoke(bed))
    assert REVOCATION_S / 2 - 1.5 < took < REVOCATION_S / 2 + 1.5
    assert (bed.committed, sink.closed) == (0, [TopicPartition(*PLACE)])


def test_partitions_go_at_once_where_the_task_is_to_stop_meanwhile() -> None:
    bed, sink = late_bed()
    spend = sink.spend

    def stopped(seconds: float) -> None:
        spend(seconds)
        bed.banks.memory.aim(Target.STOP)

    sink.spend = stopped
    assert seconds_of(bed, lambda: revoke(bed)) < REVOCATION_S / 4
    assert (bed.committed, sink.closed) == (0, [TopicPartition(*PLACE)])


def test_a_flush_is_made_again_when_the_task_wants_it_and_a_put_as_ever() -> None:
    bed, sink = late_bed()
    sink.times = 1
    bed.until(lambda: sink.times == 0)
    assert seconds_of(bed, lambda: bed.until(lambda: bed.committed == len(VALUES))) < BACKOFF_S / 2
    sink.fails_to_put = True
    bed.kafka.store(PLACE, b"one more")
    bed.until(lambda: not sink.fails_to_put)
    assert seconds_of(bed, lambda: bed.until(lambda: len(sink.records) > len(VALUES))) > BACKOFF_S / 2
