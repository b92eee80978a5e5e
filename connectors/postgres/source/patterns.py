"""Which tables the patterns of table.include.list and table.exclude.list name.

Used by: changes_config.py, polling_config.py, relations.py, publications.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from connectors.postgres.config import Target
from engine.api.errors import Problem

__all__ = ["bad_patterns", "is_matched"]


def bad_patterns(included: Iterable[str], excluded: Iterable[str]) -> Iterator[Problem]:
    """What is no regular expression."""
    for key, patterns in (("table.include.list", included), ("table.exclude.list", excluded)):
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                yield Problem(key, f"{key}: {pattern} is no regular expression: {error}")


def is_matched(table: Target, included: Iterable[str], excluded: Iterable[str]) -> bool:
    """Whether `schema.table` is matched wholly by one of the patterns `included`, and by none of `excluded`."""
    name = str(table)
    is_included = any(re.fullmatch(pattern, name) for pattern in included)
    return is_included and not any(re.fullmatch(pattern, name) for pattern in excluded)
