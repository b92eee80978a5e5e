"""Main of the control process.

Light on purpose: the supervisor imports it before it forks, and everything that makes the web server
(asyncio, uvicorn, prometheus_client) is imported in the child alone.

Used by: engine.boot.
Not here: serving (serving.py), opening the socket (listen.py).
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from engine.config.rest import RestSettings
from engine.exits import ExitCode
from engine.herder.model import Kept

__all__ = ["Rest", "run"]


class Rest(Struct, frozen=True):
    """What control needs beside the board to serve REST."""

    settings: RestSettings
    listeners: tuple[socket.socket, ...]  # one at each of its places, already listening, inherited
    link: socket.socket  # to the supervisor
    store: str  # path of the SQLite store
    files: tuple[Kept, ...]  # connectors that files name
    advertised: str  # HOST:PORT
    cluster_id: str
    plugins: tuple[Mapping[str, Any], ...]  # as `/connector-plugins` tells them
    keeps: bool  # connectors made over REST come back with the worker
    tracks_topics: bool  # topic.tracking.enable
    forgets_topics: bool  # topic.tracking.allow.reset
    is_first: bool  # no other control process of this worker was there before


def run(
    board_descriptor: int, listeners: Sequence[socket.socket], metrics_file: str | None, rest: Rest | None = None
) -> ExitCode:
    """Serve until TERM, then leave a last snapshot.

    listeners: for metrics alone, already listening, inherited. metrics_file: rewritten while it runs; None: none.
    Raises ConfigError for a metrics_file that nobody would read.
    """
    # A run may be over before the imports are; its last snapshot is written nevertheless.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    from engine.control import serving  # noqa: PLC0415  after the fork: no other process needs a web server

    return serving.serve(board_descriptor, listeners, metrics_file, rest)
