"""The herder lets a connector that watches have a process of its own, and makes of what it says what shall run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.herder.herder import Herder
from engine.herder.model import (
    Configure,
    Create,
    Delete,
    Hold,
    Info,
    Keep,
    Kept,
    Patch,
    Plan,
    Planned,
    Restart,
    Run,
    SetTarget,
    State,
    TargetState,
)
from engine.herder.watching import PortSpec, Watch, Watched, WatchSpec
from tests.unit.herder.test_herder import CONFIG, Driver, lines

SPEC = WatchSpec(connector="a", path="x:X", properties=CONFIG, tasks_max=4, port=PortSpec("", {}, {}, 1.0))
ONE = ({"t": "0"},)
TWO = ({"t": "0"}, {"t": "1"})


class Watching(Driver):
    """Its connector watches: a plan has lines only of what its process has said."""

    def __init__(self, herder: Herder | None = None) -> None:
        super().__init__(herder)
        self.found = Planned(0, type="source", version="1", watch=SPEC)
        self.is_slow = False  # plans are answered later

    def answer(self, plan: Plan) -> None:
        configs = plan.task_configs or ()
        self.hear(replace(self.found, attempt=plan.attempt, task_configs=configs, lines=lines(len(configs))))

    def carry_out(self, intended: object) -> None:
        plans = [one for one in intended if isinstance(one, Plan)]  # type: ignore[attr-defined]
        self.holds_plans = True
        super().carry_out(intended)  # type: ignore[arg-type]
        for plan in plans if not self.is_slow else ():
            self.answer(plan)

    def say(self, *task_configs: dict[str, str], failure: str = "") -> None:
        """What the process says that was asked for last."""
        self.hear(Watched("a", self.of(Watch)[-1].attempt, task_configs, failure))


@pytest.fixture
def driver() -> Watching:
    made = Watching()
    made.ask(Create("a", CONFIG))
    return made


def test_it_is_answered_when_its_process_is_asked_for_and_has_tasks_when_it_has_said_so(driver: Watching) -> None:
    assert isinstance(driver.answers[1], Info)
    (watch,) = driver.of(Watch)
    assert (watch.spec, watch.is_again) == (SPEC, False)
    assert (driver.view().state, driver.view().task_configs, driver.of(Run)) == (State.UNASSIGNED, (), [])
    driver.say(*TWO)
    assert driver.of(Plan)[-1].task_configs == TWO
    assert [run.lines for run in driver.of(Run)] == [lines(2)]
    assert (driver.view().state, driver.view().task_configs) == (State.RUNNING, TWO)
    assert driver.of(Keep)[-1].kept.task_configs == TWO


def test_what_it_says_later_is_what_runs_then(driver: Watching) -> None:
    driver.say(*ONE)
    driver.say(*TWO)
    driver.say()
    assert [len(run.lines) for run in driver.of(Run)] == [1, 2, 0]
    assert len(driver.of(Watch)) == 1


def test_only_the_last_of_what_it_says_during_a_plan_is_planned(driver: Watching) -> None:
    driver.is_slow = True
    driver.say(*ONE)
    driver.say(*TWO)
    driver.say(*ONE, *TWO)
    driver.is_slow = False
    driver.answer(driver.of(Plan)[-1])
    assert [len(run.lines) for run in driver.of(Run)] == [1, 3]


def test_what_an_earlier_process_says_is_not_heard(driver: Watching) -> None:
    old = driver.of(Watch)[-1].attempt
    driver.ask(Configure("a", {**CONFIG, "more": "x"}))
    assert len(driver.of(Watch)) == 2
    driver.hear(Watched("a", old, ONE))
    assert driver.of(Run) == []
    driver.say(*TWO)
    assert len(driver.of(Run)) == 1


def test_a_failure_is_told_and_its_tasks_go_on(driver: Watching) -> None:
    driver.say(*ONE)
    driver.say(failure="OSError: no such table")
    assert (driver.view().state, driver.view().trace) == (State.FAILED, "OSError: no such table")
    assert (len(driver.of(Run)), driver.view().task_configs) == (1, ONE)


def test_a_restart_begins_its_process_anew(driver: Watching) -> None:
    driver.say(failure="gone")
    driver.ask(Restart("a"))
    assert driver.of(Watch)[-1].is_again
    assert (driver.view().state, driver.view().trace) == (State.UNASSIGNED, "")


@pytest.mark.parametrize(
    "command", [SetTarget("a", TargetState.PAUSED), SetTarget("a", TargetState.STOPPED), Delete("a")]
)
def test_its_process_ends_when_it_is_no_longer_started(driver: Watching, command: SetTarget | Delete) -> None:
    driver.say(*ONE)
    before = driver.of(Watch)[-1].attempt
    driver.ask(command)
    assert driver.of(Watch)[-1].spec is None
    runs = len(driver.of(Run))
    driver.hear(Watched("a", before, TWO))
    assert len(driver.of(Run)) == runs


def test_it_goes_on_from_a_pause_with_a_new_process_and_the_same_tasks(driver: Watching) -> None:
    driver.say(*ONE)
    driver.ask(SetTarget("a", TargetState.PAUSED))
    driver.ask(SetTarget("a", TargetState.STARTED))
    assert driver.of(Watch)[-1].spec == SPEC
    driver.say(*ONE)
    assert [run.lines for run in driver.of(Run)] == [lines(1), lines(1)]


def test_a_class_that_does_not_watch_ends_the_process_of_the_one_before(driver: Watching) -> None:
    driver.say(*ONE)
    driver.found = Planned(0, type="source", version="1")
    driver.ask(Patch("a", {"connector.class": "Other"}))
    assert driver.of(Watch)[-1].spec is None
    assert driver.view().state == State.RUNNING


def test_a_herder_that_begins_anew_asks_for_the_same_process_and_shows_what_was() -> None:
    driver = Watching()
    kept = Kept("a", CONFIG, TargetState.STARTED, True, "source", "1", ONE)
    driver.carry_out(driver.herder.adopt([kept], are_running=True))
    assert driver.of(Watch)[-1].spec == SPEC
    assert (driver.view().state, driver.view().task_configs, driver.of(Run)) == (State.RUNNING, ONE, [])
    driver.say(*ONE)
    assert [run.lines for run in driver.of(Run)] == [lines(1)]


def test_one_that_was_paused_has_its_tasks_again_after_a_start_and_its_process_when_it_goes_on() -> None:
    driver = Watching()
    kept = Kept("a", CONFIG, TargetState.PAUSED, True, "source", "1", TWO)
    driver.carry_out(driver.herder.adopt([kept]))
    assert [(run.lines, run.is_held) for run in driver.of(Run)] == [(lines(2), True)]
    assert (driver.view().state, driver.view().task_configs, driver.of(Watch)) == (State.PAUSED, TWO, [])
    driver.ask(SetTarget("a", TargetState.STARTED))
    assert [one.is_held for one in driver.of(Hold)] == [False]
    assert driver.of(Watch)[-1].spec == SPEC
    driver.say(*ONE)
    assert driver.of(Run)[-1].lines == lines(1)


def test_a_herder_that_begins_anew_ends_a_process_of_one_that_is_paused() -> None:
    driver = Watching()
    driver.carry_out(driver.herder.adopt([Kept("a", CONFIG, TargetState.PAUSED)], are_running=True))
    assert driver.of(Watch) == [Watch("a", 0, None)]
