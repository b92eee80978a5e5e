"""The herder intends what Kafka Connect's standalone worker does, command by command, and keeps each desk's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest
from msgspec.structs import replace

from engine.config.line import LineSpec, PluginSpec, Restarts
from engine.herder.herder import Herder
from engine.herder.model import (
    Again,
    Alter,
    Altered,
    AlterOffsets,
    Command,
    Configure,
    ConnectorView,
    Create,
    Delete,
    Drop,
    Due,
    Event,
    Hold,
    Info,
    Intention,
    Keep,
    Kept,
    Message,
    PartitionOffset,
    Patch,
    Plan,
    Planned,
    Refusal,
    Remind,
    RemindOnChange,
    Reply,
    Restart,
    Restarting,
    RestartTask,
    Run,
    SetTarget,
    Settled,
    State,
    TargetState,
)
from engine.mending import Kind as EndKind

CONFIG = {"name": "a", "connector.class": "Generator", "tasks.max": "2"}
SPEC = PluginSpec("x:X")
Kind = TypeVar("Kind", bound=Intention)


def lines(count: int, **config: str) -> tuple[LineSpec, ...]:
    return tuple(
        LineSpec(
            connector="a",
            task=task,
            type="source",
            plugin="Generator",
            task_path="x:Task",
            task_config={"task": str(task), **config},
            key_converter=SPEC,
            value_converter=SPEC,
            header_converter=SPEC,
            kafka={},
        )
        for task in range(count)
    )


class Driver:
    """Drives a herder; answers its plans as it is told, and settles what it lets run."""

    def __init__(self, herder: Herder | None = None, *, settles: bool = True) -> None:
        self.herder = herder or Herder()
        self.intended: list[Intention] = []
        self.answers: dict[int, object] = {}
        self.settles = settles
        self.found = Planned(0, type="source", version="1", task_configs=({"t": "0"}, {"t": "1"}), lines=lines(2))
        self.holds_plans = False
        self.tickets = 0

    def ask(self, command: Command) -> object:
        """The answer, or "no answer yet"."""
        self.tickets += 1
        ticket = self.tickets
        self.carry_out(self.herder.ask(ticket, command))
        return self.answers.get(ticket, "no answer yet")

    def hear(self, event: Event) -> None:
        self.carry_out(self.herder.hear(event))

    def carry_out(self, intended: Sequence[Intention]) -> None:
        self.intended += intended
        for intention in intended:
            if isinstance(intention, Reply):
                assert intention.ticket not in self.answers, "answered twice"
                self.answers[intention.ticket] = intention.answer
            elif isinstance(intention, Plan) and not self.holds_plans:
                self.hear(planned(self.found, intention))
            elif isinstance(intention, Run) and self.settles:
                self.hear(Settled(intention.name, intention.generation))

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [intention for intention in self.intended if isinstance(intention, kind)]

    def taken(self) -> list[Intention]:
        taken, self.intended = self.intended, []
        return taken

    def view(self, name: str = "a") -> ConnectorView:
        view = self.herder.view(name)
        assert view is not None
        return view


def planned(found: Planned, plan: Plan) -> Planned:
    tasks = (found.task_configs, found.lines) if plan.wants_tasks else ((), ())
    return Planned(
        plan.attempt,
        problems=found.problems,
        failure=found.failure,
        type=found.type,
        version=found.version,
        task_configs=tasks[0],
        lines=tasks[1],
        reload_ms=found.reload_ms,
        failure_kind=found.failure_kind,
        restarts=found.restarts,
        files=found.files,
    )


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.ask(Create("a", CONFIG))
    made.taken()
    return made


def test_a_connector_is_planned_kept_run_and_only_then_answered() -> None:
    driver = Driver(settles=False)
    assert driver.ask(Create("a", CONFIG)) == "no answer yet"
    assert [type(intention) for intention in driver.taken()] == [Plan, Keep, Run]
    driver.hear(Settled("a", driver.view().generation))
    answer = driver.answers[1]
    assert isinstance(answer, Info)
    assert answer.is_new
    assert (answer.view.config, len(answer.view.task_configs), answer.view.state) == (CONFIG, 2, State.RUNNING)


def test_what_is_wrong_with_a_configuration_is_told_and_nothing_is_made() -> None:
    driver = Driver()
    driver.found = Planned(0, problems=("first", "second"))
    answer = driver.ask(Create("a", CONFIG))
    assert isinstance(answer, Refusal)
    assert answer.status == 400
    assert "contains the following 2 error(s):\nfirst\nsecond" in answer.message
    assert driver.herder.view("a") is None
    assert [type(intention) for intention in driver.intended] == [Plan, Reply]


def test_a_name_is_taken_once(driver: Driver) -> None:
    assert driver.ask(Create("a", CONFIG)) == Refusal(409, "Connector a already exists")


@pytest.mark.parametrize(("target", "state"), [("PAUSED", State.PAUSED), ("STOPPED", State.STOPPED)])
def test_a_connector_that_is_made_paused_or_stopped_has_no_tasks_until_it_is_resumed(target: str, state: State) -> None:
    driver = Driver()
    driver.ask(Create("a", CONFIG, TargetState(target)))
    assert driver.of(Run) == []
    assert (driver.view().state, driver.view().task_configs, driver.view().type) == (state, (), "source")
    assert driver.ask(SetTarget("a", TargetState.STARTED)) is None
    assert len(driver.of(Run)) == 1
    assert (driver.view().state, len(driver.view().task_configs)) == (State.RUNNING, 2)


def test_a_connector_that_fails_to_start_is_there_and_says_why() -> None:
    driver = Driver()
    driver.found = Planned(0, failure="no such file", type="source")
    assert isinstance(driver.ask(Create("a", CONFIG)), Info)
    assert (driver.view().state, driver.view().trace) == (State.FAILED, "no such file")
    assert driver.of(Run) == []


POLICY = Restarts(count_max=2, backoff_ms=100, backoff_ms_max=1_000, circuit_ms=60_000, error_max=2)


def failing(kind: EndKind, restarts: Restarts = POLICY) -> Driver:
    """A driver whose connector is there and cannot be started."""
    driver = Driver()
    driver.found = Planned(0, failure="away", failure_kind=kind, type="source", restarts=restarts)
    driver.ask(Create("a", CONFIG))
    return driver


@pytest.mark.parametrize(
    ("kind", "pauses_ms"),
    [
        (EndKind.OUTSIDE, [100, 200, 400, 800, 1_000, 1_000]),
        (EndKind.ERROR, [100, 200, 60_000, 60_000]),
        (EndKind.CONFIG, []),
    ],
)
def test_a_connector_that_fails_to_start_is_tried_again_by_its_policy(kind: EndKind, pauses_ms: list[int]) -> None:
    driver = failing(kind)
    for number, pause_ms in enumerate(pauses_ms):
        remind = driver.of(Remind)[number]
        assert (remind.after_ms, remind.why) == (pause_ms, "away")
        assert (driver.view().state, driver.view().failure_kind) == (State.FAILED, kind)
        driver.hear(remind.due)
    assert len(driver.of(Remind)) == len(pauses_ms) + bool(pauses_ms)
    assert driver.view().restarts == len(driver.of(Remind))
    driver.found = Planned(0, type="source", task_configs=({"t": "0"},), lines=lines(1))
    for remind in driver.of(Remind)[-1:]:
        driver.hear(remind.due)
        assert (driver.view().state, driver.view().failure_kind, driver.view().restarts) == (
            State.RUNNING,
            EndKind.NOTHING,
            0,
        )


def test_a_connector_that_somebody_restarts_meanwhile_begins_anew_and_is_not_tried_twice() -> None:
    driver = failing(EndKind.OUTSIDE)
    driver.hear(driver.of(Remind)[0].due)
    driver.ask(Restart("a"))
    (_, late, fresh) = driver.of(Remind)
    assert (late.after_ms, fresh.after_ms) == (200, 100)
    plans = len(driver.of(Plan))
    driver.hear(late.due)
    assert len(driver.of(Plan)) == plans
    driver.hear(fresh.due)
    assert len(driver.of(Plan)) == plans + 1


def test_a_connector_without_a_policy_stays_failed_as_in_kafka_connect() -> None:
    assert failing(EndKind.OUTSIDE, replace(POLICY, policy="none")).of(Remind) == []


def test_another_configuration_lets_run_what_its_plan_says(driver: Driver) -> None:
    driver.found = Planned(0, type="source", version="1", task_configs=({"t": "x"},), lines=lines(1, more="x"))
    answer = driver.ask(Configure("a", {**CONFIG, "tasks.max": "1"}))
    assert isinstance(answer, Info)
    assert not answer.is_new
    assert driver.of(Run)[-1].lines == lines(1, more="x")
    assert len(driver.view().task_configs) == 1


def test_a_patch_changes_and_takes_away_keys(driver: Driver) -> None:
    driver.ask(Patch("a", {"tasks.max": None, "rate": "5"}))
    assert driver.view().config == {"name": "a", "connector.class": "Generator", "rate": "5"}
    assert driver.of(Keep)[-1].kept.config == driver.view().config


def test_a_bad_change_leaves_everything_as_it_was(driver: Driver) -> None:
    driver.found = Planned(0, problems=("bad",))
    assert isinstance(driver.ask(Configure("a", {"name": "a"})), Refusal)
    assert driver.view().config == CONFIG
    assert driver.of(Keep) == []
    assert driver.view().state == State.RUNNING


def test_what_is_deleted_is_ended_then_forgotten_then_answered() -> None:
    driver = Driver()
    driver.ask(Create("a", CONFIG))
    driver.taken()
    driver.settles = False
    assert driver.ask(Delete("a")) == "no answer yet"
    assert driver.of(Run)[0].lines == ()
    assert driver.herder.names() == ["a"]
    driver.hear(Settled("a", driver.of(Run)[0].generation))
    assert driver.of(Drop) == [Drop("a")]
    assert driver.herder.names() == []
    assert driver.answers[2] is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (Delete("b"), "Connector b not found"),
        (Patch("b", {}), "Connector b not found"),
        (SetTarget("b", TargetState.PAUSED), "Unknown connector b"),
        (Restart("b"), "Unknown connector: b"),
        (RestartTask("b", 0), "Unknown connector: b"),
    ],
)
def test_a_connector_that_is_not_there_is_refused_in_kafka_connects_words(
    driver: Driver, command: Command, message: str
) -> None:
    assert driver.ask(command) == Refusal(404, message)


def test_pausing_holds_the_tasks_and_resuming_lets_the_same_ones_go_on(driver: Driver) -> None:
    assert driver.ask(SetTarget("a", TargetState.PAUSED)) is None
    assert driver.of(Hold) == [Hold("a", is_held=True)]
    assert driver.view().state == State.PAUSED
    kept = driver.of(Keep)[-1].kept
    assert (kept.target, kept.has_tasks, kept.type, len(kept.task_configs)) == (TargetState.PAUSED, True, "source", 2)
    driver.ask(SetTarget("a", TargetState.STARTED))
    assert driver.of(Hold)[-1] == Hold("a", is_held=False)
    assert driver.of(Run)[-1].lines == lines(2)
    assert not driver.of(Run)[-1].is_held


def test_a_change_during_a_pause_reaches_the_tasks_when_they_are_resumed(driver: Driver) -> None:
    driver.ask(SetTarget("a", TargetState.PAUSED))
    driver.found = Planned(0, type="source", version="1", task_configs=({"t": "x"},), lines=lines(1, more="x"))
    driver.ask(Configure("a", {**CONFIG, "tasks.max": "1"}))
    assert driver.of(Run) == []
    assert driver.view().state == State.PAUSED
    driver.ask(SetTarget("a", TargetState.STARTED))
    assert len(driver.of(Run)[-1].lines) == 1


def test_a_stopped_connector_has_no_tasks_and_is_answered_when_they_are_gone() -> None:
    driver = Driver()
    driver.ask(Create("a", CONFIG))
    driver.settles = False
    assert driver.ask(SetTarget("a", TargetState.STOPPED)) == "no answer yet"
    assert driver.of(Run)[-1].lines == ()
    driver.hear(Settled("a", driver.view().generation))
    assert driver.answers[2] is None
    assert (driver.view().state, driver.view().task_configs) == (State.STOPPED, ())


def test_a_failed_connector_that_is_resumed_is_tried_again(driver: Driver) -> None:
    driver.found = Planned(0, failure="away", type="source")
    driver.ask(Restart("a"))
    assert driver.view().state == State.FAILED
    driver.found = Planned(0, type="source", version="1", task_configs=({"t": "0"}, {"t": "1"}), lines=lines(2))
    driver.ask(SetTarget("a", TargetState.STARTED))
    assert (driver.view().state, driver.view().trace) == (State.RUNNING, "")


def test_a_restart_takes_what_is_asked_for(driver: Driver) -> None:
    assert driver.ask(Restart("a")) is None
    assert driver.of(Again) == []
    answer = driver.ask(Restart("a", with_tasks=True))
    assert answer == Restarting("a", has_connector=True, tasks=frozenset({0, 1}))
    assert driver.of(Again) == [Again("a", frozenset({0, 1}))]
    failed = Restart("a", with_tasks=True, only_failed=True, failed_tasks=frozenset({1}))
    assert driver.ask(failed) == Restarting("a", has_connector=False, tasks=frozenset({1}))
    assert driver.of(Again)[-1] == Again("a", frozenset({1}))


def test_one_task_is_restarted_and_one_that_is_not_there_is_refused(driver: Driver) -> None:
    assert driver.ask(RestartTask("a", 1)) is None
    assert driver.of(Again) == [Again("a", frozenset({1}))]
    assert driver.ask(RestartTask("a", 7)) == Refusal(404, "Unknown task: a-7")


def test_commands_for_one_connector_wait_for_each_other_and_others_do_not() -> None:
    driver = Driver()
    driver.holds_plans = True
    assert driver.ask(Create("a", CONFIG)) == "no answer yet"
    assert driver.ask(Delete("a")) == "no answer yet"
    assert driver.ask(Create("b", CONFIG)) == "no answer yet"
    first, second = driver.of(Plan)
    assert (first.name, second.name) == ("a", "b")
    driver.hear(planned(driver.found, second))
    assert isinstance(driver.answers[3], Info)
    driver.hear(planned(driver.found, first))
    assert driver.herder.names() == ["b"]
    assert driver.answers[2] is None


def test_an_event_that_nobody_waits_for_changes_nothing(driver: Driver) -> None:
    before = driver.view()
    driver.hear(Planned(99))
    driver.hear(Settled("a", 99))
    driver.hear(Due("a", 99))
    driver.hear(Due("gone", 1))
    assert driver.taken() == []
    assert driver.view() == before


def test_what_was_kept_is_planned_anew_and_what_is_wrong_with_it_by_now_is_its_state() -> None:
    driver = Driver()
    driver.holds_plans = True
    kept = [
        Kept("a", CONFIG, TargetState.STARTED),
        Kept("b", CONFIG, TargetState.PAUSED),
        Kept("c", CONFIG, TargetState.PAUSED, has_tasks=True),
        Kept("d", CONFIG, TargetState.STOPPED),
    ]
    driver.carry_out(driver.herder.adopt(kept))
    plans = driver.of(Plan)
    assert [plan.wants_tasks for plan in plans] == [True, False, True, False]
    assert driver.view().state == State.UNASSIGNED
    driver.hear(Planned(plans[0].attempt, problems=("its class is gone",)))
    for plan in plans[1:]:
        driver.hear(planned(driver.found, plan))
    assert (driver.view().state, driver.view().trace) == (State.FAILED, "its class is gone")
    assert [driver.view(name).state for name in "bcd"] == [State.PAUSED, State.PAUSED, State.STOPPED]
    assert [(run.name, run.is_held) for run in driver.of(Run)] == [("c", True)]


def test_a_herder_that_follows_another_shows_what_was_until_it_knows_better() -> None:
    first = Driver()
    first.ask(Create("a", CONFIG))
    driver = Driver()
    driver.holds_plans = True
    driver.carry_out(driver.herder.adopt([first.of(Keep)[-1].kept], are_running=True))
    assert (driver.view().state, driver.view().type, len(driver.view().task_configs)) == (State.RUNNING, "source", 2)
    driver.hear(planned(driver.found, driver.of(Plan)[0]))
    assert driver.of(Run)[-1].lines == first.of(Run)[-1].lines


def test_values_that_are_good_for_a_while_are_looked_at_again() -> None:
    driver = Driver()
    driver.found = Planned(0, type="source", task_configs=({"t": "0"},), lines=lines(1), reload_ms=500)
    driver.ask(Create("a", CONFIG))
    (remind,) = driver.of(Remind)
    assert remind == Remind(500, Due("a", driver.view().generation))
    driver.hear(remind.due)
    assert len(driver.of(Plan)) == 2
    driver.found = Planned(0, type="source", task_configs=({"t": "0"},), lines=lines(1, secret="new"), reload_ms=500)
    driver.hear(driver.of(Remind)[-1].due)
    assert driver.of(Run)[-1].lines == lines(1, secret="new")


def test_files_that_hold_values_are_watched_and_a_change_is_planned_anew() -> None:
    driver = Driver()
    files = {"/run/secrets/db": (1, 2, 3)}
    driver.found = Planned(0, type="source", task_configs=({"t": "0"},), lines=lines(1), files=files)
    driver.ask(Create("a", CONFIG))
    assert driver.of(RemindOnChange) == [RemindOnChange(files, Due("a", driver.view().generation))]
    driver.hear(driver.of(RemindOnChange)[-1].due)
    assert len(driver.of(Plan)) == 2
    stale = driver.of(RemindOnChange)[0].due
    driver.hear(stale)
    assert len(driver.of(Plan)) == 2


def test_values_that_cannot_be_had_are_looked_for_again_while_the_tasks_go_on() -> None:
    driver = Driver()
    files = {"/run/secrets/db": (1, 2, 3)}
    driver.found = Planned(0, type="source", task_configs=({"t": "0"},), lines=lines(1), files=files)
    driver.ask(Create("a", CONFIG))
    driver.found = Planned(0, problems=("no such file",), files={"/run/secrets/db": None})
    driver.hear(driver.of(RemindOnChange)[-1].due)
    assert (driver.view().state, driver.view().trace) == (State.FAILED, "no such file")
    assert len(driver.of(Run)) == 1
    driver.found = Planned(0, type="source", task_configs=({"t": "0"},), lines=lines(1, secret="new"), files=files)
    driver.hear(driver.of(RemindOnChange)[-1].due)
    assert driver.view().state == State.RUNNING
    assert driver.of(Run)[-1].lines == lines(1, secret="new")


HALF = (PartitionOffset({"filename": "a"}, {"position": 7}),)


def test_offsets_are_altered_once_no_line_is_left_and_whoever_wants_to_go_on_waits() -> None:
    driver = Driver(settles=False)
    driver.ask(Create("a", CONFIG, TargetState.STOPPED))
    driver.taken()
    assert driver.ask(AlterOffsets("a", HALF)) == "no answer yet"
    (run,) = driver.taken()
    assert run == Run("a", driver.view().generation, ())
    assert driver.ask(SetTarget("a", TargetState.STARTED)) == "no answer yet"
    driver.hear(Settled("a", driver.view().generation))
    (alter,) = driver.taken()
    assert isinstance(alter, Alter)
    assert (alter.name, alter.config, alter.offsets) == ("a", CONFIG, HALF)
    driver.hear(Altered(alter.attempt, Message("done")))
    assert driver.answers[2] == Message("done")
    assert driver.answers[3] is None
    assert Plan in map(type, driver.taken())


def test_what_the_connector_refuses_is_answered(driver: Driver) -> None:
    driver.ask(SetTarget("a", TargetState.STOPPED))
    assert driver.ask(AlterOffsets("a")) == "no answer yet"
    (alter,) = driver.of(Alter)
    assert alter.offsets is None
    driver.hear(Altered(alter.attempt, Refusal(500, "no")))
    assert driver.answers[3] == Refusal(500, "no")


@pytest.mark.parametrize("target", [TargetState.STARTED, TargetState.PAUSED])
def test_offsets_of_a_connector_that_is_not_stopped_stay(driver: Driver, target: TargetState) -> None:
    driver.ask(SetTarget("a", target))
    refusal = driver.ask(AlterOffsets("a"))
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400
    assert refusal.message.startswith("Connectors must be in the STOPPED state before their offsets can be modified.")
    assert refusal.message.endswith("issuing a 'PUT' request to the '/connectors/a/stop' endpoint")
    assert driver.of(Alter) == []


def test_offsets_of_a_connector_that_is_not_there_are_404() -> None:
    assert Driver().ask(AlterOffsets("b")) == Refusal(404, "Connector b not found")
