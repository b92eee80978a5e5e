"""The supervisor's part in a simulation: both banks have turns; who dies is seen, the other one ends, both come again.

    start ──► turn turn turn ... ──► a bank is dead ──► the other is asked to end, or killed ──► start

Stage processes, where a line has any, have turns and die as banks do.

A bank dies alone, in the middle of what it does. The other does not know it at once: it has turns until the supervisor
has reaped the dead one, is asked to end then, and may be killed before it has. A bank that sleeps until its bell rings
must have nothing to do: a bell that was not rung is a wake-up that is lost.

Used by: tests.simulation.
Not here: what is true of a line (tests/simulation), when who dies (steps.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from engine.api.errors import ConnectError, RetriableError, UnreachableError
from engine.ledger.errors import LedgerError
from engine.mending import Kind, kind_of
from engine.pump.sink import SinkPumpBank
from engine.pump.source import SourcePumpBank
from engine.shm.acts import stage_name, stage_number
from engine.shm.board import StageWord, Target, Word
from engine.shm.channel import Bell, PumpSide
from engine.stage.bank import StageBank
from engine.task.sink import SinkTaskBank
from engine.task.source import SourceTaskBank
from tests.harness.banks import SinkBanks, SourceBanks, VirtualClock
from tests.harness.claims import Wrong, claim
from tests.harness.steps import Crash, Steps

__all__ = ["BOTH", "Lives"]

AnyBank = SinkTaskBank | SourceTaskBank | SinkPumpBank | SourcePumpBank | StageBank

BOTH = ("task", "pump")
PIDS = {"task": Word.TASK_PID, "pump": Word.PUMP_PID}
#: As the supervisor has it: seconds for the bank that is left.
GRACE_S = {"task": 1.0, "pump": 4.0}  # a stage process: as a task process
#: Far beyond the time that a line has to stop; turns of a millisecond and more.
TURNS_MAX = 20_000
#: A bank that says it can sleep so long relies on its bell.
SLEEP_S = 0.05


class Lives:
    """One line's lives."""

    def __init__(self, banks: SinkBanks | SourceBanks, steps: Steps, rng: random.Random, clock: VirtualClock) -> None:
        self.banks = banks
        self.steps = steps
        self.names = (*BOTH, *(stage_name(number) for number in range(banks.memory.stage_processes)))
        self.failure: Exception | None = None  # of this life
        self.tells_kinds = False  # as the supervisor has it: the next life learns how this one ended
        self.deaths = 0
        self.dead: set[str] = set()  # in this life
        self.on_death: Callable[[str], None] = lambda name: None
        self.may_be_late: Callable[[], bool] = lambda: False  # the world may keep a line from ending
        self._rng = rng
        self._clock = clock
        self._idle: dict[str, float] = {}
        self._busy: set[str] = set()  # in the middle of a step
        steps.other_turn = self._other_turn

    def start(self) -> None:
        """Begin a life, however often it is begun in vain."""
        if self.banks.row.get(Word.TARGET) == Target.STOP:
            self.banks.memory.aim(Target.RUN)
        while True:
            self.banks.make()
            self._busy.update(self.names)
            try:
                for name in ("pump", "task", *self.names[2:]):
                    with self.steps.by(name):
                        self._bank(name).start()
                return
            except (Crash, RetriableError, UnreachableError):
                self.die()
            finally:
                self._busy.clear()

    def is_over(self, name: str) -> bool:
        """Whether this bank does nothing any more."""
        return name in self.dead or bool(self._bank(name).is_over)

    def is_free(self, name: str) -> bool:
        """Whether this bank lives, and is not in the middle of a step."""
        return not self.is_over(name) and name not in self._busy

    def turn(self) -> None:
        """One bank, or all in some order, do a piece of work."""
        for name in self._rng.sample(self.names, self._rng.randint(1, len(self.names))):
            self.tend(name)
        self.check_bells()

    def tend(self, name: str) -> None:
        """Let a bank do a piece of work, as its process does."""
        if not self.is_free(name):
            return
        bank = self._bank(name)
        self._busy.add(name)
        if self._idle.pop(name, 0.0) > 0:
            self._bell(name).wait(0)
        try:
            with self.steps.by(name):
                try:
                    self._idle[name] = self._step(name)
                except ConnectError as error:
                    claim(not isinstance(error, LedgerError), error)
                    self.failure = self.failure or error
                    if bank.failure is not None:
                        raise
                    bank.fail(error)
        except Crash:
            self._is_dead(name)
        except ConnectError:  # it has failed while it ended: its process ends with its first reason
            self._is_dead(name)
        except Exception as error:
            raise Wrong(f"the {name} ends by {type(error).__name__}: {error}") from error
        finally:
            self._busy.remove(name)

    def see(self) -> bool:
        """See whether a bank has ended badly; returns whether this life is over, which is buried then."""
        ended = self._ended_badly()
        if not ended:
            return False
        for name in ended:
            if name not in self.dead:
                self.failure = self.failure or self._bank(name).failure
        if self.tells_kinds:
            kind = Kind.CRASH if self.dead.intersection(ended) else kind_of(self.failure or Exception())
            self.banks.row.set(Word.ENDED_AS, kind)
        for _ in range(self._rng.choice((0, 0, 1, 5))):
            self.turn()  # the supervisor has not seen it yet
        self.reap(*ended)
        for name in self.names:
            if not self.is_over(name):
                self._end(name)
        for name in self.names:
            self._stop(name)
        self.die()
        return True

    def end_somehow(self) -> None:
        """End a life that goes well, one way or another."""
        stages = [f"kill {name}" for name in self.names[2:]]
        way = self._rng.choice(("kill both", "kill the task process", "kill the pump", "stop", *stages))
        if way == "stop":
            self.banks.memory.aim(Target.STOP)
            for _ in range(TURNS_MAX):
                if self._ended_badly() or all(map(self.is_over, BOTH)):
                    break
                self._clock.advance(0.001)
                self.turn()
            else:
                claim(self.may_be_late(), f"not over after {TURNS_MAX} turns")
                for name in BOTH:
                    if not self.is_over(name):
                        self._is_dead(name)  # as the supervisor's ladder ends
            if not self.see():
                for name in self.names:
                    self._stop(name)
                self.die()
            return
        for name in self.names:
            if way == "kill both" or name in way:
                self._is_dead(name)
        self.see()

    def die(self) -> None:
        """All are gone: nothing that they held is there any more."""
        for name in self.names:
            if name not in self.dead:
                self.on_death(name)
        self.dead.clear()
        self._idle.clear()
        self.banks.crash()

    def check_bells(self) -> None:
        """Who sleeps has nothing to read, or his bell is rung."""
        for name in self.names:
            sleeps = not self.dead and not self.is_over(name) and self._idle.get(name, 0.0) >= SLEEP_S
            if sleeps and self._has_mail(name):
                bell = self._bell(name)
                claim(bell.wait(0), f"a wake-up is lost: the {name} sleeps and has something to read")
                bell.ring()

    def _ended_badly(self) -> list[str]:
        return [name for name in self.names if name in self.dead or (self.is_over(name) and self._bank(name).failure)]

    def _other_turn(self, actor: str) -> None:
        others = [name for name in self.names if name != actor]
        other = others[0] if len(others) == 1 else self._rng.choice(others)
        for _ in range(self._rng.choice((1, 1, 3))):
            self.tend(other)

    def _end(self, name: str) -> None:
        """Ask the bank that is left to end; kill it in time, or before."""
        with self.steps.by(""):
            self._bank(name).ask_to_stop()
        kill_at = self._rng.randint(0, 30) if self._rng.random() < 0.3 else TURNS_MAX
        deadline_ns = self._clock.now_ns + int(GRACE_S.get(name, GRACE_S["task"]) * 1e9)
        for turn in range(TURNS_MAX):
            if self.is_over(name):
                return
            if turn >= kill_at or self._clock.now_ns >= deadline_ns:
                self._is_dead(name)
                return
            self._clock.advance(0.001)
            self.tend(name)

    def _stop(self, name: str) -> None:
        """A bank that came to its end gives back what it has."""
        if name in self.dead:
            return
        bank = self._bank(name)
        try:
            with self.steps.by(name):
                if isinstance(bank, SinkPumpBank):
                    bank.stop(leave=False)
                else:
                    bank.stop()
        except Crash:
            pass
        self._is_dead(name)

    def reap(self, *names: str) -> None:
        """The supervisor has seen that these are dead."""
        with self.steps.by(""):
            for name in names:
                if (number := stage_number(name)) is not None:
                    self.banks.row.stage_set(number, StageWord.PID, 0)
                else:
                    self.banks.row.set(PIDS[name], 0)

    def _is_dead(self, name: str) -> None:
        if name not in self.dead:
            self.deaths += 1
            self.dead.add(name)
            self.on_death(name)

    def _bank(self, name: str) -> AnyBank:
        if (number := stage_number(name)) is not None:
            return self.banks.stages[number]
        return self.banks.task if name == "task" else self.banks.pump

    def _step(self, name: str) -> float:
        bank = self._bank(name)
        if isinstance(bank, SinkPumpBank):
            return bank.step(self._rng.choice((0.0, 0.01)))
        return bank.step()

    def _bell(self, name: str) -> Bell:
        return self._bank(name)._side.bell

    def _has_mail(self, name: str) -> bool:
        bank = self._bank(name)
        if isinstance(bank, StageBank):
            return not bank._side.work._ring.is_drained()
        rings = [bank._side.up if isinstance(bank._side, PumpSide) else bank._side.down]
        crew = None
        if isinstance(bank, SinkTaskBank):
            crew = bank._incoming._crew
        elif isinstance(bank, SourceTaskBank) and bank._dealing.is_under_way:
            crew = bank._dealing._crew
        if crew is not None and crew._dealt:
            rings.append(crew._ends[crew._dealt[0].number % len(crew._ends)].done._ring)
        if isinstance(bank, SinkTaskBank | SourcePumpBank) and (crew is None or not crew.is_full):
            rings.append(bank._ring)
        return not all(ring.is_drained() for ring in rings)
