"""`millrace standalone` with its REST, in a folder of its own, over all its lives; and a client of that interface.

    with StandaloneMillrace(folder, kafka.bootstrap) as worker:
        worker.url                 "http://127.0.0.1:41234": whoever asks brings his own client
        worker.run.roles()         its processes

    worker = Worker(kafka, tmp_path)
    worker.start()
    worker.make("copy", {"connector.class": "FileStreamSink", ...})
    worker.wait_for("copy", "RUNNING", "RUNNING")

Used by: tests.dual, tests/kafka, bench.many.
"""

from __future__ import annotations

import http.client
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from engine.config.passwords import hashed
from tests.harness import wait
from tests.harness.asking import ask
from tests.harness.certificates import Authority
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import free_ports

__all__ = ["ANSWER_S", "USER", "Kafka", "StandaloneMillrace", "Worker"]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
ANSWER_S = 60.0
#: Of a worker that was told to stop: all was done, or the rest is left for the next run.
ENDED_WELL = (0, 143)
#: Where it speaks https, nobody else may ask.
USER = ("alice", "a secret of alice")


class StandaloneMillrace:
    """One worker; `properties` are its own, over the defaults below. Its folder is a place of plugins."""

    def __init__(
        self, folder: Path, bootstrap: str, properties: Mapping[str, str] | None = None, *, scheme: str = "http"
    ) -> None:
        self.folder = folder
        (port,) = free_ports(1)
        self.url = f"{scheme}://127.0.0.1:{port}"
        given = {
            "bootstrap.servers": bootstrap,
            "key.converter": TEXT,
            "value.converter": TEXT,
            "offset.storage.file.filename": str(folder / "offsets"),
            "listeners": self.url,
            **(properties or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "worker.properties").write_text("".join(f"{key}={value}\n" for key, value in given.items()))
        self._run: Millrace | None = None

    @property
    def run(self) -> Millrace:
        """The command that runs."""
        assert self._run is not None, "the worker was not started"
        return self._run

    def start(self, *files: str) -> Self:
        """Return when REST answers. files: of connectors."""
        environment = {"PYTHONPATH": str(self.folder)}
        self._run = Millrace("standalone", "worker.properties", *files, folder=self.folder, environment=environment)
        wait.until(self.is_serving, "REST")
        return self

    def stop(self, timeout_s: float = 60.0) -> None:
        """Let it end as a service manager does. Raises AssertionError with its log when it ends badly."""
        self.run.signal(signal.SIGTERM)
        assert self.run.wait(timeout_s) in ENDED_WELL, self.run.stderr

    def close(self) -> None:
        """Leave nothing of it."""
        if self._run is not None:
            self._run.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_serving(self) -> bool:
        """Whether REST answers."""
        assert self.run.is_running, self.run.stderr
        try:
            return self._answers()
        except (OSError, http.client.HTTPException, httpx.TransportError):
            return False

    def _answers(self) -> bool:
        return ask(self.url, "GET", "/").status == 200


class Worker(StandaloneMillrace):
    """One with a client."""

    def __init__(self, kafka: Kafka, folder: Path, *, is_https: bool = False) -> None:
        properties = {"offset.flush.interval.ms": "200"}
        self.verify: ssl.SSLContext | bool = True
        if is_https:
            authority = Authority(folder / "certificates")
            self.verify = ssl.create_default_context(cafile=str(authority.file))
            users = folder / "access.toml"
            users.write_text(f'[users.{USER[0]}]\nrole = "write"\npassword = "{hashed(USER[1])}"\n')
            properties["listeners.https.ssl.keystore.location"] = str(authority.issue(folder / "worker.pem", "worker"))
            properties["rest.access.file"] = str(users)
        super().__init__(folder, kafka.bootstrap, properties, scheme="https" if is_https else "http")
        self.client = httpx.Client(base_url=self.url, timeout=ANSWER_S, verify=self.verify, auth=USER)

    def end(self) -> None:
        """Let it end, with nothing left to do."""
        self.run.signal(signal.SIGTERM)
        assert self.run.wait() == 0, self.run.stderr

    def close(self) -> None:
        self.client.close()
        super().close()

    def make(self, name: str, config: Mapping[str, Any], **more: str) -> None:
        answer = self.client.post("/connectors", json={"name": name, "config": config, **more})
        assert answer.status_code == 201, answer.text

    def states(self, name: str) -> list[str]:
        """The connector's, then its tasks'."""
        status = self.client.get(f"/connectors/{name}/status").json()
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    def wait_for(self, name: str, *states: str) -> None:
        wait.until(lambda: self.states(name) == list(states), f"{name} {states}")

    def _answers(self) -> bool:
        return self.client.get("/").status_code == 200
