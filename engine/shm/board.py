"""The board: what every line is, does and counts, in memory that all processes map.

    header    rows in use, how the run goes, levels of loggers (levels.py)
    row 0     identity (text)  │ reason (text)  │ lost ranges (list)  │ words, also of stage processes │ stack (text)
    row 1     ...

A row belongs to one task for the whole run, over all restarts of its line. Every word has one writer, told beside its
name below; readers may look at any time. Text is written by the supervisor, lost ranges by the pump, length last.

Counters per stage are totals of the run. Two of them meet in the question what may be repeated: a source's `produce`
and `store`, a sink's `put` and `commit`. What was not stored or committed when a line died is written off: done again.

Used by: supervisor (makes rows, states), task and pump (count), control and display (read).
Not here: names and types of metrics (engine.metrics.table).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum, unique

import msgspec
from msgspec import Struct

from engine.shm import segment
from engine.shm.levels import LevelTable
from engine.shm.lost_range import LostRange, decode_lost

__all__ = [
    "STAGE_PROCESSES_MAX",
    "Board",
    "HeaderWord",
    "Identity",
    "Measure",
    "Phase",
    "Row",
    "Stage",
    "StageWord",
    "State",
    "Target",
    "Word",
    "board_bytes",
]

ROW_BYTES = 16_384
IDENTITY_BYTES = 1024
REASON_BYTES = 2048
LOST_BYTES = 4096
LOST_AT = IDENTITY_BYTES + REASON_BYTES
WORDS_AT = LOST_AT + LOST_BYTES
STACK_AT = 9216
STACK_BYTES = ROW_BYTES - STACK_AT
STAGE_WORDS_AT = 64
#: Words of each stage process, and how many of these there can be.
STAGE_PROCESS_WORDS_AT = 128
STAGE_PROCESS_WORDS = 8
STAGE_PROCESSES_MAX = 16
#: On the first page, behind the header's words.
LEVELS_AT = 1024
MAGIC = 0x4D494C4C52414333  # "MILLRAC3": a board of another layout has another


class HeaderWord(IntEnum):
    """Words of the board's first page; written by the supervisor, but for TOPICS_FORGOTTEN."""

    MAGIC = 0
    ROWS_USED = 1
    STARTED_NS = 2  # monotonic
    FINISHED_NS = 3  # monotonic; 0: still running
    ROWS_MAX = 4
    MEMORY_BOUND_BYTES = 5  # the most that the whole run can come to hold
    MEMORY_MAX_BYTES = 6  # worker.memory.max; 0: not set
    LEASE_NS = 7  # monotonic; when the lease of all banks was renewed last (lease.py)
    IS_STOPPING = 9  # 1: nothing new is begun
    TOPICS_FORGOTTEN = 8  # by control: how often the topics that a connector has used were forgotten


class State(IntEnum):
    """What a line is, as the supervisor sees it."""

    STARTING = 0
    RUNNING = 1
    DRAINING = 2
    DONE = 3
    FAILED = 4
    RESTARTING = 5
    STOPPED = 6
    PAUSED = 7


class Target(IntEnum):
    """What a line is asked to become; written by the supervisor."""

    RUN = 0
    DRAIN = 1  # sinks: go to the end of what there is, then say so
    STOP = 2  # keep what is done, leave the rest for the next run
    PAUSE = 3  # take nothing new; go on with what is under way


class Phase(IntEnum):
    """How far a bank is in its life; written by that bank."""

    FORKED = 0
    READY = 1  # started; records may flow
    ENDED = 2  # a source has no more, or a bank has done what STOP asks
    COMPLETE = 3  # a sink's group has committed the end of all its partitions


