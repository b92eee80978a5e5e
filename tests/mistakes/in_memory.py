"""Mistakes in what processes share: ring, board, ledger; and in who starts again when; and in a sink of ours.

Used by: tests.mistakes.
"""

from __future__ import annotations

from tests.mistakes.mistake import SINK_SEEDS, SOURCE_SEEDS, Change, Mistake

__all__ = ["IN_MEMORY"]

RING = "engine/shm/ring.py"
BOARD = "engine/shm/board.py"
ENTRIES = "engine/ledger/entries.py"
PACER = "engine/supervisor/pacer.py"
MENDING = "engine/mending.py"
EACH_ACT = "tests/simulation/test_each_act.py::test_a_bank_that_dies_at_any_of_its_acts_costs_nothing"
EDGES = "tests/unit/shm/test_ring_edges.py"

IN_MEMORY = (
    Mistake(
        "cursor-before-data",
        "a ring's tail is published before the frame is there",
        SOURCE_SEEDS,
        (
            Change(
                RING,
                "        total = (xxh3_64_intdigest(frame)",
                "        self._control[TAIL] = tail + padding + span\n        total = (xxh3_64_intdigest(frame)",
            ),
            Change(
                RING,
                "        self._control[TAIL] = self._tail  # published last: SYNC POINT with RingReader.read\n",
                "",
            ),
        ),
    ),
    Mistake(
        "ring-overfull",
        "a frame is written where eight bytes of another are still in flight",
        f"{EDGES}::test_a_frame_that_lacks_one_word_of_room_is_not_written",
        (
            Change(
                RING,
                "needed = tail + padding + span - self.capacity_bytes",
                "needed = tail + padding + span - self.capacity_bytes - 8",
            ),
        ),
    ),
    Mistake(
        "padding-forgotten",
        "a frame at the end of the memory is not padded to the next lap",
        f"{EDGES}::test_frames_stay_what_they_are_lap_after_lap",
        (
            Change(
                RING,
                "            self._headers[at // HEADER_BYTES] = PADDING_BIT | padding\n            at = 0\n",
                "            at = 0\n",
            ),
        ),
    ),
    Mistake(
        "sums-not-compared",
        "a frame that was changed in the ring is taken",
        "tests/simulation/test_ledger_rigs.py::test_a_frame_that_was_changed_in_the_ring_is_not_taken",
        (
            Change(
                RING,
                "if self._is_checked and xxh3_64_intdigest(frame) & SUM_MASK != header >> SUM_SHIFT:",
                "if self._is_checked and not size:",
            ),
        ),
    ),
    Mistake(
        "head-of-a-new-reader",
        "a reader that is forked anew begins behind what is published",
        f"{EDGES}::test_a_new_reader_begins_with_what_is_not_released",
        (
            Change(
                RING,
                "        self._position = self._control[HEAD]\n        self._in_flight: deque",
                "        self._position = self._control[TAIL]\n        self._in_flight: deque",
            ),
        ),
    ),
    Mistake(
        "tally-in-the-wrong-copy",
        "a tally is written over the copy that is in use",
        SINK_SEEDS,
        (Change(ENTRIES, "        turn = 1 - words[side]\n", "        turn = words[side]\n"),),
    ),
    Mistake(
        "stored-in-the-wrong-pair",
        "what the stored offsets cover is written over the pair that is in use",
        f"{EACH_ACT}[source with partitions]",
        (Change(BOARD, "is_second = 1 - (self.get(Word.STORED) & 1)", "is_second = self.get(Word.STORED) & 1"),),
    ),
    Mistake(
        "nothing-written-off",
        "what a line that died had not made safe is not counted as done again",
        SOURCE_SEEDS,
        (Change(BOARD, "        self.set(Word.WRITTEN_OFF, self._lost_track())\n", ""),),
    ),
    Mistake(
        "all-lines-in-step",
        "lines that failed together come back together",
        "tests/unit/supervisor/test_pacer.py::test_pauses_double_up_to_their_bound_and_are_spread",
        (Change(PACER, "self._random.uniform(0.5, 1)", "self._random.uniform(1, 1)"),),
    ),
    Mistake(
        "turns-without-spacing",
        "every line has its turn at once",
        "tests/unit/supervisor/test_pacer.py::test_a_hundred_that_are_due_together_take_turns_of_ten_seconds_in_all",
        (Change(PACER, "self._free_at_ns = turn_ns + SPACING_NS", "self._free_at_ns = turn_ns"),),
    ),
    Mistake(
        "pauses-without-bound",
        "the pause between restarts doubles without end",
        "tests/unit/supervisor/test_pacer.py::test_pauses_double_up_to_their_bound_and_are_spread",
        (
            Change(
                MENDING,
                "return min(restarts.backoff_ms_max, restarts.backoff_ms << min(verdict.in_a_row - 1, 32))",
                "return restarts.backoff_ms << min(verdict.in_a_row - 1, 32)",
            ),
        ),
    ),
    Mistake(
        "restarts-without-end",
        "a line that makes no progress is started again for ever",
        "tests/unit/supervisor/test_line.py::test_restarts_without_progress_come_to_an_end",
        (Change(MENDING, "return kind == Kind.OUTSIDE or count < limits[kind]", "return True"),),
    ),
    Mistake(
        "torn-line-not-mended",
        "a line that a killed file sink left half written is appended to",
        "tests/unit/connectors/test_file_appender.py::test_what_a_killed_sibling_left_is_cut_off_before_the_next_block",
        (Change("connectors/file/appender.py", "                size -= self._cut(size)\n", "                pass\n"),),
    ),
)
