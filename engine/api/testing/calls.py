"""Calls of a connector as the engine makes them: again after RetriableError; and cut short, wherever it may be.

    patiently(task.put, batch)
    with cut_short("my_package", 17) as calls:       the 17th call of a function of the package raises CutShortError
        task.put(batch)
    calls.count                                      how many there were

Used by: suite.py, sources.py, sinks.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from msgspec import Struct

from engine.api.errors import RetriableError

__all__ = ["Calls", "CutShortError", "cut_short", "moments", "patiently"]

#: A call may wait for its system by itself; the engine makes it again for ever.
TRIES_MAX = 200
PAUSE_S = 0.05
#: So many moments of a life are enough, spread over all of it.
MOMENTS_MAX = 10

Result = TypeVar("Result")


def patiently(call: Callable[..., Result], *arguments: Any) -> Result:
    """What the call answers when it is made again after each RetriableError."""
    for _ in range(TRIES_MAX):
        try:
            return call(*arguments)
        except RetriableError as error:
            last = error
            time.sleep(PAUSE_S)
    raise AssertionError(f"{call.__qualname__} fails for {TRIES_MAX} times: {last}") from last


class CutShortError(BaseException):
    """Comes out of the middle of a call, as the end of a process would."""


class Calls(Struct):
    """How many functions were called."""

    count: int = 0


@contextmanager
def cut_short(package: str, at: int = 0) -> Iterator[Calls]:
    """Count calls of functions of a package, and end the `at`th where it begins. 0: none. Of this thread alone.

    CutShortError goes no further than the block.
    """
    calls = Calls()
    inside = (package, f"{package}.")

    def look(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_globals.get("__name__", "")
        if event != "call" or not (name == inside[0] or name.startswith(inside[1])):
            return
        calls.count += 1
        if calls.count == at:
            raise CutShortError

    sys.setprofile(look)
    try:
        yield calls
    except CutShortError:
        pass
    finally:
        sys.setprofile(None)


def moments(count: int) -> list[int]:
    """Some of 1 to `count`, spread evenly, the first and the last among them."""
    if count <= MOMENTS_MAX:
        return [*range(1, count + 1)]
    return sorted({1 + round(at * (count - 1) / (MOMENTS_MAX - 1)) for at in range(MOMENTS_MAX)})
