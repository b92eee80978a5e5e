"""Small sentences and acts that all readers of configuration share.

Used by: the readers of this folder, engine.plan, engine.plugins.catalog.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from engine.api.errors import ConfigError, Problem

__all__ = ["collect", "did_you_mean", "once", "place", "raise_all"]

Answer = TypeVar("Answer")

_CLOSE_ENOUGH = 0.75


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest of the known names; nothing when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=_CLOSE_ENOUGH)
    return f'; did you mean "{near[0]}"?' if near else ""


def place(problems: Iterable[Problem], *, connector: str = "", file: str = "") -> list[Problem]:
    """The same problems, each with the connector and file it does not name yet."""
    return [
        msgspec.structs.replace(problem, connector=problem.connector or connector, file=problem.file or file)
        for problem in problems
    ]


def once(problems: Iterable[Problem], *, of_all: tuple[str, ...]) -> list[Problem]:
    """Each problem once: of two keys that contradict each other both are told with the same words.

    of_all: how keys of the worker begin that each connector reads; what the worker has told of them it does not repeat.
    """
    told = {(one.file, one.connector, one.message): one for one in problems}
    return [
        one
        for one in told.values()
        if not one.connector or not one.key.startswith(of_all) or (one.file, "", one.message) not in told
    ]


def collect(problems: list[Problem], read: Callable[..., Answer], *arguments: object) -> Answer | None:
    """What `read` answers; or None, and its problems are added to the others'."""
    try:
        return read(*arguments)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def raise_all(problems: Sequence[Problem]) -> None:
    """Raise ConfigError with all of them; nothing happens when there are none."""
    if problems:
        raise ConfigError(problems)
