"""What kills a line's processes: found by halving over its restarts, and then not tried again.

    a life dies with n records in hand ──► the next takes parts of n/2, each made safe before the next
                                           ──► ... ──► one record, alone in hand at DEATHS_MAX deaths ──► it has failed

What a line has in hand stands on the board, so that a death needs no last word: what is worked on or put beside the
connector, what stage processes have, and, while a sink flushes, all that was put since the last flush. While suspects
are looked for, all is worked on beside the connector. Where a part that covers them has passed, all goes on as before;
nothing is said of a record that dies alone fewer times, since whoever kills processes may have hit a good one.

Used by: engine.task.sink_suspects, engine.task.source_suspects.
Not here: what is in hand, and what becomes of what has failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.api.errors import DataError
from engine.mending import Kind
from engine.shm.board import Row, Word

__all__ = ["NOTHING", "Hand", "Suspects"]

#: A record is to blame once so many processes have died with nothing else in hand.
DEATHS_MAX = 3
#: And so many in a row, none of which has passed, are no fault of records any more.
BLAMED_MAX = 5
#: Goes with the deaths of what was refused already.
_REFUSED = 1 << 32
#: So long it is waited until what was blamed is safe.
SAFE_NS = 10_000_000_000
#: Suspects that have not come again after so many other records are somebody else's by now.
RECORDS_MAX = 100_000
#: And after so many that may lie before them, as those of one offset all may.
SEEN_MAX = 100 * RECORDS_MAX


class Hand(NamedTuple):
    """Records that are worked on together."""

    place: int  # two numbers by which the last of them is known again
    last: int
    records: int


#: An offset without records: nobody dies of it.
NOTHING = Hand(0, 0, 0)


class KilledError(DataError):
    """A record that has ended the processes that worked on it."""

    code = Kind.CRASH.label


class Suspects:
    """What the lives before have died of, as far as that is known."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._is_frozen = False
        self._seen = 0  # records that have passed in this life
        self._others = 0  # of them, those that do not lie before the suspects
        self._have_come = False  # the last of the suspects among them
        self.deaths = 0  # of the record that was refused just now; 0: none was
        self.was_refused = False  # that one, by a life before as well
        self.part_records = row.get(Word.PART_RECORDS)  # the most that is in hand at once; 0: nothing is looked for
        count = row.get(Word.HAND_RECORDS)
        row.set(Word.HAND_RECORDS, 0)
        if count and row.get(Word.ENDED_AS) == Kind.CRASH:
            self._narrow(count)

    def note_error(self, error: Exception) -> None:
        """The task ends by this. Where no memory is left it dies of what it has in hand, though it may end in order."""
        self._is_frozen = isinstance(error, MemoryError)

    def _tell(self, hands: Iterable[Hand]) -> None:
        """All of this is in hand now."""
        if self._is_frozen:
            return
        row = self._row
        count = 0
        for hand in hands:
            if not hand.records:
                continue
            count += hand.records
            row.set(Word.HAND_PLACE, hand.place)
            row.set(Word.HAND_LAST, hand.last)
        row.set(Word.HAND_RECORDS, count)

    def _blame(self, what: str, *, is_known: bool = False) -> KilledError | None:
        """What was told last is to blame; None: it is worked on. what: it is. is_known: it was before."""
        if is_known:
            self.deaths = DEATHS_MAX
            return KilledError(f"{DEATHS_MAX} processes have died with {what} alone in hand")
        row = self._row
        lone = row.get(Word.LONE_DEATHS)
        deaths = lone % _REFUSED
        self.deaths = deaths if deaths >= DEATHS_MAX and self._is_suspect() else 0
        if not self.deaths:
            return None
        self.was_refused = lone >= _REFUSED
        row.set(Word.LONE_DEATHS, _REFUSED + deaths)
        if not self.was_refused:  # else nothing was tried since: its letter, or what follows it, did not come through
            row.set(Word.BLAMED, row.get(Word.BLAMED) + 1)
        return KilledError(f"{deaths} processes have died with {what} alone in hand")

    def _is_believed(self) -> bool:
        """Whether it is still records that kill, not whatever is done to them."""
        return self._row.get(Word.BLAMED) <= BLAMED_MAX

    def _passed(self, count: int, *, are_suspects: bool, before: int = 0) -> None:
        """So many records are through; whether the last of the suspects is among them.

        before: how many are sure to come before it each time, since nothing between them can be stored.
        """
        self._seen += count
        self._others += count - before
        self._have_come = self._have_come or are_suspects

    def _end(self) -> None:
        """Look for nothing any more, where all suspects have passed."""
        row = self._row
        count = 2 * self.part_records - 1
        are_gone = self._others > max(RECORDS_MAX, count) or self._seen > max(SEEN_MAX, count)
        if (self._have_come and self._seen >= count) or are_gone:
            self._take_parts_of(0)
            row.set(Word.LONE_DEATHS, 0)

    def _narrow(self, count: int) -> None:
        row = self._row
        part, deaths = self.part_records, row.get(Word.LONE_DEATHS)
        if not part:
            self._begin()
        is_again = part > 0 and self._is_suspect()
        is_alone = count == 1 or count > part > 0  # nothing smaller can be taken in hand
        row.set(Word.LONE_DEATHS, 0 if not is_alone else deaths + 1 if is_again else 1)
        row.set(Word.SUSPECT_PLACE, row.get(Word.HAND_PLACE))
        row.set(Word.SUSPECT_LAST, row.get(Word.HAND_LAST))
        self._take_parts_of((count + 1) // 2)
        is_nearer = (is_again and deaths < DEATHS_MAX) or not deaths  # else it is another one each time
        if is_nearer and row.get(Word.BEGUN) % 2:
            row.set(Word.NARROWED, row.get(Word.NARROWED) + 1)

    def _take_parts_of(self, records: int) -> None:
        self.part_records = records
        self._row.set(Word.PART_RECORDS, records)

    def _begin(self) -> None:
        """A search begins, which gets a life further only if records have gone on since the last one began."""
        row = self._row
        done = row.progress() - row.get(Word.NARROWED) + 1  # 0: there was no search
        row.set(Word.BEGUN, 2 * done + (done != row.get(Word.BEGUN) // 2))

    def _is_suspect(self) -> bool:
        row = self._row
        is_place = row.get(Word.HAND_PLACE) == row.get(Word.SUSPECT_PLACE)
        return is_place and row.get(Word.HAND_LAST) == row.get(Word.SUSPECT_LAST)
