"""Mistakes between a task and its stage processes: dealing, collecting, what is thrown away and what must not be.

Used by: tests.mistakes.
"""

from __future__ import annotations

from tests.mistakes.mistake import STAGED_SINK_SEEDS, STAGED_SOURCE_SEEDS, Change, Mistake

__all__ = ["IN_STAGES"]

CREW = "engine/task/crew.py"
SOURCE = "engine/task/source.py"
SINK = "engine/task/sink.py"
PARCELS = "engine/shm/parcels.py"
STAGE = "engine/stage/bank.py"
WORKERS = "engine/stage/main.py"
DEALING = "engine/task/dealing.py"
LINES = "tests/simulation/test_staged_lines.py"
UNIT = "tests/unit/task/test_crew.py"
IN_ORDER = f"{UNIT}::test_what_is_dealt_comes_back_in_order_whoever_is_ready_first"

IN_STAGES = (
    Mistake(
        "dealt-to-one",
        "all batches are dealt to the first stage process",
        IN_ORDER,
        (Change(CREW, "        end = self._ends[self._next % len(self._ends)]\n", "        end = self._ends[0]\n"),),
    ),
    Mistake(
        "collected-as-they-come",
        "whichever batch is done first is collected first",
        IN_ORDER,
        (
            Change(
                CREW,
                "        done = self._ends[dealt.number % len(self._ends)].done.get()\n",
                "        done = next(filter(None, (end.done.get() for end in self._ends)), None)\n",
            ),
        ),
    ),
    Mistake(
        "turn-not-looked-at",
        "a batch that comes back out of turn is taken for the one that was dealt",
        f"{UNIT}::test_a_batch_that_comes_back_out_of_turn_is_refused",
        (Change(CREW, "        if done.number != dealt.number:\n", "        if done.number < 0:\n"),),
    ),
    Mistake(
        "records-of-a-batch-not-counted",
        "a batch comes back with other records than were dealt",
        f"{UNIT}::test_a_batch_that_comes_back_with_another_number_of_records_is_refused",
        (Change(CREW, "        if done.records != dealt.records:\n", "        if done.records < 0:\n"),),
    ),
    Mistake(
        "stage-takes-what-comes",
        "a stage process works on a batch that was another's",
        f"{UNIT}::test_a_batch_that_is_dealt_out_of_turn_is_refused_by_the_stage_process",
        (Change(STAGE, "        if parcel.number != self._next:\n", "        if parcel.number < 0:\n"),),
    ),
    Mistake(
        "end-before-collected",
        "a source says that it has no more while stage processes have batches",
        STAGED_SOURCE_SEEDS,
        (
            Change(
                SOURCE,
                "        if self._is_to_end():\n            return IDLE_SECONDS\n",
                "        if self._is_to_end():\n            return None\n",
            ),
        ),
    ),
    Mistake(
        "let-go-and-complete",
        "a source that has thrown batches away says that it has no more",
        f"{LINES}::test_a_source_that_has_thrown_its_last_batches_away_does_not_say_that_it_has_no_more",
        (
            Change(
                SOURCE, "        self._polled_again.clear()\n        self._has_ended = self.failure is not None\n", ""
            ),
        ),
    ),
    Mistake(
        "past-a-bad-record",
        "what was dealt after a bad record goes to Kafka, and its offsets into the store",
        f"{LINES}::test_nothing_goes_on_past_a_record_that_a_stage_process_cannot_take_on",
        (
            Change(
                SOURCE,
                "        self._polled_again.clear()\n        self._dealing.forget()\n",
                "        self._polled_again.clear()\n",
            ),
        ),
    ),
    Mistake(
        "part-taken-for-the-whole",
        "what a stage process has made before a bad record goes on as if it were all",
        f"{LINES}::test_nothing_goes_on_past_a_record_that_a_stage_process_cannot_take_on",
        (
            Change(
                WORKERS,
                "return (len(columns), crossing.outbound_message(done, packer)) if done.is_whole else None",
                "return len(columns), crossing.outbound_message(done, packer)",
            ),
        ),
    ),
    Mistake(
        "nothing-made-taken-for-done",
        "a batch that a stage process could not do is given up, where the task should work on it",
        STAGED_SOURCE_SEEDS,
        (
            Change(
                DEALING,
                "            head.is_away = False\n",
                "            head.is_away = False\n"
                "            if not done:\n                self._dealt.popleft()\n                return None\n",
            ),
        ),
    ),
    Mistake(
        "offsets-of-a-later-poll",
        "frames say how much was polled when they were made, not when their records were",
        STAGED_SOURCE_SEEDS,
        (
            Change(
                SOURCE,
                "        polled, self._framing.polled, done = made\n",
                "        polled, _, done = made\n        self._framing.polled = self._polled\n",
            ),
        ),
    ),
    Mistake(
        "given-up-and-put",
        "what a stage process has made of records is put though their partition went elsewhere meanwhile",
        STAGED_SINK_SEEDS,
        (
            Change(
                SINK,
                "if done is not None and all(self._is_wanted(run) for run in message.runs):",
                "if done is not None:",
            ),
        ),
    ),
    Mistake(
        "lost-wake-up-of-a-stage",
        "a batch is dealt without ringing the stage process's bell",
        STAGED_SOURCE_SEEDS,
        (Change(CREW, "            end.bell.ring()\n            if not is_sent:\n", "            if not is_sent:\n"),),
    ),
    Mistake(
        "lost-wake-up-by-a-stage",
        "a batch is done without ringing the task's bell",
        STAGED_SINK_SEEDS,
        (
            Change(
                STAGE,
                "        self._side.done.flush()\n        self._side.task_bell.ring()\n",
                "        self._side.done.flush()\n",
            ),
        ),
    ),
    Mistake(
        "pieces-swapped",
        "the pieces of a message are put together in the wrong order",
        "tests/unit/shm/test_parcels.py::test_what_is_put_is_got_whatever_its_size",
        (Change(PARCELS, "            pieces += piece\n", "            pieces[:0] = piece\n"),),
    ),
)
