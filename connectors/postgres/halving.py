"""Which rows of many the server refuses: the first by halving, then what is left at once.

    ........x.......        refused          then:  ....  ....  x.  x   and  .......

What was taken stays taken: a row is written once, however many beside it are bad. One bad row of n costs at most
log2(n) + 1 calls, rounded up. Where bad rows stand one behind the other, what is tried next is one row, then twice as
many each time: a batch in which all are bad costs a call for each.

Used by: writing.py.
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.postgres.refusals import RowError

__all__ = ["write_but_refused"]


def write_but_refused(count: int, write: Callable[[int, int], None], error: RowError) -> list[tuple[int, RowError]]:
    """Write rows 0 to count but for those that are refused; returns them, each with why, in order.

    write: takes rows from one to before another, all or, with a RowError, none.
    error: of all of them together, which were refused already.
    """
    refused: list[tuple[int, RowError]] = []
    low, high = 0, count  # all before low are written or refused; there is a bad one before high
    while low < count:
        while high - low > 1:
            middle = (low + high) // 2
            try:
                write(low, middle)
                low = middle
            except RowError as narrower:
                high, error = middle, narrower
        # What is left of those that were refused together is the one, whose error this is.
        refused.append((low, error))
        low += 1
        size = 1 if len(refused) > 1 and refused[-2][0] == low - 2 else count
        while low < count:
            high = min(count, low + size)
            try:
                write(low, high)
            except RowError as next_error:
                error = next_error
                break
            low, size = high, size * 2
    return refused
