"""`millrace standalone` with its REST, in a folder of its own; whoever asks brings his own client.

    with StandaloneMillrace(folder, kafka.bootstrap) as worker:
        worker.url                 "http://127.0.0.1:41234"
        worker.run.roles()         its processes

Used by: tests.dual.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.harness import wait
from tests.harness.asking import ask
from tests.harness.engine import Millrace
from tests.harness.server import free_ports

__all__ = ["StandaloneMillrace"]

TEXT = "org.apache.kafka.connect.storage.StringConverter"
#: Of a worker that was told to stop: all was done, or the rest is left for the next run.
ENDED_WELL = (0, 143)


class StandaloneMillrace:
    """One worker; `properties` are its own, over the defaults below."""

    def __init__(self, folder: Path, bootstrap: str, properties: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._properties = {
            "bootstrap.servers": bootstrap,
            "key.converter": TEXT,
            "value.converter": TEXT,
            "offset.storage.file.filename": str(folder / "offsets"),
            "listeners": self.url,
            **(properties or {}),
        }
        self._run: Millrace | None = None

    @property
    def run(self) -> Millrace:
        """The command that runs."""
        assert self._run is not None, "the worker was not started"
        return self._run

    def start(self) -> Self:
        """Return when REST answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{key}={value}\n" for key, value in self._properties.items())
        (self.folder / "worker.properties").write_text(text)
        self._run = Millrace("standalone", "worker.properties", folder=self.folder)
        wait.until(self._answers, "REST")
        return self

    def stop(self, timeout_s: float = 60.0) -> None:
        """Let it end as a service manager does. Raises AssertionError with its log when it ends badly."""
        self.run.signal(signal.SIGTERM)
        assert self.run.wait(timeout_s) in ENDED_WELL, self.run.stderr

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._run is not None:
            self._run.close()

    def _answers(self) -> bool:
        assert self.run.is_running, self.run.stderr
        try:
            return ask(self.url, "GET", "/").status == 200
        except OSError:
            return False
