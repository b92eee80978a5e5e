"""Whether a line goes on, judged by what the board says: heartbeats of its banks, and counters where there is work.

    a bank's loop does not turn            a call has not returned, or a signal holds the process
    a source's ring has records            and Kafka gets none
    a sink's ring has records              and the task takes none
    a sink's lag grows                     and its pump fetches nothing

    no stall: nothing to do; paused; a poll that waits as long as it has declared; a wait for the world outside
    (engine.shm.waits); an end that was asked for, which has a ladder of its own (line.py)

Pure: rows and times in, a stall out. A time in which the supervisor itself stood still counts for nobody.

Used by: engine.supervisor.guard.
Not here: stacks, logs, kills (guard.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.line import LineSpec
from engine.shm.acts import Act, act_of, stage_name, stage_number
from engine.shm.board import STAGE_WORDS_AT, Phase, Row, Stage, StageWord, Target, Word
from engine.shm.stalls import Stall, Way

__all__ = ["Judge"]

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
#: Looks that are farther apart: the supervisor stood still, or was kept from its turn.
GAP_NS = 1 * SECOND_NS
#: A loop that turns finds out by itself within this time what is wrong outside: a Kafka that is silent, a disk.
PROGRESS_NS = 15 * SECOND_NS

_BEATS = (("task", Word.TASK_PID, Word.TASK_BEAT_NS), ("pump", Word.PUMP_PID, Word.PUMP_BEAT_NS))


class Judge:
    """One line's."""

    def __init__(self, spec: LineSpec, row: Row) -> None:
        self._spec = spec
        self._row = row
        self._timeout_ns = int(spec.stalls.timeout * SECOND_NS)
        self._broker_ns = int(spec.timing.broker_timeout * SECOND_NS)
        # A transaction that does not end lets a lag grow, and is no fault of whoever waits for it.
        self._sees_lag = spec.type == "sink" and spec.kafka.get("isolation.level") == "read_uncommitted"
        self._looked_ns = 0
        self._floor_ns = 0  # nobody is known to have stood still before
        self._lag_before = 0  # when records were fetched last
        # Which work there is, what stands for progress in it, and since when that is the same; None: there is none.
        self._seen: tuple[Way, object, int] | None = None

    def begin(self, now_ns: int) -> None:
        """A life of the line begins."""
        self._looked_ns = self._floor_ns = now_ns
        self._seen = None

    def look(self, now_ns: int, held: Mapping[str, int]) -> Stall | None:
        """The line's stall now. held: banks that a signal has stopped, since when."""
        if now_ns - self._looked_ns > GAP_NS:
            self._floor_ns = now_ns
            self._seen = None
        self._looked_ns = now_ns
        if self._row.get(Word.TARGET) == Target.STOP:
            return None
        for bank, since_ns in held.items():
            return self._stall(Way.HELD, "task" if bank == "both" else bank, since_ns)
        return self._stuck_call(now_ns) or self._no_progress(now_ns)

    def _stall(self, way: Way, bank: str, since_ns: int) -> Stall:
        act = {Way.TAKING: Act.PUT, Way.FETCHING: Act.FETCH, Way.DELIVERY: Act.PRODUCE}.get(way)
        return Stall(way, bank, act or act_of(self._row, bank), since_ns, self._spec.stalls.reports_failed)

    def _stuck_call(self, now_ns: int) -> Stall | None:
        words = self._row.words
        beats = [(max(words[beat], self._floor_ns), bank) for bank, pid, beat in _BEATS if words[pid]]
        if self._spec.processes == 1:
            beats = beats and [max(beats)]  # the other one waits for the one that turned last
        for number in range(self._spec.stage_processes):
            if self._row.stage_get(number, StageWord.PID):
                beat_ns = self._row.stage_get(number, StageWord.BEAT_NS)
                beats.append((max(beat_ns, self._floor_ns), stage_name(number)))
        late_ns = now_ns - self._timeout_ns
        stuck = [one for one in beats if one[0] < late_ns and now_ns - one[0] > self._allowed_ns(one[1])]
        if not stuck:
            return None
        since_ns, bank = min(stuck)
        return self._stall(Way.CALL, bank, since_ns)

    def _allowed_ns(self, bank: str) -> int:
        """How long a turn of this bank's loop may take."""
        is_loading = stage_number(bank) is not None and act_of(self._row, bank) <= Act.LOAD
        if bank == "pump" or is_loading or not self._is_ready():
            # It asks Kafka, and waits for the answer; or hundreds start at once, each with its imports.
            return self._timeout_ns + self._broker_ns
        is_polling = act_of(self._row, "task") == Act.POLL
        return self._timeout_ns + (self._row.get(Word.POLL_MS) * MS_NS if is_polling and bank == "task" else 0)

    def _is_ready(self) -> bool:
        return min(self._row.get(Word.TASK_PHASE), self._row.get(Word.PUMP_PHASE)) >= Phase.READY

    def _no_progress(self, now_ns: int) -> Stall | None:
        words = self._row.words
        used, lag = words[Word.RING_USED_BYTES], words[Word.LAG]
        if not used and not lag:
            self._seen = None
            return None
        # A word of a wait says for what, and since when; 0: there is none.
        is_waiting = words[Word.TASK_WAIT] or words[Word.PUMP_WAIT] or words[Word.HELD]
        if is_waiting or words[Word.TARGET] == Target.PAUSE or not self._is_ready():
            self._seen = None
            return None
        if used:
            if self._spec.type == "source":
                return self._since(Way.DELIVERY, "pump", now_ns, self._counts(Stage.PRODUCE, Stage.STORE))
            return self._since(Way.TAKING, "task", now_ns, (used, self._counts(Stage.TRANSFORM, Stage.FLUSH)))
        if self._sees_lag and not words[Word.PAUSED]:
            return self._lag(now_ns, lag)
        self._seen = None
        return None

    def _lag(self, now_ns: int, lag: int) -> Stall | None:
        """As `_since`; a lag that does not grow may be made of what nobody can read."""
        fetched = self._counts(Stage.CONSUME, Stage.CONSUME)
        if self._seen is None or self._seen[:2] != (Way.FETCHING, fetched):
            self._lag_before = lag
        stall = self._since(Way.FETCHING, "pump", now_ns, fetched)
        return stall if lag > self._lag_before else None

    def _since(self, way: Way, bank: str, now_ns: int, progress: object) -> Stall | None:
        before = self._seen
        if before is None or before[:2] != (way, progress):
            self._seen = (way, progress, now_ns)
        elif now_ns - before[2] > max(self._timeout_ns, PROGRESS_NS):
            return self._stall(way, bank, before[2])
        return None

    def _counts(self, first: Stage, last: Stage) -> bytes:
        """All that is counted at these stages, to be compared."""
        return bytes(self._row.words[STAGE_WORDS_AT + 4 * first : STAGE_WORDS_AT + 4 * (last + 1)])
