"""What files declare, beside what a worker has: the changes that would make the one the other. Pure functions.

    declared ──┐
               ├──► changes ──► create, update, delete; what is the same is no change
    present  ──┘

A file is all of a connector's configuration: a key that it does not have is taken away. Whether a connector pauses or
is stopped is nobody's declaration: `initial_state` counts for one that is made.

Used by: engine.commands.apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from engine.api.config import HIDDEN
from engine.config.files import ConnectorFile

__all__ = ["Change", "changes", "described", "diff"]

_SIGNS = {"create": "+", "update": "~", "delete": "-"}
_WORDS = {"create": "to be made", "update": "to be changed", "delete": "to be deleted"}


class Change(Struct, frozen=True):
    """What is to be done with one connector."""

    action: str  # create, update or delete
    name: str
    before: Mapping[str, str]  # empty: it is to be made
    after: Mapping[str, str]  # empty: it is to be deleted
    file: str = ""
    initial_state: str = "RUNNING"

    @property
    def keys(self) -> list[str]:
        """Those whose values differ."""
        both = sorted({*self.before, *self.after})
        return [key for key in both if self.before.get(key) != self.after.get(key)]


def changes(
    declared: Iterable[ConnectorFile], present: Mapping[str, Mapping[str, str]], *, deletes_missing: bool
) -> list[Change]:
    """In the order in which they are made: by name, deletions last. present: configurations by name."""
    wanted = {one.name: one for one in declared}
    found = []
    for name, one in sorted(wanted.items()):
        after = {**one.properties, "name": name}
        if name not in present:
            found.append(Change("create", name, {}, after, one.file, one.initial_state))
        elif dict(present[name]) != after:
            found.append(Change("update", name, present[name], after, one.file))
    if deletes_missing:
        found += [Change("delete", name, present[name], {}) for name in sorted(present) if name not in wanted]
    return found


def diff(found: Iterable[Change], secrets: frozenset[str]) -> str:
    """The changes as people read them; values of secret keys are hidden."""
    lines = []
    for change in found:
        place = f" ({change.file})" if change.file else ""
        lines.append(f"{_SIGNS[change.action]} {change.name} {_WORDS[change.action]}{place}")
        if change.action == "delete":
            continue
        if change.initial_state != "RUNNING":
            lines.append(f"    initial_state: {change.initial_state}")
        for key in change.keys:
            before, after = change.before.get(key), change.after.get(key)
            if before is not None and after is not None and key in secrets:
                lines.append(f"    ~ {key} = {HIDDEN}, another one")
                continue
            if before is not None:
                lines.append(f"    - {key} = {HIDDEN if key in secrets else before}")
            if after is not None:
                lines.append(f"    + {key} = {HIDDEN if key in secrets else after}")
    return "\n".join(lines)


def described(change: Change, secrets: frozenset[str]) -> dict[str, Any]:
    """One change for machines."""

    def shown(values: Mapping[str, str], key: str) -> str | None:
        return None if key not in values else HIDDEN if key in secrets else values[key]

    keys = {key: {"before": shown(change.before, key), "after": shown(change.after, key)} for key in change.keys}
    return {"action": change.action, "name": change.name, "file": change.file or None, "keys": keys}
