"""After a put a task waits for its bell, unless something is left that no bell tells of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import RetriableError
from engine.api.record import TopicPartition
from engine.shm.board import Target, Word
from tests.harness.banks import CollectingSink
from tests.unit.task.test_dead_letters import PLACE, Bed, errors

Then = Callable[["Acting"], object]


class Acting(CollectingSink):
    """Does something after each put."""

    bed: Bed

    def __init__(self, then: Then) -> None:
        super().__init__([])
        self._then = then

    def put(self, batch: SinkBatch) -> None:
        super().put(batch)
        self._then(self)


def _fails(_: Acting) -> None:
    raise RetriableError("not now")


def idle_after_a_put(then: Then) -> float:
    """What a step returns in which the one record was put."""
    made: list[Acting] = []

    def make() -> Acting:
        made.append(Acting(then))
        return made[-1]

    bed = Bed([b"1"], set(), errors(), make)
    bed.banks.row.set(Word.TARGET, Target.RUN)  # nobody looks for an end
    task = bed.banks.task
    made[0].bed = bed
    for _ in range(1000):
        bed.clock.advance(0.001)
        bed.banks.pump.step(0.0)
        idle = task.step()
        if made[0].records:
            return idle
    raise AssertionError("nothing was put")


def test_a_task_that_has_put_what_there_was_waits() -> None:
    assert idle_after_a_put(lambda _: None) > 0


@pytest.mark.parametrize(
    "then",
    [
        lambda task: task.context.request_commit(),
        lambda task: task.context.seek({TopicPartition(*PLACE): 0}),
        lambda task: task.context.pause([TopicPartition(*PLACE)]),
        lambda task: task.context.errant_record_reporter(),
        lambda task: task.bed.clock.advance(0.02),
        _fails,
    ],
    ids=["a commit is wanted", "it has sought", "it has paused", "it may have heard the bell", "long ago", "again"],
)
def test_a_task_that_has_something_left_goes_on_at_once(then: Then) -> None:
    assert idle_after_a_put(then) == 0
