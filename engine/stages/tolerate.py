"""How the stages bear records that fail: which are left out, which are waited for.

    a record fails ──► may it pass, and is there time? ──► AgainError: the whole batch is worked on again, later
                  └──► skips: it is left out, the others go on        else: nothing goes on from it on

Values of Kafka Connect's errors.tolerance and errors.retry.* come down to a `Manner`, which differs from one attempt to
the next: once the time for retries is over, what may pass counts as any other failure.

Used by: engine.stages.work, engine.stages.convert, engine.task.tolerance, engine.stage.main.
Not here: when it is tried again, and who is told (engine.task).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from engine.api.converter import HeaderConverter
from engine.api.errors import RetriableError
from engine.config.line import Errors
from engine.mending import Kind, kind_of
from engine.stages.transform import RecordError

__all__ = ["STRICT", "AgainError", "Manner", "kept_of", "leave_if_it_passes", "may_pass", "reads_headers"]


class Manner(NamedTuple):
    """What is done in one attempt about records that fail."""

    skips: bool = False  # they are left out; else the first one ends the batch
    converters_wait: bool = True  # what a converter says may pass raises AgainError
    transforms_wait: bool = False  # and what a transform or predicate says
    reads_headers: bool = False  # a sink's headers are converted with the rest; else when somebody looks at them


#: The first record that fails ends the batch; a converter is waited for.
STRICT = Manner()


class AgainError(RetriableError):
    """Records of a batch could not be worked on now."""

    def __init__(self, text: str, records: int) -> None:
        super().__init__(text)
        self.records = records


def reads_headers(errors: Errors, converter: HeaderConverter) -> bool:
    """Whether a sink's headers are converted with the rest: where they can fail, and somebody cares."""
    return errors.looks_at_all and converter.can_fail


def may_pass(error: BaseException) -> bool:
    """Whether the world outside is to blame, which may recover."""
    return kind_of(error) == Kind.OUTSIDE


def leave_if_it_passes(failures: Iterable[RecordError]) -> None:
    """Raise AgainError if any of these may pass."""
    passing = [failure.error for failure in failures if may_pass(failure.error)]
    if passing:
        raise AgainError(str(passing[0]), len(passing)) from passing[0]


def kept_of(count: int, skipped: Collection[RecordError]) -> Sequence[int]:
    """The indexes of `count` records that are left without those that are skipped."""
    if not skipped:
        return range(count)
    bad = {one.index for one in skipped}
    return [index for index in range(count) if index not in bad]
