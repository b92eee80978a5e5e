"""What all commands that ask a worker have in common: options, the client they get, output, exit codes.

    @asks_worker
    def topics(session: Session, name: str, *, reset: bool = False) -> ExitCode: ...

becomes a command with `--url`, `--json` and the others beside its own options. Each option has a variable, so that a
shell, a container or a unit says it once.

Used by: engine.commands.
Not here: HTTP (client.py), single commands.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from engine.api.errors import ConfigError, ConnectError, Problem, UnreachableError
from engine.commands.tables import table
from engine.exits import ExitCode, told

if TYPE_CHECKING:
    from engine.commands.client import Client

__all__ = ["PANEL", "AsJson", "Session", "asks_worker", "code_of", "leave"]

#: Where `--help` lists these commands.
PANEL = "A worker that runs (over REST)"
_PANEL = "The worker"
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines, on standard output.")]
_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "url": (
        Annotated[
            str,
            typer.Option(
                envvar="MILLRACE_URL", metavar="URL", help="Where its REST interface is.", rich_help_panel=_PANEL
            ),
        ],
        "http://localhost:8083",
    ),
    "user": (
        Annotated[str, typer.Option(envvar="MILLRACE_USER", help="For basic authentication.", rich_help_panel=_PANEL)],
        "",
    ),
    "password_file": (
        Annotated[
            Path | None,
            typer.Option(
                envvar="MILLRACE_PASSWORD_FILE",
                help="Its first line is the password; or the variable MILLRACE_PASSWORD is.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "ca": (
        Annotated[
            Path | None,
            typer.Option(
                envvar="MILLRACE_CA", help="PEM file of who has signed its certificate.", rich_help_panel=_PANEL
            ),
        ],
        None,
    ),
    "cert": (
        Annotated[
            Path | None,
            typer.Option(envvar="MILLRACE_CERT", help="PEM file of your own certificate.", rich_help_panel=_PANEL),
        ],
        None,
    ),
    "key": (
        Annotated[
            Path | None,
            typer.Option(envvar="MILLRACE_KEY", help="PEM file of its key.", rich_help_panel=_PANEL),
        ],
        None,
    ),
    "insecure": (
        Annotated[
            bool, typer.Option("--insecure", help="Take any certificate of the worker's.", rich_help_panel=_PANEL)
        ],
        False,
    ),
    "json": (AsJson, False),
}


class Session:
    """One command's talk with one worker."""

    def __init__(self, client: Client, *, prints_json: bool) -> None:
        self.client = client
        self.prints_json = prints_json

    def show(self, document: Any, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print the document for machines, or the table for people."""
        if self.prints_json:
            self.print_json(document)
        else:
            print(table(head, list(rows)))

    def say(self, text: str) -> None:
        """Tell a person what was done; machines look at the exit code."""
        if not self.prints_json:
            print(text)

    def print_json(self, document: Any) -> None:
        """One JSON document on standard output."""
        print(json.dumps(document, indent=2, ensure_ascii=False))

    def each(self, names: Sequence[str], act: Callable[[str], str]) -> ExitCode:
        """Do it with each; one that is refused does not keep the others from it. act: returns what was done."""
        done, refused = [], {}
        for name in names:
            try:
                self.say(act(name))
                done.append(name)
            except ConnectError as error:
                if isinstance(error, UnreachableError):
                    raise
                refused[name] = str(error)
                print(f"millrace: {name}: {error}", file=sys.stderr)
        if self.prints_json:
            self.print_json({"done": done, "refused": refused})
        return ExitCode.FAILED if refused else ExitCode.OK


def asks_worker(act: Callable[..., ExitCode]) -> Callable[..., None]:
    """A command of typer's out of a function whose first parameter is its Session."""
    given = list(inspect.signature(act).parameters.values())[1:]
    hints = get_type_hints(act, include_extras=True)
    own = [parameter.replace(annotation=hints[parameter.name]) for parameter in given]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _OPTIONS.items()
    ]

    def command(**values: Any) -> None:
        options = {name: values.pop(name) for name in _OPTIONS}
        leave(lambda: _run(options, lambda session: act(session, **values)))

    functools.update_wrapper(command, act)
    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *common]}
    return command


def leave(act: Callable[[], ExitCode]) -> None:
    """Do it, and end the command with its code."""
    raise typer.Exit(int(code_of(act)))


def code_of(act: Callable[[], ExitCode]) -> ExitCode:
    """Do it; what is wrong becomes a message on standard error and a code."""
    try:
        return act()
    except ConnectError as error:
        return told(error)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception:  # noqa: BLE001  a process's main: it becomes an exit code
        traceback.print_exc()
        return ExitCode.BUG


def _run(options: Mapping[str, Any], act: Callable[[Session], ExitCode]) -> ExitCode:
    from engine.commands.client import Access, Client

    access = Access(
        url=options["url"],
        user=options["user"],
        password=_password(options["password_file"]),
        ca=options["ca"],
        certificate=options["cert"],
        key=options["key"],
        is_insecure=options["insecure"],
    )
    client = Client(access)
    try:
        return act(Session(client, prints_json=options["json"]))
    finally:
        client.close()


def _password(file: Path | None) -> str:
    """Raises ConfigError."""
    if file is None:
        return os.environ.get("MILLRACE_PASSWORD", "")
    try:
        return file.read_text().partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        text = f"--password-file {file}: {getattr(error, 'strerror', '') or error}; expected a file with the password"
        raise ConfigError([Problem("--password-file", text)]) from error
