"""A task that seeks gets what it has sought: nothing else that waits, and before a bulk run ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import RetriableError
from engine.api.record import TopicPartition
from engine.kafka.consumer import Member
from engine.shm.board import Phase, Word
from tests.harness.banks import CollectingSink
from tests.harness.fake_consumer import FakeConsumer
from tests.unit.task.test_dead_letters import PLACE, VALUES, Bed, errors

BACK_TO = 5
Put = list[tuple[str, int, int, bytes | None]]


class Seeking(CollectingSink):
    """Says at its first batch that it is not ready, and seeks."""

    def __init__(self, records: Put, way: str) -> None:
        """way: the call that seeks."""
        super().__init__(records)
        self._way = way
        self._is_asked = False
        self._has_sought = False

    def put(self, batch: SinkBatch) -> None:
        if self._is_asked:
            super().put(batch)
            return
        self._is_asked = True
        self._seek("put")
        self.context.request_commit()
        raise RetriableError("not now")

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        if self._is_asked and not self._has_sought:
            self._seek("pre_commit")
            return {}
        return super().pre_commit(offsets)

    def _seek(self, way: str) -> None:
        if self._way == way:
            self._has_sought = True
            self.context.seek({TopicPartition(*PLACE): BACK_TO})


@pytest.mark.parametrize("stages", [0, 2])
@pytest.mark.parametrize("way", ["put", "pre_commit"])
def test_what_was_not_put_before_a_seek_is_not_put_after_it(way: str, stages: int) -> None:
    put: Put = []
    bed = Bed(VALUES, set(), errors(), lambda: Seeking(put, way), stage_processes=stages)
    bed.complete()
    assert [value for *_, value in put] == VALUES[BACK_TO:]
    assert bed.committed == len(VALUES)


class KeepsOffsets(CollectingSink):
    """Knows itself how far it is, which is less far than the group; it seeks there at the first flush after `open`."""

    def open(self, partitions: Collection[TopicPartition]) -> None:
        super().open(partitions)
        self._is_new = True
        self.context.request_commit()

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        is_new, self._is_new = self._is_new, False
        if not is_new:
            return super().pre_commit(offsets)
        self.context.seek({TopicPartition(*PLACE): BACK_TO})
        return {}


@pytest.mark.parametrize("stages", [0, 2])
def test_a_bulk_run_is_not_over_before_a_task_has_what_it_seeks_back_to_though_the_group_has_it_all(
    stages: int,
) -> None:
    put: Put = []
    bed = Bed(VALUES, set(), errors(), lambda: KeepsOffsets(put), stage_processes=stages)
    bed.kafka.group[PLACE] = len(VALUES)
    bed.complete()
    assert [value for *_, value in put] == VALUES[BACK_TO:]
    assert bed.committed == len(VALUES)


class Undecided(Bed):
    """Its group has not told it yet what is its own."""

    def _join(self, member: Member) -> FakeConsumer:
        self.consumer = FakeConsumer(self.kafka, member, ("one",))
        return self.consumer


def test_a_bulk_run_waits_for_its_partitions_as_long_as_sessions_of_dead_members_last() -> None:
    put: Put = []
    bed = Undecided(VALUES, set(), errors(), lambda: KeepsOffsets(put), kafka={"session.timeout.ms": 45_000})
    bed.kafka.group[PLACE] = len(VALUES)
    until_ns = bed.clock.now_ns + 45_000_000_000
    while bed.clock.now_ns < until_ns:
        bed.clock.advance(0.5)
        bed.banks.step()
        assert bed.banks.row.get(Word.PUMP_PHASE) != Phase.COMPLETE
    bed.consumer.decide([PLACE])
    bed.complete()
    assert [value for *_, value in put] == VALUES[BACK_TO:]