class Stage(IntEnum):
    """Places where records are counted; a source's pump and a sink's task do not count where the other does."""

    POLL = 0  # source, task
    TRANSFORM = 1  # task
    CONVERT = 2  # task
    PRODUCE = 3  # source, pump: handed to librdkafka
    ACKNOWLEDGE = 4  # source, pump: Kafka has it
    STORE = 5  # source, pump: its source offset is stored
    CONSUME = 6  # sink, pump
    PUT = 7  # sink, task: the connector has it
    FLUSH = 8  # sink, task: the connector has it safe
    COMMIT = 9  # sink, pump: its consumer offset is committed


SOURCE_STAGES = (Stage.POLL, Stage.TRANSFORM, Stage.CONVERT, Stage.PRODUCE, Stage.ACKNOWLEDGE, Stage.STORE)
SINK_STAGES = (Stage.CONSUME, Stage.CONVERT, Stage.TRANSFORM, Stage.PUT, Stage.FLUSH, Stage.COMMIT)


class Measure(IntEnum):
    """What is counted at a stage."""

    RECORDS = 0
    BYTES = 1  # of keys and values as Kafka stores them; 0 where a stage does not see them
    BATCHES = 2
    ERRORS = 3  # records that failed there


@unique
class Word(IntEnum):
    """Words of a row that are not counters of a stage."""

    # by the supervisor
    STATE = 0
    TARGET = 1
    TASK_PID = 2  # 0: none; equal to PUMP_PID where one process runs both banks
    PUMP_PID = 3
    RESTARTS = 4
    WRITTEN_OFF = 5  # produced or put, lost track of at a restart: done again
    RING_BYTES = 6  # capacity of the data ring
    STATE_SINCE_NS = 7  # monotonic
    CARRIED = 8  # may be repeated because an earlier run ended without a stop
    MEMORY_BOUND_BYTES = 9  # the most that the line can come to hold
    ENDED_POLLED = 10  # sources: records polled, of these dropped, and added, when the last life of the line ended
    ENDED_DROPPED = 11
    ENDED_ADDED = 22
    AGAIN_POLLED = 12  # sources: records polled, of these dropped, and added, that were polled again after a restart
    AGAIN_DROPPED = 13
    AGAIN_ADDED = 23
    FRUITLESS = 14  # restarts in a row without progress, before this life of the line
    NEXT_START_NS = 15  # monotonic; when the next life is due; 0: none is
    IS_FOLLOWED = 29  # sinks: 1: whoever stops now keeps its place in the group for the line that comes next
    STALL = 52  # why the line does not go on, and since when (stalls.py); 0: it does
    STALLS = 53  # how often it did not
    CIRCUIT = 56  # whether it is tried though it failed too often (engine.mending.Circuit)
    ENDED_AS = 57  # why its last life ended badly (engine.mending.Kind)
    ENDED_SKIPPED = 115  # as ENDED_DROPPED
    AGAIN_SKIPPED = 116
    STAGE_PROCESSES = 59  # how many the line has; 0: its stages run beside the connector
    # by the task process
    TASK_PHASE = 16
    TASK_BEAT_NS = 17  # monotonic, set in every turn of its loop
    FIRST_RECORD_NS = 18  # monotonic; when the first record was polled or put; 0: none yet
    TASK_WAIT = 19  # what it waits for outside, and since when (waits.py); 0: nothing
    TASK_ACT = 20  # what it is doing, or did last (acts.py)
    POLL_MS = 21  # sources: how long the task's poll may wait for records, as it has declared
    TASK_MISSING = 24  # records that the ledger misses at a border of this bank
    TASK_DOUBLED = 25  # and those that are there twice
    DROPPED = 26  # records that transforms let go, over all lives
    ADDED = 28  # sources: records that transforms made of others, beyond the first of each, over all lives
    REPEATED = 27  # sinks: records that were handed to the connector again
    # by the pump
    PUMP_PHASE = 32
    PUMP_BEAT_NS = 33
    LAG = 34  # sinks: records between the position and the end of the assigned partitions
    RING_USED_BYTES = 35
    PARTITIONS = 36  # sinks: assigned partitions
    GIVEN_UP = 37  # sinks: put, but their partitions were given up without a commit
    QUEUED = 38  # records in librdkafka's own queue
    HELD = 39  # 1: a source on the embedded Kafka is held back by its sink
    LOST_RANGES = 40  # sinks: ranges of records that were gone before they were read; the row names the first of them
    LOST_RECORDS = 41  # sinks: records in those ranges, where both ends are known
    PUMP_WAIT = 42  # as TASK_WAIT
    PUMP_ACT = 43  # as TASK_ACT
    PUMP_MISSING = 44  # as TASK_MISSING
    PUMP_DOUBLED = 45
    STORED = 46  # sources: records polled that the stored offsets cover, times 2; plus which pair of the next belongs
    STORED_FIRST = 47  # a pair: of these, records dropped, and records that count as stored
    STORED_SECOND = 49
    STORED_ADDED_FIRST, STORED_ADDED_SECOND = 54, 55  # to each of the pair: records added
    DOUBTFUL = 58  # sources: were on their way when the client began to number anew; Kafka may have them twice
    PAUSED = 51  # sinks: assigned partitions of which the connector wants nothing now
    # What a line has in hand, and what the lives before died of (engine.task.suspects); by the task process
    BLAMED = 30  # records that have failed by killing, since one has passed
    NARROWED, BEGUN = 60, 31  # how often the suspects became fewer, or killed alone; and when that began (suspects.py)
    KILLER_FIRST, KILLER_SECOND, KILLER_THIRD = 61, 62, 63  # sources: numbers for those that were blamed last
    HAND_PLACE = 121  # a number for topic and partition, or source partition
    HAND_LAST, HAND_RECORDS = 122, 123  # offset, or a number for it; how many, 0: nothing is in hand
    SUSPECT_PLACE, SUSPECT_LAST = 124, 125
    PART_RECORDS = 126  # the most that is taken in hand at once; 0: whatever comes
    LONE_DEATHS = 127  # processes that have died with nothing but the last suspect in hand; and whether it was refused
    # Records that fail, behind the stages' counters; by the task process
    SKIPPED = 104  # left out for it, over all lives
    FAILURES = 105  # attempts that failed
    FAILED = 106  # records with which something was wrong for good
    RETRIES = 107  # of records that may pass
    ERRORS_LOGGED = 108
    LAST_ERROR_NS = 109  # monotonic; 0: there was none
    # by the pump
    LETTERS, LETTERS_FAILED = 110, 111  # dead letters that were handed to the producer; and refused
    LETTERS_ACKNOWLEDGED = 112  # over all lives: the number of the last one up to which Kafka has all
    STORED_SKIPPED_FIRST = 113  # sources: to each of the pair of STORED: records skipped
    STORED_SKIPPED_SECOND = 114
    REFUSED = 117  # sources: of the records that count as stored, those that Kafka has refused and that were left out
    REFUSALS, REFUSALS_LOGGED = 118, 119  # how often it has refused one, over all lives; and that was logged
    REFUSED_NS = 120  # monotonic; the last time


