"""Commands for whole connectors: which there are, how they are, and what shall become of them.

Used by: engine.command_line.
Not here: their configurations and offsets (settings.py), files of connectors (apply.py).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from engine.api.errors import ConfigError, Problem
from engine.commands.secrets import masked, secret_keys
from engine.commands.session import PANEL, Session, asks_worker
from engine.exits import ExitCode
from engine.quantities import seconds_text

__all__ = ["add_to"]

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Names of connectors.")]
SomeNames = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of connectors.")]
All = Annotated[bool, typer.Option("--all", help="All connectors of the worker.")]
WATCH_SECONDS = 2.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"
_STATUS_HEAD = ("NAME", "TASK", "STATE", "WORKER", "REASON")
_REASON_CHARACTERS = 120


def add_to(app: typer.Typer) -> None:
    """Let the command line have these."""
    for act in (connectors, status, pause, resume, stop, restart, delete):
        app.command(rich_help_panel=PANEL)(asks_worker(act))


def connectors(session: Session) -> ExitCode:
    """List the worker's connectors, each with its state and how many of its tasks run."""
    found = session.client.ask("GET", "connectors", expand=["info", "status"])
    if session.prints_json:
        configs = [one["info"]["config"] for one in found.values()]
        secrets = secret_keys(session.client, configs)
        for one in found.values():
            one["info"]["config"] = masked(one["info"]["config"], secrets)
    session.show(
        found,
        ("NAME", "TYPE", "STATE", "TASKS", "CLASS"),
        (_summary(name, one) for name, one in sorted(found.items())),
    )
    return ExitCode.OK


def status(
    session: Session,
    names: Names = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")] = False,
) -> ExitCode:
    """Show connectors and their tasks; ends with 1 if any of them has failed. Without a name: of all of them."""
    while True:
        found = _statuses(session, names or [])
        if watch and not session.prints_json:
            sys.stdout.write(_HOME_AND_CLEAR if sys.stdout.isatty() else "")
        rows = [row for one in found for row in _status_rows(one)]
        session.show(found, _STATUS_HEAD, rows)
        if not watch:
            return ExitCode.FAILED if any("FAILED" in _states(one) for one in found) else ExitCode.OK
        sys.stdout.flush()
        time.sleep(WATCH_SECONDS)


def pause(session: Session, names: Names = None, *, all_of_them: All = False) -> ExitCode:
    """Let connectors take nothing new; their tasks stay."""
    return _put(session, _chosen(session, names, all_of_them=all_of_them), "pause", "pauses")


def resume(session: Session, names: Names = None, *, all_of_them: All = False) -> ExitCode:
    """Let connectors that pause or were stopped go on."""
    return _put(session, _chosen(session, names, all_of_them=all_of_them), "resume", "goes on")


def stop(session: Session, names: Names = None, *, all_of_them: All = False) -> ExitCode:
    """End the tasks of connectors, which stay; only then can offsets be changed."""
    return _put(session, _chosen(session, names, all_of_them=all_of_them), "stop", "stops")


def restart(
    session: Session,
    names: Names = None,
    *,
    all_of_them: All = False,
    task: Annotated[int | None, typer.Option("--task", min=0, help="This task alone, of one connector.")] = None,
    with_tasks: Annotated[bool, typer.Option("--with-tasks", help="The connector and all its tasks.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what has failed, of the connector and its tasks.")
    ] = False,
) -> ExitCode:
    """Start connectors again: each alone, with its tasks, or what of it has failed."""
    chosen = _chosen(session, names, all_of_them=all_of_them)
    if task is not None and (with_tasks or failed or len(chosen) != 1):
        raise ConfigError([Problem("--task", "--task goes with one name, and without --with-tasks and --failed")])

    def act(name: str) -> str:
        if task is not None:
            session.client.ask("POST", "connectors", name, "tasks", str(task), "restart")
            return f"{name}: task {task} starts again"
        if not with_tasks and not failed:
            session.client.ask("POST", "connectors", name, "restart")
            return f"{name}: starts again, its tasks go on"
        answer = session.client.ask(
            "POST", "connectors", name, "restart", includeTasks="true", onlyFailed=str(failed).lower()
        )
        again = [str(one["id"]) for one in (answer or {}).get("tasks", ()) if one["state"] == "RESTARTING"]
        tasks = f"tasks {', '.join(again)} start again" if again else "no task starts again"
        return f"{name}: {tasks}"

    return session.each(chosen, act)


def delete(session: Session, names: SomeNames) -> ExitCode:
    """End connectors and forget their configurations. Their offsets stay; `offsets NAME --reset` before drops them."""

    def act(name: str) -> str:
        session.client.ask("DELETE", "connectors", name)
        return f"{name}: deleted"

    return session.each(names, act)


def _put(session: Session, names: Sequence[str], verb: str, done: str) -> ExitCode:
    def act(name: str) -> str:
        session.client.ask("PUT", "connectors", name, verb)
        return f"{name}: {done}"

    return session.each(names, act)


def _chosen(session: Session, names: Sequence[str] | None, *, all_of_them: bool) -> list[str]:
    """Raises ConfigError unless the command line names some, or all, and not both."""
    if bool(names) == all_of_them:
        raise ConfigError([Problem("NAME", "expected names of connectors, or --all instead")])
    return list(names or sorted(session.client.ask("GET", "connectors")))


def _statuses(session: Session, names: Sequence[str]) -> list[dict[str, Any]]:
    if names:
        return [session.client.ask("GET", "connectors", name, "status") for name in names]
    found = session.client.ask("GET", "connectors", expand="status")
    return [one["status"] for _, one in sorted(found.items()) if "status" in one]


def _states(status: Mapping[str, Any]) -> list[str]:
    return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]


def _summary(name: str, one: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    info, status = one.get("info", {}), one.get("status", {})
    states = Counter(task["state"] for task in status.get("tasks", ()))
    total = sum(states.values())
    text = f"{states.pop('RUNNING', 0)}/{total}"
    rest = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    state = status.get("connector", {}).get("state", "-")
    return (
        name,
        info.get("type") or status.get("type", "-"),
        state,
        f"{text} ({rest})" if rest else text,
        info.get("config", {}).get("connector.class", "-"),
    )


def _status_rows(status: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    own = status["connector"]
    rows = [(status["name"], "-", own["state"], own["worker_id"], _reason(own))]
    rows += [
        (status["name"], str(task["id"]), task["state"], task["worker_id"], _reason(task)) for task in status["tasks"]
    ]
    return rows


def _reason(one: Mapping[str, Any]) -> str:
    """Why it has failed, does not go on, or was started again, in one line; all but the first is Millrace's alone."""
    more = {**one, **one.get("millrace", {})}
    text = str(one.get("trace") or "")
    for word, member in (("stalled: ", "stalled"), ("waits: ", "waits")):
        text = text or (word + more[member]["reason"] if more.get(member) else "")
    first = (text or str(more.get("last_cause") or "")).strip().partition("\n")[0]
    shown = first if len(first) <= _REASON_CHARACTERS else first[: _REASON_CHARACTERS - 3] + "..."
    next_ms = more.get("next_attempt_ms")
    return shown if next_ms is None else f"{shown} (again in {seconds_text(next_ms / 1000)})"
