"""A line as the supervisor sees it: its children, a row of the board, a channel, and what is to become of them.

    STARTING ──► RUNNING ──► DRAINING ──► DONE
                    │ a child ended badly      STOPPED: it was asked to
                    ▼                          FAILED: a restart would not help, or has not helped
              both reaped ──► RESTARTING ──► STARTING, with a new channel
                     └──────► FAILED, its circuit open ──► STARTING, by way of trial

A child that a signal holds still (STOP) for longer than the lease is killed, and so are all that stood still together
with the supervisor: whoever wakes later finds its lease over (engine/shm/lease.py). That a task is slow is no reason.

What becomes of a life that ended badly, its cause decides (engine.mending); who carries it out is this module alone,
also while control is down.

Its children are a task process and a pump, or one that is both, and its stage processes, if it has any. A stage process
works for its task process alone: it is ended as soon as that is gone, and one that ends before costs a restart.

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

from msgspec import Struct
from msgspec.structs import replace

from engine import logs
from engine.clock import Clock
from engine.config.line import LineSpec
from engine.descriptors import what_to_do
from engine.exits import ExitCode
from engine.limits import MEMORY_KEY
from engine.mending import Circuit, How, Kind, Mending, kind_of_code
from engine.shm.acts import act_of, runs_plugins, stage_name, stage_number
from engine.shm.board import Phase, Row, StageWord, State, Target, Word
from engine.shm.channel import Channel
from engine.supervisor import endings
from engine.supervisor.cgroups import Cgroup, Cgroups
from engine.supervisor.fork import Child
from engine.supervisor.guard import Guard
from engine.supervisor.oom import OomKills
from engine.supervisor.pacer import Pacer

__all__ = ["ForkBank", "Line"]

logger = logging.getLogger("millrace.supervisor")

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000
#: After the other bank is gone or TERM was sent, so long until the next, harder step.
TASK_GRACE_NS = 1 * SECOND_NS
PUMP_GRACE_NS = 4 * SECOND_NS
#: The same trouble outside is logged again after so long.
TELL_NS = 60 * SECOND_NS

#: These a process has said before it ended.
BY_EXCEPTION = (Kind.REFUSED, Kind.CONFIG, Kind.RECORD, Kind.FINAL, Kind.ERROR)
OVER = (State.DONE, State.FAILED, State.STOPPED)
UNASKED = "ended without being asked to"
#: What a line is that has started, by what it is asked to be.
_GOING = {Target.RUN: State.RUNNING, Target.DRAIN: State.DRAINING, Target.PAUSE: State.PAUSED}

#: Forks one bank ("task", "pump" or "both"), or stage process, of a line over its present channel.
ForkBank = Callable[[LineSpec, int, Channel, str], Child]


class Ending(Struct, frozen=True):
    """Why a life ended; without a cause it ended well, or has not ended."""

    cause: str = ""
    kind: Kind = Kind.NOTHING
    is_killed: bool = False  # by a signal
    bank: str = ""  # whose process was the first to end


class Line:
    """One task's processes over all their lives."""

    def __init__(
        self,
        spec: LineSpec,
        index: int,
        row: Row,
        fork_bank: ForkBank,
        clock: Clock,
        pacer: Pacer,
        oom_kills: OomKills | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        """pacer, oom_kills, cgroups: the worker's, shared by all its lines; None: no kill is told, no cgroup made."""
        self.spec = spec
        self._index = index
        self.row = row
        self._fork_bank = fork_bank
        self._clock = clock
        self._pacer = pacer
        self._oom_kills = oom_kills or OomKills(())
        self._cgroups = cgroups or Cgroups(None)
        self._cgroup: Cgroup | None = None  # of this life
        self._channel: Channel | None = None
        self._children: dict[str, Child] = {}  # by bank
        self._mending = Mending(spec.restarts)
        self._end = Ending()  # of this life
        self._is_last = False  # it does not come back soon: it was told to leave its group
        self._aimed = Target.RUN  # what it was asked to be, before it was told so
        self._deadline_ns = 0  # of the next, harder step; 0: none
        self._step = 0  # of the ladder: 0 nothing sent, 1 TERM sent, 2 KILL sent
        self._start_at_ns = 0  # of the next life; 0: none is due
        self._has_turn = False  # that time is its turn among all lines, not only the end of its pause
        self._held: dict[str, int] = {}  # banks that a signal holds still, since when (ns)
        self._told = ("", 0)  # the cause of a restart that was logged last, and when
        self._progress = -1
        self._guard = Guard(spec, row)
        self._is_starting = True
        row.set(Word.RING_BYTES, spec.ring_bytes)
        row.set(Word.STAGE_PROCESSES, spec.stage_processes)
        row.begin()
        self._become(State.STARTING)

    @property
    def state(self) -> State:
        """What it is now."""
        return State(self.row.get(Word.STATE))

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs or will run by itself."""
        return self.state in OVER and not self._start_at_ns

    @property
    def is_complete(self) -> bool:
        """Whether the line's group has committed all there was (sinks)."""
        return self.row.get(Word.PUMP_PHASE) == Phase.COMPLETE

    def pids(self) -> dict[int, str]:
        """The living children, and which bank each serves."""
        return {child.pid: bank for bank, child in self._children.items()}

    def start(self) -> None:
        """Fork both banks over a fresh channel."""
        if self.state == State.FAILED:
            self._count_again()
        self._mending.starts()
        self.row.set(Word.CIRCUIT, self._mending.circuit)
        self._start_at(0)
        self._deadline_ns = 0
        self._step = 0
        self._end = Ending()
        self._is_last = False
        self._held.clear()
        self._guard.begin(self._clock.monotonic_ns())
        self.close()
        self._become(State.STARTING)
        try:
            self._fork_banks()
        except OSError as error:  # no process, memory or descriptor is left for it; the other lines go on
            self._end = Ending(f"cannot fork: {error.strerror}{what_to_do(error)}", Kind.CRASH)
            self._send(signal.SIGKILL)
        self._write_pids()
        if not self._children:
            self._be_over()

    def drain(self) -> None:
        """Ask a sink to come to the end of what there is."""
        if not self.is_over and self.row.get(Word.TARGET) == Target.RUN:
            self._aim(Target.DRAIN)
            if self.state == State.RUNNING:
                self._become(State.DRAINING)

    def hold(self, *, is_held: bool) -> None:
        """Pause, or go on."""
        wanted, other = (Target.PAUSE, Target.RUN) if is_held else (Target.RUN, Target.PAUSE)
        self._aimed = wanted  # for its next life, if this one is ending
        if self.row.get(Word.TARGET) == other and not self.is_over:
            self._aim(wanted)
            if self.state in (State.RUNNING, State.PAUSED):
                self._become(_GOING[wanted])

    def stop(self, *, is_followed: bool = False) -> None:
        """Ask to keep what is done and leave the rest; by force when the time is over.

        is_followed: the same line comes at once, as the same member of its group, which this one does not leave.
        """
        self.row.set(Word.IS_FOLLOWED, is_followed)
        self._is_last = False  # from now on it is asked to
        if self.is_over or self.row.get(Word.TARGET) == Target.STOP:
            return
        self._aim(Target.STOP)
        self._step = 0
        self._deadline_ns = self._clock.monotonic_ns() + self._stop_ns()
        if not self._children:
            self._be_over()

    def kill(self) -> None:
        """End at once; what is not safe is done again next time."""
        self._is_last = False
        self._aim(Target.STOP)
        self._send(signal.SIGKILL)
        if not self._children:
            self._be_over()

    def reaped(self, pid: int, status: int) -> None:
        """One of the children has ended with this wait status."""
        bank = self.pids()[pid]
        child = self._children.pop(bank)
        self._held.pop(bank, None)
        self._write_pids()
        self._judge(bank, child, status)
        if not self._children:
            self._be_over()
            return
        if self._is_without_work(bank, status):
            return
        is_asked = self.row.get(Word.TARGET) == Target.STOP
        is_expected = not self._end.cause and (is_asked or self._has_ended())
        if not is_expected:
            if not is_asked and self._leaves():
                self._is_last = True
                self._aimed = Target(self.row.get(Word.TARGET))
                self._aim(Target.STOP)  # a pump whose line does not come back leaves its group
            self._send(signal.SIGTERM)
            self._step = 1
        now_ns = self._clock.monotonic_ns()
        grace_ns = PUMP_GRACE_NS if "pump" in self._children else TASK_GRACE_NS
        if not self._end.cause and not is_asked:
            grace_ns = max(grace_ns, self._stop_ns())
        # Once asked to stop, the line as a whole has the time that it was given then.
        self._deadline_ns = max(now_ns + grace_ns, self._deadline_ns if is_expected else 0)

    def _is_without_work(self, bank: str, status: int) -> bool:
        """Whether the end of this child says nothing of the line; stage processes whose task is gone are ended."""
        if stage_number(bank) is not None:
            return status == 0 and (self._step > 0 or "task" not in self._children)
        if bank == "task":
            for name, child in self._children.items():
                if stage_number(name) is not None:
                    os.kill(child.pid, signal.SIGTERM)
        return False

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

    def tick(self) -> bool:
        """Do what is due; returns whether it rests: but for a look now and then, nothing is, as of most of hundreds."""
        now_ns = self._clock.monotonic_ns()
        if self._rests and now_ns < self._guard.look_at_ns:
            return True
        if self._is_due(now_ns):
            self.start()
        elif self.state == State.STARTING and self._is_ready():
            self._become(_GOING.get(Target(self.row.get(Word.TARGET)), State.RUNNING))
        if self._held:
            self._judge_held(now_ns)
        if self._mending.circuit == Circuit.HALF_OPEN and self._children:
            self._judge_trial(now_ns)
        if killed := self._guard.tick(now_ns, self._children, self._held):
            self._end = Ending(killed.cause, Kind.CRASH, is_killed=True, bank=killed.bank)
        if self._deadline_ns and now_ns >= self._deadline_ns:
            self._climb(now_ns)
        return self._rests

    @property
    def _rests(self) -> bool:
        return not (self._is_starting or self._start_at_ns or self._deadline_ns or self._held)

    def close(self) -> None:
        """Give the channel back, when it is over."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _fork_banks(self) -> None:
        stages = [stage_name(number) for number in range(self.spec.stage_processes)]
        self._channel = Channel.create(f"millrace:{self.spec.title}", self.spec.ring_bytes, len(stages))
        self._cgroup = self._cgroups.make(self.spec)
        spec = self.spec if self._cgroup is None else self._cgroup.entered_by(self.spec)
        # The pump first: it takes longer to be ready, and a source's task may fill the ring meanwhile.
        for bank in ("pump", "task", *stages) if self.spec.processes == 2 else ("both",):
            self._children[bank] = self._fork_bank(spec, self._index, self._channel, bank)

    def _is_due(self, now_ns: int) -> bool:
        """Whether its pause is over, and its turn among all lines has come."""
        if not self._start_at_ns or now_ns < self._start_at_ns:
            return False
        if not self._has_turn:
            self._has_turn = True
            self._start_at(self._pacer.turn_ns(now_ns))
        return now_ns >= self._start_at_ns

    def _judge_held(self, now_ns: int) -> None:
        for bank, since_ns in list(self._held.items()):
            if now_ns - since_ns > self._lease_ns():
                self._end_still(f"{bank} process", now_ns - since_ns, [bank])

    def _end_still(self, who: str, still_ns: int, banks: list[str]) -> None:
        # KILL ends a stopped process as well: it does not wake, and has no moment to go on in.
        lease_s = self._lease_ns() / 1e9
        still = f"{who} stood still for {still_ns / 1e9:.1f} s, the lease is {lease_s:g} s"
        self._end = replace(self._end if self._end.cause else Ending(still, Kind.FENCED), is_killed=True)
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

    def _judge_trial(self, now_ns: int) -> None:
        life_ns = 0 if self.state == State.STARTING else now_ns - self.row.get(Word.STATE_SINCE_NS)
        self._mending.lives(life_ns, has_progressed=self._has_progressed())
        self.row.set(Word.CIRCUIT, self._mending.circuit)

    def _judge(self, bank: str, child: Child, status: int) -> None:
        """Note why a child ended, if it ended badly; the first cause stands."""
        crash = child.crash()
        words = logs.masked(child.last_words(), self.spec.secrets)
        code = os.waitstatus_to_exitcode(status)
        if code == ExitCode.OK or self._end.cause:
            return
        if crash:
            logger.error("%s: its %s process has crashed here:\n%s", self.spec.title, bank, crash)
        if code < 0:
            cause = f"{bank} process ended by {self._signal(bank, -code)}"
            cause += f" after {self.spec.timing.stop_timeout:g} s of waiting for it to stop" if self._step else ""
        else:
            cause = words or f"{bank} process ended with {endings.by_code(code, act_of(self.row, bank))}"
        kind = kind_of_code(code, is_told=bool(words))
        self._end = Ending(cause, kind, is_killed=code < 0, bank=bank)

    def _signal(self, bank: str, number: int) -> str:
        """What has ended a bank's process, in words."""
        act = act_of(self.row, bank)
        if number != signal.SIGKILL or self._step:
            return endings.by_signal(number, act)
        if bank == "pump" or self._cgroup is None:
            return endings.by_signal(number, act, is_oom=self._oom_kills.take())
        limit = f"{MEMORY_KEY}={self.spec.limits.memory_bytes}" if self._cgroup.was_full else ""
        return endings.by_signal(number, act, is_oom=self._cgroup.has_killed, limit=limit)

    def _be_over(self) -> None:
        """All children are gone: restart, or be over."""
        self._guard.end()
        if self._cgroup is not None:
            self._cgroup.remove()
            self._cgroup = None
        self._deadline_ns = 0
        self._start_at(0)
        if self.state == State.FAILED:  # it waited for its trial
            return
        end = self._end
        is_stopping = self.row.get(Word.TARGET) == Target.STOP
        is_asked = is_stopping and not self._is_last
        is_done = self._has_ended() or (is_stopping and self.is_complete)
        if end.kind in BY_EXCEPTION and (is_asked or is_done) and self.state != State.RESTARTING:
            self._give_up(end)
        elif is_done and (end.is_killed or not end.cause):
            if end.cause:
                logger.warning("%s: %s; all it had to do was done", self.spec.title, end.cause)
            self._become(State.DONE)
        elif is_asked:
            if end.cause:
                self.row.reason = end.cause
                logger.warning("%s: %s", self.spec.title, end.cause)
            self._become(State.STOPPED)
        else:
            self._settle(end if end.cause else Ending(UNASKED, Kind.CRASH))

    def _leaves(self) -> bool:
        """Whether a pump that ends now leaves its group; a source's has none, and may still make progress."""
        kind = self._end.kind if self._end.cause else Kind.CRASH
        has_progressed, is_plugins = self._has_progressed(), runs_plugins(self._end.bank)
        return self.spec.type == "sink" and not self._mending.comes_back(
            kind, self._clock.monotonic_ns(), has_progressed=has_progressed, is_plugins=is_plugins
        )

    def _has_progressed(self) -> bool:
        return self.row.progress() > self._progress >= 0

    def _settle(self, end: Ending) -> None:
        """What becomes of it now that a life has ended badly."""
        now_ns = self._clock.monotonic_ns()
        has_progressed, is_plugins = self._has_progressed(), runs_plugins(end.bank)
        verdict = self._mending.ended(end.kind, now_ns, has_progressed=has_progressed, is_plugins=is_plugins)
        self.row.set(Word.ENDED_AS, end.kind)
        if end.bank == "pump":
            self.row.set(Word.HAND_RECORDS, 0)  # it did not die of what the task had in hand
        self.row.set(Word.CIRCUIT, self._mending.circuit)
        self.row.set(Word.FRUITLESS, self._mending.fruitless(now_ns))
        if self._is_last:
            self._aim(self._aimed)  # or rather in its next life, should there be one
        if verdict.how == How.NEVER:
            self._give_up(end, verdict.told)
            return
        self._progress = self.row.progress()
        self._has_turn = False
        pause_ms = self._pacer.rest_ms(self.spec.restarts, verdict)
        self._start_at(now_ns + pause_ms * MS_NS)
        if verdict.how == How.CIRCUIT:
            told = f"{end.cause}{verdict.told}"
            logger.error("%s failed: %s; its circuit is open, it is tried in %d ms", self.spec.title, told, pause_ms)
            self.row.reason = told
            self._become(State.FAILED)
            return
        self._count_again()
        self.row.reason = end.cause
        if self._is_news(end, now_ns):
            logger.warning("%s: %s; starting it again in %d ms", self.spec.title, end.cause, pause_ms)
        self._become(State.RESTARTING)

    def _start_at(self, at_ns: int) -> None:
        self._start_at_ns = at_ns
        self.row.set(Word.NEXT_START_NS, at_ns)

    def _count_again(self) -> None:
        """Its next life is a restart: nothing of this one goes on."""
        self.row.write_off()
        self.row.set(Word.RESTARTS, self.row.get(Word.RESTARTS) + 1)
        self.row.set(Word.TASK_PHASE, Phase.FORKED)
        self.row.set(Word.PUMP_PHASE, Phase.FORKED)

    def _is_news(self, end: Ending, now_ns: int) -> bool:
        """Whether a restart is to be logged: an outage of hours is told every minute."""
        told, at_ns = self._told
        if end.kind == Kind.OUTSIDE and end.cause == told and now_ns - at_ns < TELL_NS:
            return False
        self._told = (end.cause, now_ns)
        return True

    def _give_up(self, end: Ending, told: str = "") -> None:
        self.row.set(Word.ENDED_AS, end.kind)
        self.row.reason = f"{end.cause}{told}"
        logger.error("%s failed: %s%s", self.spec.title, end.cause, told)
        self._become(State.FAILED)

    def _climb(self, now_ns: int) -> None:
        """The next step of the ladder: TERM; KILL the task process; KILL the pump, which had the time to commit."""
        if self._step == 0:
            self._step = 1
            self._send(signal.SIGTERM)
            self._deadline_ns = now_ns + TASK_GRACE_NS
        elif self._step == 1 and "pump" in self._children and len(self._children) > 1:
            self._step = 2
            for bank, child in self._children.items():
                if bank != "pump":
                    os.kill(child.pid, signal.SIGKILL)
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
            for bell in self._channel.bells:
                os.eventfd_write(bell, 1)

    def _become(self, state: State) -> None:
        self._is_starting = state == State.STARTING
        self.row.set(Word.STATE, state)
        self.row.set(Word.STATE_SINCE_NS, self._clock.monotonic_ns())

    def _write_pids(self) -> None:
        both = self._children.get("both")
        for word, bank in ((Word.TASK_PID, "task"), (Word.PUMP_PID, "pump")):
            self.row.set(word, getattr(both or self._children.get(bank), "pid", 0))
        for number in range(self.spec.stage_processes):
            self.row.stage_set(number, StageWord.PID, getattr(self._children.get(stage_name(number)), "pid", 0))
