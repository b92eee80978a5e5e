"""What the ledger says when it does not add up. Nothing past the last border that did was made safe.

Used by: engine.ledger.source, engine.ledger.sink.
"""

from __future__ import annotations

from engine.shm.board import Row, Word
from engine.shm.waits import FinalError

__all__ = ["Complaint", "LedgerError", "described"]

Place = tuple[str, int]  # topic, partition


class LedgerError(FinalError):
    """Records are missing, or there twice, between two borders."""


class Complaint:
    """One bank's way to say that something does not add up."""

    def __init__(self, row: Row, missing: Word, doubled: Word) -> None:
        """missing, doubled: the words of the row in which this bank counts what it has found."""
        self._row = row
        self._missing = missing
        self._doubled = doubled

    def differs(self, border: str, where: str, expected: int, found: int) -> LedgerError:
        """The error to raise. border: "between A and B". where: the partition and range. Counts of records."""
        missing = expected - found
        word, state = (self._missing, "missing") if missing > 0 else (self._doubled, "too many")
        self._row.set(word, self._row.get(word) + abs(missing))
        if not missing:
            return self._swapped(border, where)
        count = abs(missing)
        noun = "record is" if count == 1 else "records are"
        return LedgerError(f"ledger: {count} {noun} {state} {border}: {where}; nothing from there on is made safe")

    def _swapped(self, border: str, where: str) -> LedgerError:
        # As many as expected, but others: one that is missing, and one that is there twice.
        for word in (self._missing, self._doubled):
            self._row.set(word, self._row.get(word) + 1)
        return LedgerError(f"ledger: other records than expected {border}: {where}; nothing from there on is made safe")


def described(place: Place, first: int, last: int) -> str:
    """A partition and the offsets from `first` to `last` of it."""
    offsets = f"offset {first}" if first == last else f"offsets {first} to {last}"
    return f"topic {place[0]}, partition {place[1]}, {offsets}"