_OF_ONE_LINE = (
    *(Word.FRUITLESS, Word.CIRCUIT, Word.ENDED_AS, Word.NEXT_START_NS, Word.IS_FOLLOWED, Word.HAND_RECORDS, Word.BEGUN),
    *(Word.PART_RECORDS, Word.LONE_DEATHS, Word.BLAMED, Word.KILLER_FIRST, Word.KILLER_SECOND, Word.KILLER_THIRD),
)
#: What belongs to each of the pair of STORED: records dropped, stored, added, skipped.
_COVERED = (
    (Word.STORED_FIRST, Word.STORED_FIRST + 1, Word.STORED_ADDED_FIRST, Word.STORED_SKIPPED_FIRST),
    (Word.STORED_SECOND, Word.STORED_SECOND + 1, Word.STORED_ADDED_SECOND, Word.STORED_SKIPPED_SECOND),
)


class StageWord(IntEnum):
    """Words of a stage process; written by itself, but for its PID."""

    PID = 0  # by the supervisor; 0: none
    BEAT_NS = 1  # monotonic, set in every turn of its loop
    ACT = 2  # what it is doing, or did last (acts.py)
    BATCHES = 3  # done, over all lives of the line
    RECORDS = 4  # as they came to it
    BUSY_NS = 5  # time spent on them


