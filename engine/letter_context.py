"""Headers of a dead letter: what happened to its record, as text.

Used by: engine.task, engine.pump.refusals.
Not here: the letters, and where they go.
Source: names and order of those under `__connect.errors.` are Kafka Connect's (its reference, section 9.6).
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from engine import logs
from engine.api.errors import ConnectError, DataError
from engine.config.line import LineSpec
from engine.mending import kind_of
from engine.shm.frame import Headers

__all__ = ["OURS", "context_of", "name_of"]

PREFIX = "__connect.errors."
#: Of headers that Kafka Connect does not have.
OURS = "__millrace.errors."
#: Of a stack of calls, its end; a record's headers are not to become larger than the record.
STACK_CHARACTERS_MAX = 8 * 1024
MESSAGE_CHARACTERS_MAX = 4 * 1024


def context_of(
    spec: LineSpec, error: Exception, at: tuple[str, Any], place: Mapping[str, str], attempts: int = 1
) -> Headers:
    """What happened, secrets hidden.

    at: the stage, as Kafka Connect names it, and the class that was at work; None: none.
    place: where the record is, by the last word of each header's name. attempts: how often it was tried.
    """
    stage, plugin = at
    message = _clean(spec, error.whole() if isinstance(error, DataError) else str(error))
    stack = _clean(spec, "".join(traceback.format_exception(error)))
    told = {
        **place,
        "connector.name": spec.connector,
        "task.id": str(spec.task),
        "stage": stage,
        "class.name": "" if plugin is None else name_of(plugin),
        "exception.class.name": name_of(error),
        "exception.message": message[:MESSAGE_CHARACTERS_MAX] or None,
        "exception.stacktrace": stack[-STACK_CHARACTERS_MAX:],
    }
    code = (error.code if isinstance(error, ConnectError) else "") or kind_of(error).label
    return [
        *((PREFIX + name, None if text is None else text.encode(errors="replace")) for name, text in told.items()),
        (f"{OURS}code", code.encode()),
        (f"{OURS}attempts", b"%d" % attempts),
    ]


def _clean(spec: LineSpec, text: str) -> str:
    return logs.masked(text, spec.secrets)


def name_of(plugin: Any) -> str:
    """A plugin's class, as errors name it."""
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return f"{kind.__module__}.{kind.__qualname__}"
