"""Command lines that stand in documents and examples are taken, and what examples say of numbers is so."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.specifiers import SpecifierSet

from engine.command_line import app
from engine.config.rest_keys import RestKeys
from engine.exits import ExitCode
from tests.shape.test_documents import DOCUMENTS
from tests.shape.tree import ROOT

EXAMPLES = ROOT / "examples"
STEPS = runpy.run_path(str(EXAMPLES / "__main__.py"))["STEPS"]
#: A line of its own, as a prompt or a variable may begin it; a comment may end it.
TYPED = re.compile(r"^(?: {4}|\$ )?(?:\w+=\S+ )?(?:[\w./]+/)?millrace ([^`|]*?)(?: {2,}.*)?$", re.MULTILINE)
#: Of click, be it a package of its own or the copy that newer releases of typer have.
USAGE_ERROR = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
UNIT = EXAMPLES / "systemd" / "millrace.service"
DOCKERFILE = (EXAMPLES / "docker" / "Dockerfile").read_text()


def take(line: str) -> None:
    """Parse the arguments of `millrace` as it does, and run nothing. Raises USAGE_ERROR for what it refuses."""
    command: Any = typer.main.get_command(app)
    arguments = shlex.split(line)
    context = None
    while True:
        context = command.make_context(command.name, arguments, parent=context)
        if not hasattr(command, "resolve_command"):  # no group of commands
            return
        arguments = [*context._protected_args, *context.args]
        if not arguments:
            return
        _, command, arguments = command.resolve_command(context, arguments)


def test_what_no_command_takes_is_refused() -> None:
    for line in ("runs pipeline.toml", "run", "run --for-ever pipeline.toml", "dlq lists pipeline.toml"):
        with pytest.raises(USAGE_ERROR):
            take(line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_command_takes_every_line_that_a_document_has_for_it(document: Path) -> None:
    for line in TYPED.findall(document.read_text()):
        take(line)


@pytest.mark.parametrize("name", STEPS)
def test_what_is_run_of_an_example_stands_in_its_readme(name: str) -> None:
    typed = (EXAMPLES / name / "README.md").read_text()
    for step in STEPS[name]:
        assert f"\n    {step}\n" in typed
    assert re.search(rf"^    \.venv/bin/python examples .*\b{name}$", typed, re.MULTILINE)


def test_every_example_is_run_or_is_for_a_machine_of_its_own() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if (path / "README.md").exists()} == {*STEPS, "systemd", "docker"}


def test_the_unit_starts_what_there_is_and_knows_its_codes() -> None:
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys of systemd have capitals
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    (line,) = TYPED.findall(service["ExecStart"])
    take(line)
    assert int(service["RestartPreventExitStatus"]) == ExitCode.USAGE
    assert int(service["SuccessExitStatus"]) == ExitCode.TERMINATED
    socket = ConfigParser(interpolation=None)
    socket.read_string((EXAMPLES / "systemd" / "millrace.socket").read_text())
    assert socket["Socket"]["ListenStream"] == rest_port()


def test_the_container_starts_what_there_is_and_looks_where_it_answers() -> None:
    said = dict(re.findall(r"^(ENTRYPOINT|CMD|EXPOSE) (.+)$", DOCKERFILE, re.MULTILINE))
    program, *arguments = json.loads(said["ENTRYPOINT"]) + json.loads(said["CMD"])
    assert program == "millrace"
    take(shlex.join(arguments))
    assert said["EXPOSE"] == rest_port()
    (looked,) = re.findall(r"^HEALTHCHECK .*CMD (.+)$", DOCKERFILE, re.MULTILINE)
    *_, script = json.loads(looked)
    ast.parse(script)
    assert f"http://127.0.0.1:{rest_port()}/livez" in script
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (python,) = set(re.findall(r"^FROM python:([\d.]+)-slim", DOCKERFILE, re.MULTILINE))
    assert python in SpecifierSet(project["requires-python"])


def rest_port() -> str:
    """Of the REST interface, where nothing else is said."""
    (listener,) = RestKeys.parse({}).listeners
    return listener.rpartition(":")[2]
