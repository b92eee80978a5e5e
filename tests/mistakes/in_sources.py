"""Mistakes on a source's way: task bank, pump bank, delivery.

Used by: tests.mistakes.
"""

from __future__ import annotations

from tests.mistakes.mistake import SOURCE_SEEDS, Change, Mistake

__all__ = ["IN_SOURCES"]

TASK = "engine/task/source.py"
FRAMING = "engine/task/framing.py"
PUMP = "engine/pump/source.py"
DELIVERY = "engine/pump/delivery.py"
SENT = "engine/pump/sent.py"
OUTGOING = "engine/stages/outgoing.py"
OUTBOX = "engine/task/outbox.py"
SNAPSHOT = "connectors/postgres/source/snapshot.py"
ENDINGS = "tests/simulation/test_source_endings.py"
BATCH_REFUSED = "tests/simulation/test_source_line.py::test_a_batch_that_is_refused_whole_arrives_record_by_record"
RECORD_REFUSED = (
    "tests/simulation/test_source_line.py::test_a_record_that_is_always_refused_is_named_and_nothing_after_it_is_stored"
)
MOVED = (
    "tests/unit/connectors/test_postgres_snapshot.py"
    "::test_what_was_begun_is_read_anew_where_nobody_tells_that_rows_have_moved"
)
MOVED_TO_A_LEAF = (
    "tests/unit/connectors/test_postgres_snapshot.py"
    "::test_a_partition_that_was_read_is_read_anew_where_inserts_are_left_out"
)

