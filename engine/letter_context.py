"""Headers of a dead letter: what happened to its record, as text.

Used by: engine.task, engine.pump.refusals, engine.commands.dead_letters (reads them).
Not here: the letters, and where they go.
Source: names and order of those under `__connect.errors.` are Kafka Connect's (its reference, section 9.6).
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from engine import logs
from engine.api.errors import ConnectError, DataError
from engine.config.line import LineSpec
from engine.mending import kind_of
from engine.shm.frame import Headers

__all__ = ["LEFT_OUT", "OURS", "PREFIX", "context_of", "name_of", "without_own"]

#: Of those of Kafka Connect.
PREFIX = "__connect.errors."
#: Of headers that Kafka Connect does not have.
OURS = "__millrace.errors."
#: Tells what of its record a letter does not have.
LEFT_OUT = f"{OURS}left.out"
#: Of a stack of calls, its end; a record's headers are not to become larger than the record.
STACK_CHARACTERS_MAX = 8 * 1024
MESSAGE_CHARACTERS_MAX = 4 * 1024
CODE_CHARACTERS_MAX = 100


def context_of(
    spec: LineSpec,
    error: Exception,
    at: tuple[str, Any],
    place: Mapping[str, str],
    attempts: int = 1,
    ours: Mapping[str, str] = MappingProxyType({}),
) -> Headers:
    """What happened, secrets hidden.

    at: the stage, as Kafka Connect names it, and the class that was at work; None: none.
    place: where the record is, by the last word of each header's name. ours: what Kafka Connect does not tell.
    attempts: how often it was tried.
    """
    stage, plugin = at
    message = str(error.whole() if isinstance(error, DataError) else error)
    told = {
        **place,
        "connector.name": spec.connector,
        "task.id": str(spec.task),
        "stage": stage,
        "class.name": "" if plugin is None else name_of(plugin),
        "exception.class.name": name_of(error),
        "exception.message": _clean(spec, message)[:MESSAGE_CHARACTERS_MAX] or None,
        "exception.stacktrace": _clean(spec, "".join(traceback.format_exception(error)))[-STACK_CHARACTERS_MAX:],
    }
    code = (isinstance(error, ConnectError) and error.code) or kind_of(error).label
    more = {"code": str(code)[:CODE_CHARACTERS_MAX], "attempts": str(attempts), **ours}
    named = [*((PREFIX + name, text) for name, text in told.items()), *((OURS + name, more[name]) for name in more)]
    return [(name, None if text is None else _clean(spec, text).encode(errors="replace")) for name, text in named]


def without_own(headers: Headers) -> Headers:
    """Of a letter's headers, those that tell what happened."""
    return [one for one in headers if one[0].startswith((PREFIX, OURS))]


def _clean(spec: LineSpec, text: str) -> str:
    return logs.masked(text, spec.secrets)


def name_of(plugin: Any) -> str:
    """A plugin's class, as errors name it."""
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return f"{kind.__module__}.{kind.__qualname__}"
