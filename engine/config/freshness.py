"""For how long the values of config providers are good: a time that a provider gives them, and files that hold them.

    ${file:/run/secrets/db.properties:password}  ──►  the file as it was before it was read  ──►  looked at by control

Used by: engine.plan (asks), engine.control.changes (compares).
Not here: the values (providers.py), what happens when they are no longer good (engine.herder).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from engine.api.provider import ConfigProvider
from engine.config.providers import variables

__all__ = ["FileVersion", "Freshness", "freshness", "version_of"]

#: What is another when a file has been written, replaced, or made to lead elsewhere; None: it is not there.
FileVersion = tuple[int, int, int] | None


class Freshness(Struct, frozen=True):
    """When values have to be asked for again; never, as it stands."""

    ttl_ms: int | None = None
    files: Mapping[str, FileVersion] = {}


def freshness(properties: Mapping[str, str], providers: Mapping[str, ConfigProvider]) -> Freshness:
    """Of the variables in these properties. Call it before their values are asked for, so that no change is missed."""
    times: list[int] = []
    files: set[str] = set()
    for (name, path), keys in variables(properties, providers).items():
        provider = providers[name]
        ttl_ms = provider.ttl_ms(path)
        times += [] if ttl_ms is None else [ttl_ms]
        files |= set(provider.files(path, list(keys)))
    return Freshness(min(times, default=None), versions_of(files))


def versions_of(files: Iterable[str]) -> dict[str, FileVersion]:
    """Of each file, which version it is now."""
    return {file: version_of(file) for file in sorted(files)}


def version_of(file: str) -> FileVersion:
    """Which version of itself a file is now."""
    with contextlib.suppress(OSError, ValueError):
        found = Path(file).stat()
        return found.st_mtime_ns, found.st_ino, found.st_size
    return None