IN_SOURCES = (
    Mistake(
        "new-numbers-not-told",
        "the client numbers anew what is on its way, Kafka has some of it twice, and nobody is told",
        SOURCE_SEEDS,
        (Change(DELIVERY, "times = self.producer.take_new_numbers()", "times = 0"),),
    ),
    Mistake(
        "new-numbers-told-later",
        "what Kafka may have twice is told in the pump's next step, and not at all if it is killed before",
        SOURCE_SEEDS,
        (Change(PUMP, "            self._hear()\n", "            self._delivery.poll()\n"),),
    ),
    Mistake(
        "store-before-acknowledge",
        "offsets are due to be stored when their records are sent, not when Kafka has them",
        SOURCE_SEEDS,
        (
            Change(
                PUMP,
                "            self._delivery.send(self._next)\n",
                "            self._cover(self._next)\n            self._delivery.send(self._next)\n",
            ),
        ),
    ),
    Mistake(
        "release-before-acknowledge",
        "a frame's memory goes back to the task when it is sent, not when Kafka has it",
        SOURCE_SEEDS,
        (
            Change(
                PUMP,
                "            self._delivery.send(self._next)\n",
                "            self._delivery.send(self._next)\n            self._ring.release()\n",
            ),
            Change(PUMP, "            self._ring.release(released)\n", ""),
        ),
    ),
    Mistake(
        "acknowledged-without-answers",
        "the oldest frame counts as acknowledged whatever answers it still awaits",
        SOURCE_SEEDS,
        (Change(DELIVERY, " or self._in_flight[0].pending > 0:", ":"),),
    ),
    Mistake(
        "refusal-taken-for-success",
        "an answer that is an error counts as one that is none",
        SOURCE_SEEDS,
        (
            Change(
                SENT,
                "        if error is not None:\n            self._delivery.fail(self, None, error)\n        else:\n"
                "            self.pending -= 1\n",
                "        self.pending -= 1\n",
            ),
        ),
    ),
    Mistake(
        "old-producer-believed",
        "what a producer says after it was given up is believed",
        "tests/simulation/test_delivery_ways.py::test_what_a_producer_says_after_it_was_given_up_is_not_believed",
        (Change(DELIVERY, "if is_known or (sent is not None and sent not in self._in_flight):", "if is_known:"),),
    ),
    Mistake(
        "believed-after-error",
        "frames count as acknowledged after an error of their producer, before they are sent again",
        "tests/simulation/test_delivery_ways.py::test_after_an_error_no_answer_is_believed",
        (Change(DELIVERY, "if self.error is not None or not self._in_flight", "if not self._in_flight"),),
    ),
    Mistake(
        "not-sent-again",
        "after an error what is in flight is not sent again",
        SOURCE_SEEDS,
        (Change(PUMP, "        self._ring.rewind()\n", ""),),
    ),
    Mistake(
        "gapless-dropped",
        "the producer goes on behind a refused request, though one answer stands for all before it",
        SOURCE_SEEDS,
        (Change(DELIVERY, '["enable.gapless.guarantee"] = True', '["enable.gapless.guarantee"] = False'),),
    ),
    Mistake(
        "one-at-a-time-dropped",
        "on the slow way the next frame is sent before the last is answered",
        "tests/simulation/test_delivery_ways.py::test_the_slow_way_has_one_frame_on_its_way",
        (
            Change(
                DELIVERY, "if self._in_flight and self._slow_left >= 0:", "if self._in_flight and self._slow_left > 99:"
            ),
        ),
    ),
    Mistake(
        "slow-settings-dropped",
        "the slow way sends whole batches again instead of single records",
        BATCH_REFUSED,
        (Change(DELIVERY, "self._renew({**self._settings, **SLOW_SETTINGS})", "self._renew(self._settings)"),),
    ),
    Mistake(
        "bystander-blamed",
        "a record that was purged behind a refused one is blamed for it",
        RECORD_REFUSED,
        (Change(DELIVERY, "elif sent is None or error.code() in _BYSTANDERS:", "elif sent is None:"),),
    ),
    Mistake(
        "slow-for-ever",
        "once slow, the producer never goes back to full speed",
        "tests/simulation/test_delivery_ways.py::test_full_speed_comes_back_after_the_slow_way",
        (Change(DELIVERY, "        if self._slow_left > 0:\n", "        if self._slow_left > 99:\n"),),
    ),
    Mistake(
        "answer-for-the-first",
        "the record of a partition whose answer stands for the others is handed over before them",
        SOURCE_SEEDS,
        (
            Change(
                DELIVERY,
                "        if heads.values:\n            self.producer.send_many(frame.topic, heads)\n        # To",
                "        # To",
            ),
            Change(
                DELIVERY,
                "            self.producer.send_batch(frame.topic, partition, [last])\n",
                "            self.producer.send_batch(frame.topic, partition, [last])\n"
                "        if heads.values:\n            self.producer.send_many(frame.topic, heads)\n",
            ),
        ),
    ),
    Mistake(
        "offsets-with-the-first-frame",
        "a poll's offset goes with the first of its frames, not the last",
        SOURCE_SEEDS,
        (Change(TASK, "bool(along) and index == len(done.batches) - 1", "bool(along) and index == 0"),),
    ),
    Mistake(
        "part-of-a-poll-stored",
        "a poll counts as stored when some of its offsets are",
        f"{ENDINGS}::test_a_poll_with_more_offsets_than_a_frame_takes_is_stored_whole_and_only_behind_its_records",
        (Change(PUMP, "if done.offsets and done.is_last:", "if done.offsets:"),),
    ),
    Mistake(
        "resume-off-by-one",
        "what stands before a bad record is stored with the bad record's own offset",
        f"{ENDINGS}::test_what_stands_before_a_bad_record_is_stored_and_not_repeated",
        (
            Change(OUTGOING, "in self._each[begin:end]\n", "in self._each[begin : end + 1]\n"),
            Change(OUTGOING, "self._last[place] < end ", "self._last[place] <= end "),
        ),
    ),
    Mistake(
        "swapped-source-frames",
        "a frame overtakes the one before it",
        SOURCE_SEEDS,
        (
            Change(
                FRAMING,
                "            self._outbox.say(whole)\n",
                "            self._outbox._waiting.appendleft(frame.encode(whole))\n",
            ),
        ),
    ),
    Mistake(
        "sequence-stands-still",
        "records are numbered by their frame, so that answers are told of other records",
        SOURCE_SEEDS,
        (Change(FRAMING, "        self.sequence += len(values)\n", "        self.sequence += 1\n"),),
    ),
    Mistake(
        "last-frames-not-waited-for",
        "a source ends when its last frame is sent, not when it is acknowledged",
        SOURCE_SEEDS,
        (
            Change(
                PUMP,
                "if self._delivery.is_idle and self._next is None and self._is_finished():",
                "if self._next is None and self._is_finished():",
            ),
        ),
    ),
    Mistake(
        "lost-wake-up-of-the-pump",
        "the task publishes frames without ringing the pump's bell",
        SOURCE_SEEDS,
        (Change(OUTBOX, "            self._bell.ring()\n", "            pass\n"),),
    ),
    Mistake(
        "lost-wake-up-of-the-task",
        "the pump says what is stored without ringing the task's bell",
        "tests/simulation/test_bells.py::test_a_task_is_woken_by_the_last_word_of_its_pump",
        (
            Change(
                PUMP,
                "            wrote = True\n        if wrote:\n            self._side.task_bell.ring()\n",
                "            wrote = True\n",
            ),
        ),
    ),
    Mistake(
        "moved-without-a-word",
        "a snapshot goes on where it was though updates are left out, and loses rows that have moved meanwhile",
        MOVED,
        (Change(SNAPSHOT, ' or "u" in skipped\n', "\n"),),
    ),
    Mistake(
        "moved-to-another-partition",
        "a snapshot whose inserts are left out loses rows that have moved to a partition that was read",
        MOVED_TO_A_LEAF,
        (Change(SNAPSHOT, "        if not is_anew and (", "        if ("),),
    ),
)
