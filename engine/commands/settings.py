"""Commands for what a connector or a worker has: configuration, offsets, topics, loggers, plugins.

Used by: engine.command_line.
Not here: connectors as a whole (connectors.py), files of them (apply.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.api.config import HIDDEN
from engine.api.errors import ConfigError, NotFoundError, Problem
from engine.commands.secrets import masked, secret_keys
from engine.commands.session import PANEL, Session, asks_worker
from engine.exits import ExitCode

__all__ = ["add_plugins_to", "add_to"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="A connector's name.")]


def add_to(app: typer.Typer) -> None:
    """Let the command line have these."""
    for act in (config, offsets, topics, loggers):
        app.command(rich_help_panel=PANEL)(asks_worker(act))


def add_plugins_to(app: typer.Typer) -> None:
    """Let `millrace plugins` have these."""
    app.command("list")(asks_worker(list_of_worker))
    app.command("keys")(asks_worker(keys))


def config(
    session: Session,
    name: Name,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE...]", help="Keys to be set; the others stay.")
    ] = None,
    *,
    unset: Annotated[list[str] | None, typer.Option("--unset", metavar="KEY", help="A key to be taken away.")] = None,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print values of secret keys, too.")] = False,
) -> ExitCode:
    """Show a connector's configuration, or change keys of it; tasks that the change concerns start again."""
    patch: dict[str, str | None] = dict.fromkeys(unset or [])
    patch |= _pairs(changes or [])
    before = session.client.ask("GET", "connectors", name, "config")
    secrets = frozenset() if show_secrets else secret_keys(session.client, [before, patch])
    if not patch:
        shown = masked(before, secrets)
        session.show(shown, ("KEY", "VALUE"), sorted(shown.items()))
        return ExitCode.OK
    missing = [key for key, value in patch.items() if value is None and key not in before]
    if missing:
        raise NotFoundError(f"{name}: no key {', '.join(missing)} to be taken away")
    after = session.client.ask("PATCH", "connectors", name, "config", body=patch)["config"]
    changed = {key: after.get(key) for key in patch if after.get(key) != before.get(key)}
    if session.prints_json:
        session.print_json(masked(after, secrets))
    elif not changed:
        session.say(f"{name}: it was so already")
    for key, value in sorted(changed.items()):
        told = HIDDEN if key in secrets else value
        session.say(f"{name}: {key} = {told}" if value is not None else f"{name}: {key} is taken away")
    return ExitCode.OK


def offsets(
    session: Session,
    name: Name,
    *,
    reset: Annotated[bool, typer.Option("--reset", help="Forget all of them; the connector must be stopped.")] = False,
    change: Annotated[
        Path | None,
        typer.Option(
            "--set",
            metavar="FILE",
            help="Set those of a JSON file as --json prints them, '-': standard input; null forgets one. "
            "The connector must be stopped.",
        ),
    ] = None,
) -> ExitCode:
    """Show how far a connector is, forget it, or set it."""
    if reset and change is not None:
        raise ConfigError([Problem("--reset", "expected --reset or --set, not both")])
    if reset:
        answer = session.client.ask("DELETE", "connectors", name, "offsets")
    elif change is not None:
        answer = session.client.ask("PATCH", "connectors", name, "offsets", body=_document(change))
    else:
        found = session.client.ask("GET", "connectors", name, "offsets")
        session.show(
            found,
            ("PARTITION", "OFFSET"),
            [(_flat(one["partition"]), _flat(one["offset"])) for one in found["offsets"]],
        )
        return ExitCode.OK
    session.show(answer, ("ANSWER",), [(answer["message"],)])
    return ExitCode.OK


def topics(
    session: Session,
    name: Name,
    *,
    reset: Annotated[bool, typer.Option("--reset", help="Begin to count them anew.")] = False,
) -> ExitCode:
    """Show the topics that a connector has used."""
    if reset:
        session.client.ask("PUT", "connectors", name, "topics", "reset")
        session.say(f"{name}: its topics are counted anew")
        return ExitCode.OK
    found = session.client.ask("GET", "connectors", name, "topics")
    session.show(found, ("TOPIC",), [(topic,) for topic in sorted(found.get(name, {}).get("topics", ()))])
    return ExitCode.OK


def loggers(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[LOGGER]", help="Of this one alone; `root` is all.")] = None,
    level: Annotated[
        str | None, typer.Argument(metavar="[LEVEL]", help="Let it log from here on: ERROR, WARN, INFO, DEBUG, TRACE.")
    ] = None,
    *,
    cluster: Annotated[bool, typer.Option("--cluster", help="Change it in all workers of the cluster.")] = False,
) -> ExitCode:
    """Show the levels of loggers, or change one while the worker runs."""
    if name is not None and level is not None:
        scope = "cluster" if cluster else "worker"
        changed = session.client.ask("PUT", "admin", "loggers", name, body={"level": level.upper()}, scope=scope)
        session.show(changed or [], ("CHANGED",), [(one,) for one in changed or [name]])
        return ExitCode.OK
    if name is None:
        found = session.client.ask("GET", "admin", "loggers")
    else:
        found = {name: session.client.ask("GET", "admin", "loggers", name)}
    session.show(found, ("LOGGER", "LEVEL"), [(one, told["level"]) for one, told in sorted(found.items())])
    return ExitCode.OK


def list_of_worker(session: Session) -> ExitCode:
    """List the plugins of a worker that runs."""
    found = session.client.ask("GET", "connector-plugins", connectorsOnly="false")
    rows = [(one["type"], one["class"], one.get("version") or "-") for one in found]
    session.show(found, ("TYPE", "CLASS", "VERSION"), rows)
    return ExitCode.OK


def keys(
    session: Session, plugin: Annotated[str, typer.Argument(metavar="PLUGIN", help="Its class, or its short name.")]
) -> ExitCode:
    """List the keys that a plugin of a worker takes."""
    found = session.client.ask("GET", "connector-plugins", plugin, "config")
    session.show(
        found,
        ("KEY", "TYPE", "DEFAULT", "IMPORTANCE", "WHAT IT IS"),
        [
            (
                one["name"],
                one["type"],
                "(required)" if one["required"] else one["default_value"] or "-",
                one["importance"],
                one["documentation"] or "-",
            )
            for one in found
        ],
    )
    return ExitCode.OK


def _pairs(texts: list[str]) -> dict[str, str]:
    """Raises ConfigError for a text that is no pair."""
    bad = [text for text in texts if "=" not in text]
    if bad:
        raise ConfigError([Problem("KEY=VALUE", f"{text}: expected KEY=VALUE") for text in bad])
    return {key.strip(): value for key, _, value in (text.partition("=") for text in texts)}


def _flat(member: Any) -> str:
    """A partition or an offset in a cell."""
    if not isinstance(member, dict):
        return "-" if member is None else str(member)
    return ", ".join(f"{key}={value}" for key, value in member.items()) or "-"


def _document(path: Path) -> Any:
    """Raises ConfigError."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        return json.loads(text)
    except (OSError, ValueError) as error:
        expected = '{"offsets": [{"partition": {...}, "offset": {...}}]}'
        raise ConfigError([Problem("--set", f"--set {path}: {error}; expected JSON: {expected}")]) from error