class Identity(Struct, frozen=True):
    """Whose row it is."""

    connector: str
    task: int
    type: str  # "source" or "sink"
    plugin: str  # the connector's class, as configured


def board_bytes(rows_max: int) -> int:
    """Size of the segment for a board of `rows_max` rows."""
    return (rows_max + 1) * ROW_BYTES


class Row:
    """One task's row. Whoever holds it writes his own words only."""

    def __init__(self, memory: memoryview, header: memoryview, index: int) -> None:
        """header: the board's. index: among all rows of the board."""
        self._header = header
        self.index = index
        self._identity = memory[:IDENTITY_BYTES]
        self._reason = memory[IDENTITY_BYTES:LOST_AT]
        self._lost = memory[LOST_AT:WORDS_AT]
        self.words = segment.words(memory[WORDS_AT:STACK_AT])
        self._stack = memory[STACK_AT:ROW_BYTES]

    @property
    def identity(self) -> Identity:
        """Whose row it is; written once, before any other process sees the row."""
        size = int.from_bytes(self._identity[:2], "little")
        return msgspec.msgpack.decode(self._identity[2 : 2 + size], type=Identity)

    @property
    def is_free(self) -> bool:
        """Whether it is nobody's, or not any more."""
        return not int.from_bytes(self._identity[:2], "little")

    def free(self) -> None:
        """Give it up, for another task to have (supervisor)."""
        self._identity[:2] = b"\0\0"
        self._reason[:2] = self._lost[:2] = self._stack[:2] = b"\0\0"
        for at in range(len(self.words)):
            self.words[at] = 0

    def renew(self) -> None:
        """Another line of the same task takes it over, and counts on (supervisor, when both banks are gone)."""
        self.write_off()
        self.reason = ""
        for word in (Word.TARGET, Word.TASK_PHASE, Word.PUMP_PHASE):
            self.set(word, 0)

    def claim(self, identity: Identity) -> None:
        """Write whose row it is (supervisor)."""
        text = msgspec.msgpack.encode(identity)
        if len(text) > IDENTITY_BYTES - 2:
            raise ValueError(f"the name of connector {identity.connector[:40]}... is too long for the board")
        self._identity[2 : 2 + len(text)] = text
        self._identity[:2] = len(text).to_bytes(2, "little")

    @property
    def lease_ns(self) -> int:
        """When the lease of all banks was renewed last; 0: nobody gives leases."""
        return self._header[HeaderWord.LEASE_NS]

    @property
    def topics_forgotten(self) -> int:
        """How often used topics were forgotten; with the next time they are used they are told again."""
        return self._header[HeaderWord.TOPICS_FORGOTTEN]

    @property
    def reason(self) -> str:
        """Why the line failed or was restarted last; empty: it was not."""
        return segment.text(self._reason)

    @reason.setter
    def reason(self, text: str) -> None:
        segment.write_text(self._reason, text)

    @property
    def stack(self) -> str:
        """The Python stacks of the process that is stuck, or was when it was ended for it; empty: none is known."""
        return segment.text(self._stack)

    @stack.setter
    def stack(self, text: str) -> None:
        segment.write_text(self._stack, text)

    @property
    def lost_ranges(self) -> list[LostRange]:
        """The first lost ranges of this run, as many as the row takes; `LOST_RANGES` counts them all."""
        size = int.from_bytes(self._lost[:2], "little")
        return decode_lost(self._lost[2 : 2 + size]) if size else []

    def add_lost(self, lost: LostRange) -> None:
        """Count a lost range, and name it if there is room (pump)."""
        self.set(Word.LOST_RANGES, self.get(Word.LOST_RANGES) + 1)
        self.set(Word.LOST_RECORDS, self.get(Word.LOST_RECORDS) + lost.records)
        encoded = msgspec.msgpack.encode([*self.lost_ranges, lost])
        if len(encoded) <= LOST_BYTES - 2:
            self._lost[:2] = b"\0\0"
            self._lost[2 : 2 + len(encoded)] = encoded
            self._lost[:2] = len(encoded).to_bytes(2, "little")

    def get(self, word: Word) -> int:
        """The value of a word now."""
        return self.words[word]

    def begin(self) -> None:
        """A line begins: what the one that had this row before has left in it says nothing of this one."""
        for word in _OF_ONE_LINE:
            self.set(word, 0)

    def progress(self) -> int:
        """What grows when a life gets further: records stored or committed, and suspects that have become fewer."""
        return sum(self.words[STAGE_WORDS_AT + 4 * stage] for stage in (Stage.STORE, Stage.COMMIT)) + self.get(
            Word.NARROWED
        )

    def set(self, word: Word, value: int) -> None:
        """Store a word of one's own."""
        self.words[word] = value

    def stage_get(self, number: int, word: StageWord) -> int:
        """The value of a word of a stage process now."""
        return self.words[STAGE_PROCESS_WORDS_AT + STAGE_PROCESS_WORDS * number + word]

    def stage_set(self, number: int, word: StageWord, value: int) -> None:
        """Store a word of one's own, as a stage process."""
        self.words[STAGE_PROCESS_WORDS_AT + STAGE_PROCESS_WORDS * number + word] = value

    def count(self, stage: Stage, records: int, size: int = 0, *, batches: int = 1, errors: int = 0) -> None:
        """Add to a stage's counters (the stage's one writer). size: bytes."""
        words = self.words
        at = STAGE_WORDS_AT + 4 * stage
        words[at] += records
        words[at + 1] += size
        words[at + 2] += batches
        if errors:
            words[at + 3] += errors

    def measured(self, stage: Stage, measure: Measure) -> int:
        """A stage's total of this run."""
        return self.words[STAGE_WORDS_AT + 4 * stage + measure]

    def reach(self, stage: Stage, records: int) -> None:
        """Set a stage's record count, where it follows another's count (the stage's one writer)."""
        self.words[STAGE_WORDS_AT + 4 * stage] = records

    def cover(self, polled: int, dropped: int, added: int, stored: int, skipped: int = 0) -> None:
        """Say what the stored offsets cover; a kill in the middle leaves what was said before (pump)."""
        is_second = 1 - (self.get(Word.STORED) & 1)
        for word, value in zip(_COVERED[is_second], (dropped, stored, added, *filter(None, [skipped])), strict=False):
            self.words[word] = value
        self.set(Word.STORED, polled << 1 | is_second)

    def covered(self) -> tuple[int, int, int, int, int]:
        """What `cover` has said last: records polled, dropped, added, stored, skipped."""
        word = self.get(Word.STORED)
        dropped, stored, added, skipped = (self.words[at] for at in _COVERED[word & 1])
        return word >> 1, dropped, added, stored, skipped

    def was_repeated(self) -> int:
        """Records that were done twice for sure: acknowledged before a restart and sent again, or put again."""
        if self.identity.type != "source":
            return self.get(Word.REPEATED)
        again = self.measured(Stage.ACKNOWLEDGE, Measure.RECORDS) - self.measured(Stage.STORE, Measure.RECORDS)
        return max(0, min(again, self.get(Word.WRITTEN_OFF)))

    def may_be_repeated(self) -> int:
        """Upper bound of the records that were or will be done twice, as it stands now."""
        return self._lost_track() + self.get(Word.DOUBTFUL) + self.get(Word.CARRIED)

    def write_off(self) -> None:
        """The line died: what it did and did not make safe is done again (supervisor, when both banks are gone)."""
        polled, dropped, added, stored, skipped = self.covered()
        if stored > self.measured(Stage.STORE, Measure.RECORDS):
            self.reach(Stage.STORE, stored)  # its pump was killed before it could count this
        self.set(Word.WRITTEN_OFF, self._lost_track())
        self._begin_again(self.measured(Stage.POLL, Measure.RECORDS), polled, Word.ENDED_POLLED, Word.AGAIN_POLLED)
        self._begin_again(self.get(Word.DROPPED), dropped, Word.ENDED_DROPPED, Word.AGAIN_DROPPED)
        self._begin_again(self.get(Word.ADDED), added, Word.ENDED_ADDED, Word.AGAIN_ADDED)
        if self.identity.type == "source":
            self._begin_again(self.get(Word.SKIPPED), skipped, Word.ENDED_SKIPPED, Word.AGAIN_SKIPPED)

    def _begin_again(self, count: int, stored: int, ended: Word, again: Word) -> None:
        """Count as to be polled again what came after the stored offsets, in this life."""
        kept = max(stored, self.get(ended))
        self.set(again, self.get(again) + count - kept)
        self.set(ended, count)

    def _lost_track(self) -> int:
        done, kept = (Stage.PRODUCE, Stage.STORE) if self.identity.type == "source" else (Stage.PUT, Stage.COMMIT)
        # The safe count first: it can only grow, so that the bound errs upwards.
        kept_records = self.measured(kept, Measure.RECORDS)
        return max(0, self.measured(done, Measure.RECORDS) - kept_records)


