"""What ends its own process, in a transform, and how.

Loaded by name, in the process of a task or stage. Not here: what is expected of the engine
(tests/kafka/test_poison.py).
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

from engine.api.config import Config
from engine.api.transform import AnyRecord, Transform

__all__ = ["Kill", "die"]

CHUNK_BYTES = 32 * 1024 * 1024


def die(how: str) -> None:
    """Segfault, take memory until there is no more, leave by the system's exit with 0 or 1, or by Python's."""
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "memory":
        taken: list[bytes] = []
        while True:
            taken.append(b"x" * CHUNK_BYTES)
    elif how == "sys.exit":
        sys.exit("had enough")
    os._exit(int(how.removeprefix("exit")))


class KillConfig(Config, frozen=True, kw_only=True):
    """How it dies."""

    how: str


class Kill(Transform):
    """Dies of values that begin with `deadly`."""

    config = KillConfig

    def configure(self, config: Any) -> None:
        self._how = config.how

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if record.value.startswith("deadly"):
            die(self._how)
        return record
