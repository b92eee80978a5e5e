"""A sink task knows within `put` whether the next batch is there already."""

from __future__ import annotations

import pytest

from engine.api.batch import SinkBatch
from tests.harness.banks import CollectingSink
from tests.unit.task.test_dead_letters import VALUES, Bed, errors


class Asking(CollectingSink):
    """Notes of each batch whether more was waiting, and how much was put by then."""

    def __init__(self) -> None:
        super().__init__([])
        self.found: list[tuple[int, bool]] = []

    def put(self, batch: SinkBatch) -> None:
        super().put(batch)
        self.found.append((len(self.records), self.context.is_more_waiting()))


@pytest.mark.parametrize("stages", [0, 2])
def test_more_is_waiting_until_the_last_batch(stages: int) -> None:
    task = Asking()
    bed = Bed(VALUES, set(), errors(), lambda: task, stage_processes=stages, fetch_records_max=2)
    for _ in range(50):  # the pump alone: all waits in the ring
        bed.clock.advance(0.01)
        bed.banks.pump.step(0)
    bed.complete()
    assert [count for count, _ in task.found] == [*range(2, len(VALUES) + 1, 2)]
    assert [is_more for _, is_more in task.found][:-1] == [True] * (len(VALUES) // 2 - 1)
