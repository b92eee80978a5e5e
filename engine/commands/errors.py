"""What a worker's answer can be beside the one that was asked for.

Used by: engine.commands. Beside the client, as that imports what takes a while.
"""

from __future__ import annotations

from engine.api.errors import ConnectError

__all__ = ["RefusedError"]


class RefusedError(ConnectError):
    """The worker answered, and will not."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
