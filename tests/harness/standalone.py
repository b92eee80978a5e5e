"""A worker of `millrace standalone` over all its lives, and a client of its REST interface.

worker = Worker(kafka, tmp_path)
worker.start()
worker.make("copy", {"connector.class": "FileStreamSink", ...})
worker.wait_for("copy", "RUNNING", "RUNNING")
"""

from __future__ import annotations

import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from engine.config.passwords import hashed
from tests.harness import wait
from tests.harness.certificates import Authority
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.server import free_ports

__all__ = ["ANSWER_S", "USER", "Kafka", "Worker"]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
ANSWER_S = 60.0
#: Where it speaks https, nobody else may ask.
USER = ("alice", "a secret of alice")


class Worker:
    """One worker over all its lives, in one folder."""

    def __init__(self, kafka: Kafka, folder: Path, *, is_https: bool = False) -> None:
        self.folder = folder
        (port,) = free_ports(1)
        self.verify: ssl.SSLContext | bool = True
        url, more = f"http://127.0.0.1:{port}", ""
        if is_https:
            authority = Authority(folder / "certificates")
            url, self.verify = f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=str(authority.file))
            users = folder / "access.toml"
            users.write_text(f'[users.{USER[0]}]\nrole = "write"\npassword = "{hashed(USER[1])}"\n')
            pem = authority.issue(folder / "worker.pem", "worker")
            more = f"listeners.https.ssl.keystore.location={pem}\nrest.access.file={users}\n"
        self.client = httpx.Client(base_url=url, timeout=ANSWER_S, verify=self.verify, auth=USER)
        (folder / "worker.properties").write_text(
            f"bootstrap.servers={kafka.bootstrap}\nkey.converter={TEXT}\nvalue.converter={TEXT}\n"
            f"offset.storage.file.filename={folder}/offsets\noffset.flush.interval.ms=200\n"
            f"listeners={url}\n{more}"
        )
        self._life: Millrace | None = None

    @property
    def life(self) -> Millrace:
        assert self._life is not None
        return self._life

    def start(self, *files: str) -> None:
        # Its folder is a place of plugins.
        self._life = Millrace(
            "standalone",
            "worker.properties",
            *files,
            folder=self.folder,
            environment={"PYTHONPATH": str(self.folder)},
        )
        wait.until(self.is_serving, "REST")

    def is_serving(self) -> bool:
        assert self.life.is_running, self.life.stderr
        try:
            return self.client.get("/").status_code == 200
        except httpx.TransportError:
            return False

    def end(self) -> None:
        self.life.signal(signal.SIGTERM)
        assert self.life.wait() == 0, self.life.stderr

    def close(self) -> None:
        self.client.close()
        if self._life is not None:
            self._life.close()

    def make(self, name: str, config: Mapping[str, Any], **more: str) -> None:
        answer = self.client.post("/connectors", json={"name": name, "config": config, **more})
        assert answer.status_code == 201, answer.text

    def states(self, name: str) -> list[str]:
        """The connector's, then its tasks'."""
        status = self.client.get(f"/connectors/{name}/status").json()
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    def wait_for(self, name: str, *states: str) -> None:
        wait.until(lambda: self.states(name) == list(states), f"{name} {states}")
