"""The REST interface on a socket of its own, for clients that do not speak asyncio: server and supervisor in a thread.

    with Served(folder) as served:
        httpx.get(served.url + "/connectors")

The supervisor follows its script (rest.py), so that neither Kafka nor a process is needed.

Used by: tests.unit.control.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.config.rest import RestSettings
from engine.control.http import serve_at
from engine.control.listen import open_listener
from tests.harness.rest import SETTINGS, application

__all__ = ["Served"]

END_S = 20.0


class Served:
    """One worker's interface, until the context ends."""

    def __init__(self, folder: Path, settings: RestSettings = SETTINGS) -> None:
        self._folder = folder
        self._settings = settings
        self._listener = open_listener(0, "127.0.0.1")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="served", daemon=True)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        self._listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = self._loop.create_task(self._serve())
        self._loop.run_forever()
        serving.cancel()
        self._loop.run_until_complete(asyncio.gather(serving, return_exceptions=True))
        self._loop.close()

    async def _serve(self) -> None:
        async with application(self._folder, settings=self._settings) as (app, _):
            await serve_at(self._listener, app, self._settings)
