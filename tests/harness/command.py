"""A command as it is typed, in this process: its exit code and what it prints.

Used by: tests.unit.commands, tests.kafka.test_commands.
"""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import typer
from msgspec import Struct

from engine import command_line

__all__ = ["Done", "run"]


class Done(Struct, frozen=True):
    """How a command has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it has printed, which must be one document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """What it has printed, line by line."""
        return self.out.splitlines()


def run(*arguments: str, environment: Mapping[str, str] | None = None, answers: str = "") -> Done:
    """Run `millrace` with these; none of the variables that are its own comes from whoever runs the tests."""
    out, err = io.StringIO(), io.StringIO()
    with _variables(environment or {}), _input(answers), redirect_stdout(out), redirect_stderr(err):
        try:
            _command().main(list(arguments), prog_name="millrace")
        except SystemExit as left:
            return Done(int(left.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command leaves by an exit code")


@functools.cache
def _command() -> Any:
    # Made once: out of its definition it takes longer than what most tests do with it.
    return typer.main.get_command(command_line.app)


@contextmanager
def _variables(given: Mapping[str, str]) -> Iterator[None]:
    # Those alone that must be: a process whose variables have all moved has no room for its title any more.
    before = {name: value for name, value in os.environ.items() if name.startswith("MILLRACE_") or name in given}
    _replace(before, given)
    try:
        yield
    finally:
        _replace(given, before)


def _replace(old: Iterable[str], new: Mapping[str, str]) -> None:
    for name in old:
        del os.environ[name]
    os.environ.update(new)


@contextmanager
def _input(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before
