"""How large parts of a source's frames are.

Used by: engine.task.source.
"""

from __future__ import annotations

from engine.shm.frame import Headers, Payloads, SourceOffset

__all__ = ["headers", "offsets", "payloads"]

HEADER_OVERHEAD_BYTES = 16
OFFSET_OVERHEAD_BYTES = 16


def payloads(values: Payloads, keys: Payloads | None) -> int:
    """Bytes of values and keys."""
    return sum(map(len, filter(None, values))) + sum(map(len, filter(None, keys or ())))


def offsets(column: list[SourceOffset]) -> int:
    """What offsets take in a frame, at most."""
    return sum(len(offset.partition) + len(offset.offset) + OFFSET_OVERHEAD_BYTES for offset in column)


def headers(column: list[Headers] | None) -> int:
    """What headers take in a frame, at most."""
    return sum(len(key) + len(value or b"") + HEADER_OVERHEAD_BYTES for record in column or () for key, value in record)
