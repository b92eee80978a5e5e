"""Numbers as people read them: 1,234,567 records, 146.0 MB, 2 min 5 s.

Used by: engine.report, engine.display.
"""

from __future__ import annotations

__all__ = ["bytes_text", "count_text", "seconds_text"]

_UNITS = ("kB", "MB", "GB", "TB", "PB")
_STEP = 1000
#: What would be rounded up to the next unit's 1.0.
_SHOWN_MAX = 999.95


def count_text(count: int) -> str:
    """A whole number with separators."""
    return f"{count:,}"


def bytes_text(size: float) -> str:
    """Bytes in powers of 1,000, with one decimal from kB on."""
    if size < _STEP:
        return f"{size:.0f} B"
    power = 1
    while size / _STEP**power >= _SHOWN_MAX and power < len(_UNITS):
        power += 1
    return f"{size / _STEP**power:.1f} {_UNITS[power - 1]}"


def seconds_text(seconds: float) -> str:
    """A length of time, in the two units that matter."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
