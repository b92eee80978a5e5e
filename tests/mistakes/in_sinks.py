"""Mistakes on a sink's way: task bank, pump bank, commits, partitions, framing, drain.

Used by: tests.mistakes.
"""

from __future__ import annotations

from tests.mistakes.mistake import SINK_SEEDS, Change, Mistake

__all__ = ["IN_SINKS"]

TASK_PARTS = "engine/task/parts.py"
TASK = "engine/task/sink.py"
PUMP = "engine/pump/sink.py"
COMMITS = "engine/pump/commits.py"
PARTS = "engine/pump/partitions.py"
FRAMING = "engine/pump/framing.py"
DRAIN = "engine/pump/drain.py"
SEEKING = "tests/unit/task/test_seeking.py"
LINE = "tests/simulation/test_sink_line.py"
NOTHING_TWICE = f"{LINE}::test_partitions_that_move_while_nothing_fails_have_nothing_done_twice"

IN_SINKS = (
    Mistake(
        "commit-before-flush",
        "what was read is committed, whether it is flushed or not",
        SINK_SEEDS,
        (
            Change(
                PARTS,
                "            place: part.flushed\n",
                "            place: part.position\n",
            ),
        ),
    ),
    Mistake(
        "flush-left-out",
        "positions are sent without the connector having been asked to flush",
        SINK_SEEDS,
        (Change(TASK, "safe = self._task.pre_commit(offsets)", "safe = dict(offsets)"),),
    ),
    Mistake(
        "position-beyond-what-is-safe",
        "where the connector holds something back, the position moves past it all the same",
        SINK_SEEDS,
        (
            Change(
                TASK_PARTS,
                "positions.append(Position(place[0], place[1], part.epoch, offset))",
                "positions.append(Position(place[0], place[1], part.epoch, offsets[TopicPartition(*place)]))",
            ),
        ),
    ),
    Mistake(
        "count-before-put",
        "a position moves before put has returned",
        SINK_SEEDS,
        (
            Change(
                TASK,
                "        try:\n            if len(batch):\n",
                "        for run in going.done():\n"
                "            part = self._parts.get(TopicPartition(run.topic, run.partition))\n"
                "            if part is not None and part.epoch == run.epoch:\n"
                "                part.next_offset = run.last_offset + 1\n"
                "        try:\n            if len(batch):\n",
            ),
        ),
    ),
    Mistake(
        "put-not-tried-again",
        "a batch whose put asked to be called again is dropped",
        SINK_SEEDS,
        (Change(TASK, "going.at_ns, self._retry = self._retry_at_ns(), going\n", "self._release()\n"),),
    ),
    Mistake(
        "not-converted-and-released",
        "a batch whose converter asked to be called again is dropped",
        SINK_SEEDS,
        (Change(TASK, "            self._incoming.put_back(coming)  # it", "            self._release()  # it"),),
    ),
    Mistake(
        "release-before-put",
        "a frame's memory goes back to the pump before put has returned",
        SINK_SEEDS,
        (
            Change(
                TASK,
                "            self._put(going)\n\n    def _waits_for_letters(",
                "            self._release()\n            self._put(going)\n\n    def _waits_for_letters(",
            ),
            Change(
                TASK,
                "        self._release(going.coming)\n\n    def _current",
                "\n    def _current",
            ),
        ),
    ),
    Mistake(
        "resume-one-too-far",
        "a position moves one record past what was put",
        SINK_SEEDS,
        (Change(TASK, "part.next_offset = run.last_offset + 1", "part.next_offset = run.last_offset + 2"),),
    ),
    Mistake(
        "resume-one-too-near",
        "a position stands at the last record that was put, not behind it",
        SINK_SEEDS,
        (Change(TASK, "part.next_offset = run.last_offset + 1", "part.next_offset = run.last_offset"),),
    ),
    Mistake(
        "torn-fetch-kept",
        "after a fetch that a rebalance tore, reading goes on where the client is",
        SINK_SEEDS,
        (Change(PUMP, "            self._parts.read_again()\n", "            pass\n"),),
    ),
    Mistake(
        "read-again-off-by-one",
        "after a fetch that a rebalance tore, reading goes on one offset too far",
        SINK_SEEDS,
        (Change(PARTS, "part.seek_to = part.position\n", "part.seek_to = part.position + 1\n"),),
    ),
    Mistake(
        "already-in-a-frame-dropped",
        "records that a fetch brings again are put into frames again",
        "tests/simulation/test_framing.py::test_what_a_fetch_brings_again_is_in_no_second_frame",
        (
            Change(
                FRAMING, "            begin = at + _known_already(slice_, part.position)\n", "            begin = at\n"
            ),
        ),
    ),
    Mistake(
        "old-records-after-a-seek",
        "what was fetched before a seek is delivered as if it came after it",
        SINK_SEEDS,
        (
            Change(
                FRAMING,
                "        if part is not None and part.seek_to < 0:\n            begin",
                "        if part is not None:\n            begin",
            ),
        ),
    ),
    Mistake(
        "swapped-sink-frames",
        "a frame overtakes the one before it",
        SINK_SEEDS,
        (Change(PUMP, "                self._held.append(raw)\n", "                self._held.appendleft(raw)\n"),),
    ),
    Mistake(
        "epoch-of-positions-ignored",
        "positions of an assignment or seek that is over are taken for those of the next",
        SINK_SEEDS,
        (Change(PARTS, "if part is None or part.epoch != position.epoch:", "if part is None:"),),
    ),
    Mistake(
        "epoch-of-records-ignored",
        "records from before a seek or an assignment are put after it",
        SINK_SEEDS,
        (
            Change(
                TASK,
                "        return part if part is not None and part.epoch == run.epoch else None\n",
                "        return part\n",
            ),
        ),
    ),
    Mistake(
        "epoch-of-commits-ignored",
        "the answer to a commit of an assignment that is over is taken for one of the next",
        "tests/simulation/test_commits.py::test_an_answer_of_an_assignment_that_is_over_counts_for_nothing",
        (Change(PARTS, "part is not None and part.epoch == epochs.get(place)", "part is not None"),),
    ),
    Mistake(
        "answer-of-another-commit-believed",
        "a late answer to a commit that was given up is taken for the present one's",
        "tests/simulation/test_commits.py::test_a_late_answer_to_a_commit_that_was_given_up_is_not_taken_for_the_present_ones",
        (Change(COMMITS, "if going is None or going.offsets != offsets:", "if going is None:"),),
    ),
    Mistake(
        "commit-deadline-never-reached",
        "a commit that is never answered is waited for without end",
        "tests/simulation/test_commits.py::test_a_commit_that_was_given_up_and_is_done_after_a_newer_one_makes_that_due_again",
        (
            Change(
                COMMITS, "if going is not None and now_ns >= going.late_at_ns:", "if going is not None and now_ns < 0:"
            ),
        ),
    ),
    Mistake(
        "given-up-commit-forgotten",
        "a commit that was given up is done after a newer one, and nobody looks",
        SINK_SEEDS,
        (Change(COMMITS, "self._strays.append(going)", "pass"),),
    ),
    Mistake(
        "complete-while-a-commit-is-out",
        "a pump is complete while a commit that it gave up may still set the group back",
        "tests/simulation/test_sink_cases.py::test_a_sink_is_not_complete_while_a_commit_that_was_given_up_may_set_its_group_back",
        (
            Change(
                PUMP,
                "if is_open and self._commits.is_sure and self._drain.is_complete(now_ns):",
                "if is_open and self._drain.is_complete(now_ns):",
            ),
        ),
    ),
    Mistake(
        "complete-before-the-first-flush",
        "a pump is complete before its task has flushed what it has opened, and so may still seek back",
        f"{SEEKING}::test_a_bulk_run_is_not_over_before_a_task_has_what_it_seeks_back_to_though_the_group_has_it_all",
        (Change(PUMP, "is_open = self._commits.opens >= self._opens", "is_open = True"),),
    ),
    Mistake(
        "put-again-after-a-seek",
        "a batch that waits to be put again is put though its task has sought since",
        f"{SEEKING}::test_what_was_not_put_before_a_seek_is_not_put_after_it",
        (
            Change(
                TASK,
                "if self._retry is not None and not all(self._current(run) for run in self._retry.message.runs):",
                "if False:",
            ),
        ),
    ),
    Mistake(
        "revoke-skipped",
        "partitions are given up without the task having been asked to let go",
        NOTHING_TWICE,
        (
            Change(
                PUMP, "        has_let_go = self._ask_back(epochs)\n        if", "        has_let_go = True\n        if"
            ),
        ),
    ),
    Mistake(
        "no-flush-at-a-revoke",
        "the task lets go of partitions without flushing them",
        NOTHING_TWICE,
        (Change(TASK, "self._flush_until(until_ns, is_over=self._is_to_stop)", "pass"),),
    ),
    Mistake(
        "no-commit-at-a-revoke",
        "what the task has flushed when partitions go is not committed",
        NOTHING_TWICE,
        (
            Change(
                PUMP,
                "        if has_let_go:\n            self._commits.commit_now()\n",
                "        if has_let_go:\n            pass\n",
            ),
        ),
    ),
    Mistake(
        "back-ring-not-drained",
        "while a revocation waits, what the task says is not heard",
        NOTHING_TWICE,
        (
            Change(
                PUMP,
                "            self._wait(BELL_SECONDS)\n            self._hear()\n",
                "            self._wait(BELL_SECONDS)\n",
            ),
        ),
    ),
    Mistake(
        "revocation-deadline-never-reached",
        "a revocation waits for a task that does not answer, without end",
        f"{LINE}::test_a_revocation_ends_at_its_deadline_whatever_the_task_does",
        (
            Change(
                PUMP,
                "if now_ns >= deadline_ns or not (self._has_let_go() or self._row.get(Word.TASK_PID)):",
                "if not (self._has_let_go() or self._row.get(Word.TASK_PID)):",
            ),
        ),
    ),
    Mistake(
        "revoked-before-it-came-ignored",
        "partitions that were revoked before the news of them came are taken all the same",
        SINK_SEEDS,
        (Change(TASK, "            if epoch > self._gone.get(place, -1):\n", "            if epoch > -1:\n"),),
    ),
    Mistake(
        "opened-before-it-is-closed",
        "partitions that come again are opened before the news is heard that they were taken",
        SINK_SEEDS,
        (
            Change(
                TASK,
                "            self._hear()  # partitions that come again were",
                "            # partitions that come again were",
            ),
        ),
    ),
    Mistake(
        "retry-of-what-went",
        "a batch that waits to be put again is put though its partitions went meanwhile",
        SINK_SEEDS,
        (Change(TASK, "                self._forget_retry()\n", "                pass\n"),),
    ),
    Mistake(
        "paused-not-sought-again",
        "what was read of a paused partition is not read again when it is resumed",
        SINK_SEEDS,
        (
            Change(
                TASK,
                "                self.seek({place: part.skipped_from})\n",
                "                part.skipped_from = -1\n",
            ),
        ),
    ),
    Mistake(
        "pause-ignored",
        "records of a paused partition are put",
        SINK_SEEDS,
        (Change(TASK, "        return not part.is_paused\n", "        return True\n"),),
    ),
    Mistake(
        "given-up-not-counted",
        "what is given up without a commit is not counted as what may be repeated",
        SINK_SEEDS,
        (Change(COMMITS, "            self._given_up += lost\n", ""),),
    ),
    Mistake(
        "complete-before-commit",
        "a sink is complete when all was read, not when all is committed",
        SINK_SEEDS,
        (
            Change(
                DRAIN,
                "if end is not None and part.committed >= end:",
                "if end is not None and part.reached >= end:",
            ),
        ),
    ),
    Mistake(
        "end-taken-for-flushed",
        "the end of a partition is committed though records before it are not flushed",
        SINK_SEEDS,
        (Change(DRAIN, "if part.is_flushed and part.reached >= end >", "if part.reached >= end >"),),
    ),
    Mistake(
        "lost-wake-up-of-a-sink",
        "the pump publishes frames without ringing the task's bell",
        SINK_SEEDS,
        (
            Change(
                PUMP,
                "            self._held.popleft()\n            wrote = True\n        if wrote:\n"
                "            self._side.task_bell.ring()\n",
                "            self._held.popleft()\n            wrote = True\n",
            ),
        ),
    ),
    Mistake(
        "lost-wake-up-for-a-notice",
        "the pump asks the task to let go without ringing its bell",
        "tests/simulation/test_bells.py::test_a_sleeping_task_is_woken_to_let_go_of_its_partitions",
        (
            Change(
                PUMP,
                "            self._notices.popleft()\n            wrote = True\n        if wrote:\n"
                "            self._side.task_bell.ring()\n",
                "            self._notices.popleft()\n            wrote = True\n",
            ),
        ),
    ),
)
