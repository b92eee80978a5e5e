"""Mistakes of who judges whether a line goes on (engine.supervisor.stalls).

Used by: tests.mistakes.
"""

from __future__ import annotations

from tests.mistakes.mistake import Change, Mistake

__all__ = ["IN_SUPERVISOR"]

JUDGE = "engine/supervisor/stalls.py"
TESTS = "tests/unit/supervisor/test_stalls.py"

IN_SUPERVISOR = (
    Mistake(
        "wait-outside-taken-for-a-stall",
        "a line that waits for the world outside is stalled",
        f"{TESTS}::test_a_wait_for_the_world_outside_is_no_stall_and_time_begins_anew_after_it",
        (
            Change(
                JUDGE,
                "is_waiting = words[Word.TASK_WAIT] or words[Word.PUMP_WAIT] or words[Word.HELD]",
                "is_waiting = words[Word.HELD]",
            ),
        ),
    ),
    Mistake(
        "stillness-of-the-supervisor-counted",
        "time in which the supervisor itself stood still counts against its lines",
        f"{TESTS}::test_time_in_which_the_supervisor_stood_still_counts_for_nobody",
        (Change(JUDGE, "            self._floor_ns = now_ns\n            self._seen = None\n", "            pass\n"),),
    ),
    Mistake(
        "declared-wait-ignored",
        "a poll that waits as long as it has declared is stalled",
        f"{TESTS}::test_a_poll_waits_as_long_as_it_has_declared_and_the_timeout_more",
        (Change(JUDGE, 'is_polling = act_of(self._row, "task") == Act.POLL', "is_polling = False"),),
    ),
    Mistake(
        "lag-that-stays-taken-for-work",
        "a quiet sink is stalled while a lag stays that nobody can read",
        f"{TESTS}::test_a_quiet_sink_is_not_stalled_however_long_whatever_lag_stays",
        (Change(JUDGE, "return stall if lag > self._lag_before else None", "return stall"),),
    ),
    Mistake(
        "waiting-bank-blamed",
        "of two banks in one process the one that waits for its turn is blamed, not the one that is stuck",
        f"{TESTS}::test_of_two_banks_in_one_process_the_one_that_turned_last_is_stuck",
        (Change(JUDGE, "beats = beats and [max(beats)]", "beats = beats and [min(beats)]"),),
    ),
)
