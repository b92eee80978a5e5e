"""docs/rest.md out of the routes: `python -m engine.control.rest.document > docs/rest.md`.

Used by: whoever changes a route; a test holds the page fresh.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from engine.control.rest.routes import ADMIN, PUBLIC

__all__ = ["page"]

HEAD = """# REST

Printed by `python -m engine.control.rest.document` from the routes; do not edit it by hand.

`millrace standalone` serves Kafka Connect's REST interface where `listeners` says, http://:8083 by default, so that clients and tools of
Kafka Connect go on working. Bodies are JSON; an error is `{"error_code": 404, "message": "..."}`.

What a connector is asked to be, and what it was made of, comes back when the worker is started again
(`standalone.connectors.keep`); a connector's file on the command line wins over what was kept, and the log names the keys that differ.

| method | path | what it does |
|---|---|---|
"""
TAIL = """
`/livez`, `/readyz`, `/metrics` and `/openapi.json` are not Kafka Connect's; the last tells of every route its bodies, queries and statuses, for
programs. A name with odd characters is percent-encoded, `/` as `%2F`; a slash at the end of a path says nothing. OPTIONS tells the methods of a path.

| status | from any route |
|---|---|
| 400 | The path is none, or what was asked for is not right. |
| 401, 403 | Nobody has said who asks, or who asks may not: `rest.access.file`, [who may ask](operations.md#rest). |
| 404, 405 | There is no such thing, or not by this method. |
| 406, 415 | The client takes no JSON, or sends something else. |
| 408, 413, 431 | The request is too slow, its body or its head too large. |
| 409 | It is there already, or not in a state for this. |
| 500 | The body is no JSON, or has unknown or nested members: Kafka Connect's status for it. Or it took more than 90 s, or there is a mistake of ours in the log. |
| 503 | Too many connections; come back later. |

Beside its members a task's status has `millrace`:

| member | meaning |
|---|---|
| `restarts` | How often its processes were started again since the worker began. |
| `last_kind` | Why its last life ended badly, by what helps: `outside`, `refused`, `config`, `record`, `final`, `error`, `crash`, `fenced` ([what each means](operations.md#restarts)); null: none has. |
| `last_cause` | The same in words, without secrets. |
| `next_attempt_ms` | In how many milliseconds it starts again; null: no start is due. |
| `circuit` | `closed`; `open`: it has failed too often, and is tried again later; `half-open`: it is on trial. |
| `partitions` | Of a sink's: how many it has now; a task with none is idle. |
| `stalled` | Only while it has work and does not go on ([more](operations.md#a-task-that-is-stalled)): `stage`, `process` (`task`, `pump` or `stage 0` ...), `reason`, `for_ms`, and `stack`, what the threads of that process are doing. |
| `waits` | Only while it waits for the world outside ([more](operations.md#a-task-that-waits)): `for`, `reason`, `for_ms`. |

"""
_OURS = ("HEAD",)


def page() -> str:
    """The page."""
    return HEAD + "".join(_rows()) + TAIL


def _rows() -> Iterator[str]:
    for route in (*PUBLIC, *ADMIN):
        (method,) = (name for name in sorted(route.methods or ()) if name not in _OURS)
        told = (route.endpoint.__doc__ or "").partition("\n")[0]
        yield f"| {method} | `{route.path}` | {told} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