class Board:
    """The whole board, mapped; any process may make one from the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = segment.map_shared(descriptor)
        self._whole = memoryview(self._memory)
        self.header = segment.words(self._whole[:LEVELS_AT])
        self.rows_max = len(self._whole) // ROW_BYTES - 1
        self.levels = LevelTable(self._whole[LEVELS_AT:ROW_BYTES])
        self._rows: dict[int, Row] = {}  # made once: a status looks at all of them

    def begin(self, now_ns: int) -> None:
        """Mark a fresh board as one (supervisor, before the first fork)."""
        self.header[HeaderWord.ROWS_MAX] = self.rows_max
        self.header[HeaderWord.STARTED_NS] = now_ns
        self.header[HeaderWord.MAGIC] = MAGIC

    def is_begun(self) -> bool:
        """Whether `begin` was ever called on this memory."""
        return self.header[HeaderWord.MAGIC] == MAGIC and self.header[HeaderWord.ROWS_USED] <= self.rows_max

    def add(self, identity: Identity) -> int:
        """Give a task the next free row; returns its index (supervisor).

        Raises OSError when the board is a file and its disk has no room for the row.
        """
        used = self.header[HeaderWord.ROWS_USED]
        index = next((index for index in range(used) if self.row(index).is_free), used)
        if index >= self.rows_max:
            raise ValueError(f"{self.rows_max} tasks are all this worker takes: raise worker.tasks.max")
        segment.reserve(self._descriptor, (index + 1) * ROW_BYTES, ROW_BYTES)
        self.row(index).claim(identity)
        self.header[HeaderWord.ROWS_USED] = max(used, index + 1)
        return index

    def free(self, index: int) -> None:
        """Give a row back (supervisor, when the task is no more)."""
        self.row(index).free()

    def row(self, index: int) -> Row:
        """One row by its index."""
        row = self._rows.get(index)
        if row is None:
            begin = (index + 1) * ROW_BYTES
            row = self._rows[index] = Row(self._whole[begin : begin + ROW_BYTES], self.header, index)
        return row

    def rows(self) -> Iterator[Row]:
        """Every row in use."""
        for index in range(self.header[HeaderWord.ROWS_USED]):
            row = self.row(index)
            if not row.is_free:
                yield row
