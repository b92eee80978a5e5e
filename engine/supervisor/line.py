"""A line as the supervisor sees it: two children, a row of the board, a channel, and what is to become of them.

    STARTING ──► RUNNING ──► DRAINING ──► DONE
                    │ a child ended badly      FAILED: a restart would not help, or has not helped
                    ▼                          STOPPED: it was asked to
              both reaped ──► RESTARTING ──► STARTING, with a new channel

A child that a signal holds still (STOP) for longer than the lease is killed, and so are all that stood still together
with the supervisor: whoever wakes later finds its lease over (engine/shm/lease.py). That a task is slow is no reason.

A bank that ends with ExitCode.RETRY was kept from its work by the world outside: however often that happens, the line
comes back, and its restarts are not used up by it.

A line restarts as a whole. When a source's task process is gone, its pump first delivers and stores what was
published; when a sink's is gone, its pump closes without leaving the group, and the next one, a static member of the
same id, takes its partitions over undisturbed (docs/decisions/membership.md).

Used by: engine.supervisor.loop.
Not here: when a run is over, signals (loop.py); making a process (fork.py).
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

from engine import logs
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.descriptors import what_to_do
from engine.exits import ExitCode
from engine.shm.board import Measure, Phase, Row, Stage, State, Target, Word
from engine.shm.channel import Channel
from engine.supervisor.fork import Child
from engine.supervisor.pacer import Pacer

__all__ = ["ForkBank", "Line"]

logger = logging.getLogger("millrace.supervisor")

SECOND_NS = 1_000_000_000
#: After the other bank is gone or TERM was sent, so long until the next, harder step.
TASK_GRACE_NS = 1 * SECOND_NS
PUMP_GRACE_NS = 4 * SECOND_NS
#: The same trouble outside is logged again after so long.
TELL_NS = 60 * SECOND_NS

OVER = (State.DONE, State.FAILED, State.STOPPED)
UNASKED = "ended without being asked to"
#: What a line is that has started, by what it is asked to be.
_GOING = {Target.RUN: State.RUNNING, Target.DRAIN: State.DRAINING, Target.PAUSE: State.PAUSED}


#: Forks one bank ("task", "pump" or "both") of a line over its present channel.
ForkBank = Callable[[LineSpec, int, Channel, str], Child]


class Line:
    """One task's processes over all their lives."""

    def __init__(self, spec: LineSpec, index: int, row: Row, fork_bank: ForkBank, clock: Clock, pacer: Pacer) -> None:
        """pacer: the worker's, shared by all its lines."""
        self.spec = spec
        self._index = index
        self.row = row
        self._fork_bank = fork_bank
        self._clock = clock
        self._pacer = pacer
        self._channel: Channel | None = None
        self._children: dict[str, Child] = {}  # by bank
        self._cause = ""  # why this life ended; empty: it ended well
        self._is_final = False  # a restart would not help
        self._is_outside = False  # the world outside is the cause, and may recover
        self._is_killed = False  # the cause is a signal
        self._is_last = False  # its restarts are used up: it was told to leave its group
        self._deadline_ns = 0  # of the next, harder step; 0: none
        self._step = 0  # of the ladder: 0 nothing sent, 1 TERM sent, 2 KILL sent
        self._start_at_ns = 0  # of the next life; 0: none is due
        self._has_turn = False  # that time is its turn among all lines, not only the end of its pause
        self._held: dict[str, int] = {}  # banks that a signal holds still, since when (ns)
        self._fruitless = 0  # restarts in a row without progress, by what is no fault of the world outside
        self._pauses = 0  # restarts in a row without progress, for whatever cause
        self._told = ("", 0)  # the cause of a restart that was logged last, and when
        self._progress = -1
        row.set(Word.RING_BYTES, spec.ring_bytes)
        self._become(State.STARTING)

    @property
    def state(self) -> State:
        """What it is now."""
        return State(self.row.get(Word.STATE))

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs or will run."""
        return self.state in OVER

    @property
    def is_complete(self) -> bool:
        """Whether the line's group has committed all there was (sinks)."""
        return self.row.get(Word.PUMP_PHASE) == Phase.COMPLETE

    def pids(self) -> dict[int, str]:
        """The living children, and which bank each serves."""
        return {child.pid: bank for bank, child in self._children.items()}

    def start(self) -> None:
        """Fork both banks over a fresh channel."""
        self._start_at_ns = 0
        self._deadline_ns = 0
        self._step = 0
        self._cause = ""
        self._is_final = self._is_outside = self._is_killed = self._is_last = False
        self._held.clear()
        self.close()
        self._become(State.STARTING)
        try:
            self._fork_banks()
        except OSError as error:  # no process, memory or descriptor is left for it; the other lines go on
            self._cause = f"cannot fork: {error.strerror}{what_to_do(error)}"
            self._send(signal.SIGKILL)
        self._write_pids()
        if not self._children:
            self._end()

    def drain(self) -> None:
        """Ask a sink to come to the end of what there is."""
        if not self.is_over and self.row.get(Word.TARGET) == Target.RUN:
            self._aim(Target.DRAIN)
            if self.state == State.RUNNING:
                self._become(State.DRAINING)

    def hold(self, *, is_held: bool) -> None:
        """Pause, or go on."""
        wanted, other = (Target.PAUSE, Target.RUN) if is_held else (Target.RUN, Target.PAUSE)
        if self.row.get(Word.TARGET) == other and not self.is_over:
            self._aim(wanted)
            if self.state in (State.RUNNING, State.PAUSED):
                self._become(_GOING[wanted])

    def stop(self) -> None:
        """Ask to keep what is done and leave the rest; by force when the time is over."""
        if self.is_over or self.row.get(Word.TARGET) == Target.STOP:
            return
        self._aim(Target.STOP)
        self._step = 0
        self._deadline_ns = self._clock.monotonic_ns() + self._stop_ns()
        if not self._children:
            self._end()

    def kill(self) -> None:
        """End at once; what is not safe is done again next time."""
        self._aim(Target.STOP)
        self._send(signal.SIGKILL)
        if not self._children:
            self._end()

    def reaped(self, pid: int, status: int) -> None:
        """One of the children has ended with this wait status."""
        bank = self.pids()[pid]
        child = self._children.pop(bank)
        self._held.pop(bank, None)
        self._write_pids()
        self._judge(bank, child, status)
        if not self._children:
            self._end()
            return
        is_asked = self.row.get(Word.TARGET) == Target.STOP
        is_expected = not self._cause and (is_asked or self._has_ended())
        if not is_expected:
            self._is_last = not is_asked and self._is_used_up()
            if self._is_final or self._is_last:
                self._aim(Target.STOP)  # a pump whose line does not come back leaves its group
            self._send(signal.SIGTERM)
            self._step = 1
        now_ns = self._clock.monotonic_ns()
        grace_ns = PUMP_GRACE_NS if "pump" in self._children else TASK_GRACE_NS
        if not self._cause and not is_asked:
            grace_ns = max(grace_ns, self._stop_ns())
        # Once asked to stop, the line as a whole has the time that it was given then.
        self._deadline_ns = max(now_ns + grace_ns, self._deadline_ns if is_expected else 0)

    def held(self, pid: int, *, is_held: bool) -> None:
        """A signal has stopped one of the children, or let it go on."""
        bank = self.pids()[pid]
        if is_held:
            self._held[bank] = self._clock.monotonic_ns()
        else:
            self._held.pop(bank, None)

    def stood_still(self, still_ns: int) -> None:
        """The supervisor, and who knows who else, did so for so long: ends what may be others' by now."""
        if still_ns > self._lease_ns() and self._children:
            self._end_still("the whole worker", still_ns, list(self._children))

    def tick(self) -> None:
        """Do what is due."""
        now_ns = self._clock.monotonic_ns()
        if self._is_due(now_ns):
            self.start()
        elif self.state == State.STARTING and self._is_ready():
            self._become(_GOING.get(Target(self.row.get(Word.TARGET)), State.RUNNING))
        if self._held:
            self._judge_held(now_ns)
        if self._deadline_ns and now_ns >= self._deadline_ns:
            self._climb(now_ns)

    def close(self) -> None:
        """Give the channel back, when it is over."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _fork_banks(self) -> None:
        self._channel = Channel.create(f"millrace:{self.spec.title}", self.spec.ring_bytes)
        # The pump first: it takes longer to be ready, and a source's task may fill the ring meanwhile.
        for bank in ("pump", "task") if self.spec.processes == 2 else ("both",):
            self._children[bank] = self._fork_bank(self.spec, self._index, self._channel, bank)

    def _is_due(self, now_ns: int) -> bool:
        """Whether its pause is over, and its turn among all lines has come."""
        if not self._start_at_ns or now_ns < self._start_at_ns:
            return False
        if not self._has_turn:
            self._has_turn = True
            self._start_at_ns = self._pacer.turn_ns(now_ns)
        return now_ns >= self._start_at_ns

    def _judge_held(self, now_ns: int) -> None:
        for bank, since_ns in list(self._held.items()):
            if now_ns - since_ns > self._lease_ns():
                self._end_still(f"{bank} process", now_ns - since_ns, [bank])

    def _end_still(self, who: str, still_ns: int, banks: list[str]) -> None:
        # KILL ends a stopped process as well: it does not wake, and has no moment to go on in.
        lease_s = self._lease_ns() / 1e9
        self._cause = self._cause or f"{who} stood still for {still_ns / 1e9:.1f} s, the lease is {lease_s:g} s"
        self._is_killed = True
        for bank in banks:
            self._held.pop(bank, None)
            os.kill(self._children[bank].pid, signal.SIGKILL)

    def _lease_ns(self) -> int:
        return int(self.spec.timing.lease * SECOND_NS)

    def _stop_ns(self) -> int:
        return int(self.spec.timing.stop_timeout * SECOND_NS)

    def _has_ended(self) -> bool:
        """Whether a source has no more, and all it had is delivered and stored."""
        return self.spec.type == "source" and self.row.get(Word.PUMP_PHASE) == Phase.ENDED

    def _is_ready(self) -> bool:
        return self.row.get(Word.TASK_PHASE) >= Phase.READY and self.row.get(Word.PUMP_PHASE) >= Phase.READY

    def _judge(self, bank: str, child: Child, status: int) -> None:
        """Note why a child ended, if it ended badly; the first cause stands."""
        words = logs.masked(child.last_words(), self.spec.secrets)
        code = os.waitstatus_to_exitcode(status)
        if code == ExitCode.OK or self._cause:
            return
        if code < 0:
            by = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            self._cause = f"{bank} process ended by {by}"
            if self._step:
                self._cause += f" after {self.spec.timing.stop_timeout:g} s of waiting for it to stop"
        else:
            self._cause = words or f"{bank} process ended with exit code {code}"
        self._is_final = code == ExitCode.FAILED
        self._is_outside = code == ExitCode.RETRY
        self._is_killed = code < 0

    def _end(self) -> None:
        """All children are gone: restart, or be over."""
        self._deadline_ns = 0
        self._start_at_ns = 0
        is_asked = self.row.get(Word.TARGET) == Target.STOP
        is_done = self._has_ended() or (is_asked and self.is_complete)
        if self._cause and self._is_final:
            self._give_up(self._cause)
        elif is_done and (self._is_killed or not self._cause):
            if self._cause:
                logger.warning("%s: %s; all it had to do was done", self.spec.title, self._cause)
            self._become(State.DONE)
        elif is_asked and not self._is_last:
            if self._cause:
                self.row.reason = self._cause
                logger.warning("%s: %s", self.spec.title, self._cause)
            self._become(State.STOPPED)
        else:
            self._come_back(self._cause or UNASKED)

    def _is_used_up(self) -> bool:
        """Whether a sink that ended now would not come back; a source may still make progress while its pump ends."""
        return self.spec.type == "sink" and not self._may_come_back()

    def _may_come_back(self) -> bool:
        has_progressed = self._has_progressed()
        return self._is_outside or self.spec.restarts.allows(self._fruitless, has_progressed=has_progressed)

    def _has_progressed(self) -> bool:
        return self._made() > self._progress >= 0

    def _made(self) -> int:
        return sum(self.row.measured(stage, Measure.RECORDS) for stage in (Stage.STORE, Stage.COMMIT))

    def _come_back(self, cause: str) -> None:
        policy = self.spec.restarts
        if self._is_last or not self._may_come_back():
            self._give_up(f"{cause} (after {policy.count_max} restarts without progress)")
            return
        before = 0 if self._has_progressed() else self._fruitless
        self._fruitless = before + (not self._is_outside)
        self.row.set(Word.FRUITLESS, self._fruitless)
        self._pauses = 1 if self._has_progressed() else self._pauses + 1
        self._progress = self._made()
        pause_ms = self._pacer.pause_ms(policy, self._pauses)
        self.row.write_off()
        self.row.set(Word.RESTARTS, self.row.get(Word.RESTARTS) + 1)
        self.row.set(Word.TASK_PHASE, Phase.FORKED)
        self.row.set(Word.PUMP_PHASE, Phase.FORKED)
        self.row.reason = cause
        now_ns = self._clock.monotonic_ns()
        if self._is_news(cause, now_ns):
            logger.warning("%s: %s; starting it again in %d ms", self.spec.title, cause, pause_ms)
        self._become(State.RESTARTING)
        self._start_at_ns = now_ns + pause_ms * 1_000_000
        self._has_turn = False

    def _is_news(self, cause: str, now_ns: int) -> bool:
        """Whether a restart is to be logged: an outage of hours is told every minute."""
        told, at_ns = self._told
        if self._is_outside and cause == told and now_ns - at_ns < TELL_NS:
            return False
        self._told = (cause, now_ns)
        return True

    def _give_up(self, cause: str) -> None:
        self.row.reason = cause
        logger.error("%s failed: %s", self.spec.title, cause)
        self._become(State.FAILED)

    def _climb(self, now_ns: int) -> None:
        """The next step of the ladder: TERM; KILL the task process; KILL the pump, which had the time to commit."""
        if self._step == 0:
            self._step = 1
            self._send(signal.SIGTERM)
            self._deadline_ns = now_ns + TASK_GRACE_NS
        elif self._step == 1 and len(self._children) == 2:
            self._step = 2
            os.kill(self._children["task"].pid, signal.SIGKILL)
            self._deadline_ns = now_ns + PUMP_GRACE_NS
        else:
            self._send(signal.SIGKILL)
            self._deadline_ns = 0

    def _send(self, number: signal.Signals) -> None:
        for child in self._children.values():
            os.kill(child.pid, number)

    def _aim(self, target: Target) -> None:
        self.row.set(Word.TARGET, target)
        if self._channel is not None:
            for bell in (self._channel.task_bell, self._channel.pump_bell):
                os.eventfd_write(bell, 1)

    def _become(self, state: State) -> None:
        self.row.set(Word.STATE, state)
        self.row.set(Word.STATE_SINCE_NS, self._clock.monotonic_ns())

    def _write_pids(self) -> None:
        both = self._children.get("both")
        for word, bank in ((Word.TASK_PID, "task"), (Word.PUMP_PID, "pump")):
            child = both or self._children.get(bank)
            self.row.set(word, child.pid if child else 0)
