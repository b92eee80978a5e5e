"""What a standalone worker's connectors should be doing: commands and events in, intentions out.

    Create, Configure, Patch ──► Plan ──► Planned: refused ──► Reply
                                              ├─ good ──► Keep, Run ──► Settled ──► Reply
                                              └─ of one that watches ──► Keep, Watch, Reply ──► Watched ──► Plan
    SetTarget                ──► Keep, Hold or Run or Plan
    Delete                   ──► Run nothing ──► Settled ──► Drop, Reply
    AlterOffsets             ──► Run nothing ──► Settled ──► Alter ──► Altered ──► Reply

A connector has a desk: one command at a time is at work there, the others wait in their order. Desks do not wait for
each other, so that a plugin that hangs in its probe holds up its own connector only.

Which tasks run follows from the last good plan. A Run says what shall be, not what to do: a task whose line is the same
as before goes on undisturbed, so that a herder that begins anew, with what was kept, disturbs nothing. (Kafka Connect
starts all tasks anew when a key of the connector has changed, whether it concerns them or not.)

Used by: engine.control.
Not here: what a plan is made of (engine.plan), processes (engine.supervisor), how a task does (the board).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field

from engine.config.line import LineSpec
from engine.herder.model import (
    Again,
    Alter,
    Altered,
    AlterOffsets,
    Command,
    Config,
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
from engine.herder.refusals import NO_NAME, invalid, unknown
from engine.herder.retry import Retry
from engine.herder.watching import Watch, Watched

__all__ = ["Herder"]

NO_TICKET = -1
#: Whoever drove the herder before may have asked for a process.
MAYBE_WATCHED = -1


class _Connector(Struct):
    """One connector, as it is."""

    name: str
    config: Config
    target: TargetState
    planned: Planned = Planned(0)  # the last good one
    state: State = State.UNASSIGNED
    trace: str = ""
    generation: int = 0  # of the lines that were asked to run
    has_tasks: bool = False  # lines of that generation were asked for
    kept_configs: tuple[Config, ...] = ()  # of its tasks, in the worker's life before
    watch_attempt: int = 0  # of the plan that asked for its own process; 0: it has none; or MAYBE_WATCHED
    retry: Retry = field(default_factory=Retry)

    def view(self) -> ConnectorView:
        task_configs = self.planned.task_configs if self.has_tasks else ()
        return ConnectorView(
            self.name,
            self.config,
            self.planned.type,
            self.planned.version,
            self.target,
            self.state,
            self.trace,
            task_configs,
            self.generation,
            self.retry.kind,
            self.retry.restarts,
            self.retry.circuit,
        )


class _Work(Struct):
    """A command that waits for an event."""

    ticket: int
    command: Command | Due | Watched
    config: Config = {}  # that is planned
    wants_tasks: bool = False
    attempt: int = 0  # of the plan that is waited for; 0: none
    generation: int = 0  # to be settled; 0: none
    answer: Info | None = None  # when it is


class _Desk(Struct):
    """Commands for one connector, in their order."""

    waiting: deque[tuple[int, Command | Due | Watched]]
    work: _Work | None = None


class Herder:
    """All connectors of a worker. Whoever drives it is its only caller."""

    def __init__(self) -> None:
        self._connectors: dict[str, _Connector] = {}
        self._desks: dict[str, _Desk] = {}
        self._attempts = 0
        self._generations = 0  # one count for all: a connector that is made again does not begin anew
        self._intended: list[Intention] = []

    def names(self) -> list[str]:
        """Of all connectors, in the order in which they came."""
        return list(self._connectors)

    def view(self, name: str) -> ConnectorView | None:
        """One of them; None: there is none of that name."""
        connector = self._connectors.get(name)
        return None if connector is None else connector.view()

    def adopt(self, kept: Iterable[Kept], *, are_running: bool = False) -> list[Intention]:
        """Take up what was kept: each is planned anew, which changes nothing where the plan is as it was.

        are_running: the worker goes on, and only whoever drove its herder before is gone: what was is shown meanwhile.
        """
        for one in kept:
            connector = _Connector(one.name, one.config, one.target, has_tasks=one.has_tasks)
            connector.kept_configs = one.task_configs
            if are_running or not _is_started(connector):
                connector.state = _state_of(one.target)
            if are_running:
                connector.watch_attempt = MAYBE_WATCHED
                connector.planned = Planned(0, type=one.type, version=one.version, task_configs=one.task_configs)
            self._connectors[one.name] = connector
            self._put(NO_TICKET, Due(one.name, 0))
        return self._taken()

    def ask(self, ticket: int, command: Command) -> list[Intention]:
        """Begin a command, or let it wait its turn. ticket: at least 0; comes back in its Reply."""
        self._put(ticket, command)
        return self._taken()

    def hear(self, event: Event) -> list[Intention]:
        """Go on with what has waited for this; an event that nobody waits for any more changes nothing."""
        if isinstance(event, Due):
            connector = self._connectors.get(event.name)
            is_late = event.attempt and connector is not None and connector.retry.looked != event.attempt
            if connector is not None and connector.generation == event.generation and not is_late:
                self._put(NO_TICKET, event)
            return self._taken()
        if isinstance(event, Watched):
            self._hear_watched(event)
            return self._taken()
        for name, desk in list(self._desks.items()):
            work = desk.work
            if work is None:
                continue
            if isinstance(event, Planned) and event.attempt == work.attempt:
                work.attempt = 0
                self._planned(name, work, event)
            elif isinstance(event, Altered) and event.attempt == work.attempt:
                work.attempt = 0
                self._reply(work, event.outcome)
            elif isinstance(event, Settled) and (event.name, event.generation) == (name, work.generation):
                work.generation = 0
                if event.problem:
                    connector = self._connectors[name]
                    connector.state, connector.trace = State.FAILED, event.problem
                self._settled(work)
            self._go_on(name)
        return self._taken()

    def _taken(self) -> list[Intention]:
        intended, self._intended = self._intended, []
        return intended

    def _hear_watched(self, event: Watched) -> None:
        """Let it wait its turn, in place of what waits of the same connector: the last word counts."""
        connector = self._connectors.get(event.name)
        if connector is None or not event.attempt or connector.watch_attempt != event.attempt:
            return
        desk = self._desks.get(event.name)
        if desk is not None:
            desk.waiting = deque(one for one in desk.waiting if not isinstance(one[1], Watched))
        self._put(NO_TICKET, event)

    def _put(self, ticket: int, command: Command | Due | Watched) -> None:
        desk = self._desks.setdefault(command.name, _Desk(deque()))
        desk.waiting.append((ticket, command))
        self._go_on(command.name)

    def _go_on(self, name: str) -> None:
        """Begin what waits at a desk, until something there has to wait for an event."""
        desk = self._desks[name]
        while True:
            work = desk.work
            if work is not None and (work.attempt or work.generation):
                return
            desk.work = None
            if not desk.waiting:
                del self._desks[name]
                return
            ticket, command = desk.waiting.popleft()
            desk.work = _Work(ticket, command)
            self._begin(desk.work)

    def _begin(self, work: _Work) -> None:
        command = work.command
        connector = self._connectors.get(command.name)
        if isinstance(command, Create):
            self._plan(work, command.config, wants_tasks=command.target == TargetState.STARTED)
        elif isinstance(command, Configure):
            self._plan(work, command.config, wants_tasks=connector is None or _is_started(connector))
        elif connector is None:
            self._refuse(work, 404, unknown(command))
        elif isinstance(command, Patch):
            self._patch(work, connector, command)
        elif isinstance(command, Delete):
            self._end_watch(connector)
            self._run(work, connector, ())
        elif isinstance(command, AlterOffsets):
            self._make_way(work, connector)
        elif isinstance(command, SetTarget):
            self._aim(work, connector, command.target)
        elif isinstance(command, Restart):
            self._restart(work, connector, command)
        elif isinstance(command, RestartTask):
            self._restart_task(work, connector, command.task)
        elif isinstance(command, Watched):
            self._watched(work, connector, command)
        else:
            # What was kept, or what is due: a paused connector has the tasks that it had.
            is_paused = connector.target == TargetState.PAUSED
            if not _is_started(connector):
                self._end_watch(connector)
            wants_tasks = _is_started(connector) or (is_paused and connector.has_tasks)
            known = connector.planned.task_configs or connector.kept_configs
            # One that watches has no process while it is paused which could say them.
            task_configs = known if is_paused and wants_tasks and known else None
            self._plan(work, connector.config, wants_tasks=wants_tasks, task_configs=task_configs)

    def _patch(self, work: _Work, connector: _Connector, patch: Patch) -> None:
        merged = {**connector.config, **patch.changes}
        config = {key: value for key, value in merged.items() if value is not None}
        if "name" in config:
            self._plan(work, config, wants_tasks=_is_started(connector))
        else:
            self._refuse(work, 400, invalid([NO_NAME]))

    def _plan(
        self, work: _Work, config: Config, *, wants_tasks: bool, task_configs: tuple[Config, ...] | None = None
    ) -> None:
        self._attempts += 1
        work.attempt = self._attempts
        work.config, work.wants_tasks = config, wants_tasks
        self._intended.append(Plan(self._attempts, work.command.name, config, wants_tasks, task_configs))

    def _watched(self, work: _Work, connector: _Connector, said: Watched) -> None:
        """Its own process has said something, and may have been asked to end since."""
        if connector.watch_attempt != said.attempt:
            return
        if said.failure:
            connector.state, connector.trace = State.FAILED, said.failure
            return
        self._plan(work, connector.config, wants_tasks=True, task_configs=said.task_configs)

    def _planned(self, name: str, work: _Work, planned: Planned) -> None:
        connector = self._connectors.get(name)
        command = work.command
        is_asked = isinstance(command, Create | Configure | Patch)
        if planned.problems and is_asked:
            text = invalid(planned.problems) if planned.has_class else "\n".join(planned.problems)
            self._refuse(work, 400, text)
            return
        if isinstance(command, Create) and connector is not None:
            self._refuse(work, 409, f"Connector {name} already exists")
            return
        is_new = connector is None
        if connector is None:
            target = command.target if isinstance(command, Create) else TargetState.STARTED
            connector = self._connectors[name] = _Connector(name, work.config, target)
        if is_asked:
            connector.config = work.config
        self._take_up(work, connector, planned)
        if is_asked:
            work.answer = Info(connector.view(), is_new)
        if not work.generation:
            self._settled(work)

    def _take_up(self, work: _Work, connector: _Connector, planned: Planned) -> None:
        """Keep what the plan says, and let it run."""
        failure = "\n".join(planned.problems) or planned.failure
        was_running = connector.state == State.RUNNING
        connector.trace = failure
        if not isinstance(work.command, Watched):
            connector.retry.looked = planned.attempt
        if not isinstance(work.command, Due):
            connector.retry.begin_anew()  # somebody has asked for it, or its own process goes on
        connector.state = State.FAILED if failure else _state_of(connector.target)
        if failure or not work.wants_tasks:
            # Its tasks go on as they are; those of one that is not started are asked for when it is.
            connector.planned = _of_type(connector.planned, planned)
            self._keep(connector)
            if not failure:
                connector.retry.begin_anew()
            elif not isinstance(work.command, Watched):  # that is started again by the supervisor
                self._mend(connector, planned, failure)
            if work.wants_tasks:
                self._look_again(connector, planned)
            return
        connector.retry.begin_anew()
        if not isinstance(work.command, Watched) and self._let_watch(work, connector, planned):
            if not was_running and _is_started(connector):
                connector.state = State.UNASSIGNED  # until its own process has said that it has started
            self._look_again(connector, planned)
            return
        connector.planned = planned
        connector.has_tasks = bool(planned.lines)
        self._keep(connector)
        self._run(work, connector, planned.lines)
        self._look_again(connector, planned)

    def _look_again(self, connector: _Connector, planned: Planned) -> None:
        """Have it planned anew when values that providers gave are no longer good, or can be had again."""
        due = Due(connector.name, connector.generation)
        if planned.reload_ms is not None:
            self._intended.append(Remind(planned.reload_ms, due))
        if planned.files:
            self._intended.append(RemindOnChange(planned.files, due))

    def _let_watch(self, work: _Work, connector: _Connector, planned: Planned) -> bool:
        """Whether the connector has a process of its own, which says its tasks; those that it has go on meanwhile."""
        if planned.watch is None:
            self._end_watch(connector)
            return False
        if planned.lines and not _is_started(connector):
            return False  # it is paused, and so are the tasks that it had
        connector.planned = _of_type(connector.planned, planned)
        self._keep(connector)
        if _is_started(connector):
            connector.watch_attempt = planned.attempt
            is_again = isinstance(work.command, Restart)
            self._intended.append(Watch(connector.name, planned.attempt, planned.watch, is_again))
        return True

    def _end_watch(self, connector: _Connector) -> None:
        if connector.watch_attempt:
            connector.watch_attempt = 0
            self._intended.append(Watch(connector.name, 0, None))

    def _mend(self, connector: _Connector, planned: Planned, failure: str) -> None:
        """Look at a connector that has failed again later, if its policy says so."""
        restarts = (planned.restarts or connector.planned.restarts) if _is_started(connector) else None
        longest_ms = connector.retry.failed(planned.failure_kind, restarts)
        if longest_ms is not None:
            due = Due(connector.name, connector.generation, planned.attempt)
            self._intended.append(Remind(longest_ms, due, failure))

    def _run(self, work: _Work, connector: _Connector, lines: tuple[LineSpec, ...]) -> None:
        self._generations += 1
        connector.generation = work.generation = self._generations
        connector.has_tasks = bool(lines)
        is_held = connector.target == TargetState.PAUSED
        self._intended.append(Run(connector.name, self._generations, lines, is_held=is_held))

    def _settled(self, work: _Work) -> None:
        """What the command asked for is done, or can be done now."""
        if isinstance(work.command, AlterOffsets):
            self._alter(work, self._connectors[work.command.name], work.command)
            return
        if isinstance(work.command, Delete):
            del self._connectors[work.command.name]
            self._intended.append(Drop(work.command.name))
        self._reply(work, work.answer)

    def _aim(self, work: _Work, connector: _Connector, target: TargetState) -> None:
        before, connector.target = connector.target, target
        self._keep(connector)
        if connector.state != State.FAILED:
            connector.state = _state_of(target)
        if target != TargetState.STARTED:
            self._end_watch(connector)
        if target == TargetState.STOPPED:
            self._run(work, connector, ())
            return
        self._reply(work, None)
        work.ticket = NO_TICKET  # it is answered before it is done, as in Kafka Connect
        if target == TargetState.PAUSED:
            if connector.has_tasks:
                self._intended.append(Hold(connector.name, is_held=True))
        elif before != TargetState.STARTED or connector.state == State.FAILED:
            if connector.has_tasks:
                self._intended.append(Hold(connector.name, is_held=False))
            self._plan(work, connector.config, wants_tasks=True)

    def _make_way(self, work: _Work, connector: _Connector) -> None:
        """Offsets are set under nobody's feet: no line may run, nor be on its way to its end."""
        if connector.target == TargetState.STOPPED and not connector.has_tasks:
            self._run(work, connector, ())
            return
        self._refuse(
            work,
            400,
            "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the "
            f"specified connector by issuing a 'PUT' request to the '/connectors/{connector.name}/stop' endpoint",
        )

    def _alter(self, work: _Work, connector: _Connector, command: AlterOffsets) -> None:
        self._attempts += 1
        work.attempt = self._attempts
        self._intended.append(Alter(work.attempt, connector.name, connector.config, command.offsets))

    def _restart(self, work: _Work, connector: _Connector, command: Restart) -> None:
        has_connector = not command.only_failed or connector.state == State.FAILED
        tasks: frozenset[int] = frozenset()
        if command.with_tasks and connector.has_tasks:
            there = frozenset(range(len(connector.planned.task_configs)))
            tasks = command.failed_tasks & there if command.only_failed else there
        if not command.is_plain:
            self._reply(work, Restarting(connector.name, has_connector, tasks))
            work.ticket = NO_TICKET
        if tasks:
            self._intended.append(Again(connector.name, tasks))
        if has_connector:
            self._plan(work, connector.config, wants_tasks=_is_started(connector))

    def _restart_task(self, work: _Work, connector: _Connector, task: int) -> None:
        if not connector.has_tasks or not 0 <= task < len(connector.planned.task_configs):
            self._refuse(work, 404, f"Unknown task: {connector.name}-{task}")
            return
        self._intended.append(Again(connector.name, frozenset({task})))
        self._reply(work, None)

    def _keep(self, connector: _Connector) -> None:
        has_tasks = connector.has_tasks and connector.target != TargetState.STOPPED
        known = connector.planned
        task_configs = known.task_configs if has_tasks else ()
        kept = Kept(
            connector.name, connector.config, connector.target, has_tasks, known.type, known.version, task_configs
        )
        self._intended.append(Keep(kept))

    def _refuse(self, work: _Work, status: int, message: str) -> None:
        self._reply(work, Refusal(status, message))

    def _reply(self, work: _Work, answer: Info | Restarting | Message | Refusal | None) -> None:
        if work.ticket != NO_TICKET:
            self._intended.append(Reply(work.ticket, answer))


def _is_started(connector: _Connector) -> bool:
    return connector.target == TargetState.STARTED


def _state_of(target: TargetState) -> State:
    return State.RUNNING if target == TargetState.STARTED else State(target.value)


def _of_type(planned: Planned, fresh: Planned) -> Planned:
    """The same plan, with what is known of the plugin now."""
    if fresh.type == "unknown":
        return planned
    return Planned(
        planned.attempt,
        type=fresh.type,
        version=fresh.version,
        task_configs=planned.task_configs,
        lines=planned.lines,
        restarts=planned.restarts,
    )
