"""`millrace apply` and `create`: connectors as files say them.

    files ──► declared ──┐
    worker ─► present  ──┴─► changes ──► all asked of the worker beforehand ──► shown ──► --yes, or asked ──► made

Nothing is changed while any file, or any configuration in the worker's eyes, is wrong.

Used by: engine.command_line.
Not here: what differs (declared.py), how files are read (engine.config.files).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.api.errors import ConfigError, ConnectError, Problem, UnreachableError
from engine.commands.declared import Change, changes, described, diff
from engine.commands.errors import RefusedError
from engine.commands.secrets import secret_keys
from engine.commands.session import PANEL, Session, asks_worker
from engine.config.files import ConnectorFile, load_connectors
from engine.exits import ExitCode

if TYPE_CHECKING:
    from engine.commands.client import Client

__all__ = ["add_to"]

Places = Annotated[
    list[Path],
    typer.Argument(metavar="DIR|FILE...", help="Files of connectors (.json, .properties, .toml), or folders of them."),
]
_KINDS = (".json", ".properties", ".toml")
#: A worker without this question is asked by doing it.
_CANNOT_SAY = (404, 405)


def add_to(app: typer.Typer) -> None:
    """Let the command line have these."""
    for act in (create, apply):
        app.command(rich_help_panel=PANEL)(asks_worker(act))


def create(
    session: Session, files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="As for `apply`.")]
) -> ExitCode:
    """Make the connectors of files; one that is there already is refused."""
    declared = {one.name: one for one in _declared(files)}
    secret_keys(session.client, [one.properties for one in declared.values()])

    def act(name: str) -> str:
        one = declared[name]
        _make(session.client, changes([one], {}, deletes_missing=False)[0])
        return f"{name}: made"

    return session.each(sorted(declared), act)


def apply(
    session: Session,
    places: Places,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make the changes without being asked.")] = False,
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="Delete connectors of the worker that no file declares.")
    ] = False,
) -> ExitCode:
    """Let a worker have the connectors that files declare: shows what would change, then asks.

    Ends with 0 when all is as declared, with 7 when there are changes and nobody has said yes.
    """
    declared = _declared(places)
    found = session.client.ask("GET", "connectors", expand="info")
    present = {name: one["info"]["config"] for name, one in found.items()}
    planned = changes(declared, present, deletes_missing=delete_missing)
    secrets = secret_keys(session.client, [one for change in planned for one in (change.before, change.after)])
    problems = [problem for change in planned if change.after for problem in _problems(session.client, change)]
    if problems:
        raise ConfigError([Problem("", session.client.hidden(text)) for text in problems])
    session.say(diff(planned, secrets) or f"all {len(declared)} connectors are as declared")
    if not planned:
        return _answer(session, planned, secrets, {}, is_applied=True)
    if not yes and not _is_confirmed(session, len(planned)):
        return _answer(session, planned, secrets, {}, is_applied=False)
    refused = _carry_out(session, planned)
    return _answer(session, planned, secrets, refused, is_applied=True)


def _declared(places: Sequence[Path]) -> Sequence[ConnectorFile]:
    """Raises ConfigError with all that is wrong with all files."""
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            files += sorted(path for path in place.iterdir() if path.suffix in _KINDS and not path.name.startswith("."))
        else:
            files.append(place)
    if not files:
        folders = ", ".join(map(str, places))
        raise ConfigError([Problem("", f"{folders}: no file of a connector; expected {', '.join(_KINDS)}")])
    connectors, worker_files = load_connectors(files)
    for file in worker_files:
        print(f"millrace: {file}: what it says of the worker is not applied: a worker reads it itself", file=sys.stderr)
    return connectors


def _problems(client: Client, change: Change) -> list[str]:
    """What the worker finds wrong with a configuration, before anything is changed."""
    plugin = change.after.get("connector.class")
    if not plugin:
        return [f"{change.file}: connector {change.name}: connector.class is missing"]
    try:
        told = client.ask("PUT", "connector-plugins", plugin, "config", "validate", body=dict(change.after))
    except RefusedError as error:
        if error.status in _CANNOT_SAY:
            return []
        return [f"{change.file}: connector {change.name}: {error}"]
    values = [one.get("value") or {} for one in told["configs"]]
    texts = [str(text) for value in values for text in value.get("errors", ())]
    return [f"{change.file}: connector {change.name}: {text}" for text in dict.fromkeys(texts)]


def _is_confirmed(session: Session, count: int) -> bool:
    if session.prints_json or not sys.stdin.isatty():
        print("millrace: nothing was changed; --yes makes the changes", file=sys.stderr)
        return False
    return typer.confirm(f"Make {'this change' if count == 1 else f'these {count} changes'}?")


def _carry_out(session: Session, planned: Sequence[Change]) -> dict[str, str]:
    """Make all changes that can be made; returns why others were refused, by name."""
    refused = {}
    for change in planned:
        try:
            _make(session.client, change)
        except UnreachableError:
            raise
        except ConnectError as error:
            refused[change.name] = str(error)
            print(f"millrace: {change.name}: {refused[change.name]}", file=sys.stderr)
        else:
            session.say(f"{change.name}: {change.action}d")
    return refused


def _make(client: Client, change: Change) -> None:
    if change.action == "delete":
        client.ask("DELETE", "connectors", change.name)
    elif change.action == "update":
        client.ask("PUT", "connectors", change.name, "config", body=dict(change.after))
    else:
        body: dict[str, Any] = {"name": change.name, "config": dict(change.after)}
        if change.initial_state != "RUNNING":
            body["initial_state"] = change.initial_state
        client.ask("POST", "connectors", body=body)


def _answer(
    session: Session,
    planned: Sequence[Change],
    secrets: frozenset[str],
    refused: Mapping[str, str],
    *,
    is_applied: bool,
) -> ExitCode:
    if session.prints_json:
        told = [described(change, secrets) for change in planned]
        session.print_json({"applied": is_applied, "changes": told, "refused": refused})
    if refused:
        return ExitCode.FAILED
    return ExitCode.OK if is_applied else ExitCode.DIFFERS
