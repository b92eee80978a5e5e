"""Why a command is refused, in the words of Kafka Connect.

Used by: engine.herder.herder.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.herder.model import Command, Due, Restart, RestartTask, SetTarget
from engine.herder.watching import Watched

__all__ = ["NO_NAME", "invalid", "unknown"]

NO_NAME = 'Missing required configuration "name" which has no default value: a connector keeps its name'
HINT = (
    "\nYou can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`"
)


def invalid(problems: Sequence[str]) -> str:
    """A configuration with these problems."""
    text = "\n".join(problems)
    return f"Connector configuration is invalid and contains the following {len(problems)} error(s):\n{text}{HINT}"


def unknown(command: Command | Due | Watched) -> str:
    """No such connector; the words differ by what is asked."""
    if isinstance(command, Restart | RestartTask):
        return f"Unknown connector: {command.name}"
    if isinstance(command, SetTarget):
        return f"Unknown connector {command.name}"
    return f"Connector {command.name} not found"
