"""The real Kafka Connect 4.3.1, as a peer to compare with: a distributed worker of one, or a standalone one.

    with ConnectWorker(folder, kafka.bootstrap) as connect:
        connect.create("copy", {"connector.class": "FileStreamSink", ...})
        connect.wait_running("copy", tasks=1)
        connect.delete("copy")

REST answers 5 to 10 s after the start. The JVM gets what `connect-distributed.sh` gives it: 256 MB to 2 GB of heap and
the same collector settings.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness import wait
from tests.harness.jars import RUN_OPTIONS, java_command
from tests.harness.server import Server, answers, free_ports

__all__ = ["ConnectError", "ConnectWorker", "StandaloneConnect"]

REST_S = 60.0
RUNNING_S = 120.0
#: What bin/connect-distributed.sh gives it.
JVM_OPTIONS = ("-Xms256m", "-Xmx2g", *RUN_OPTIONS)
CONFLICT = 409


class ConnectError(Exception):
    """Connect's REST answered with an error: status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ConnectWorker(Server):
    """One distributed worker with its REST; `properties` are the worker's own, over the defaults below."""

    name = "connect"
    ready_s = 120.0
    main_class = "org.apache.kafka.connect.cli.ConnectDistributed"

    def __init__(self, folder: Path, bootstrap: str, properties: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        text = "org.apache.kafka.connect.storage.StringConverter"
        self._properties = {
            "bootstrap.servers": bootstrap,
            "key.converter": text,
            "value.converter": text,
            "listeners": self.url,
            **self.mode_properties(),
            **(properties or {}),
        }

    def mode_properties(self) -> dict[str, str]:
        """What workers of this kind alone are told."""
        group = f"connect-{self.port}"
        return {"group.id": group, **_internal_topics(group), "scheduled.rebalance.max.delay.ms": "0"}

    def command(self) -> Sequence[str]:
        configuration = self.folder / "worker.properties"
        configuration.write_text("".join(f"{key}={value}\n" for key, value in self._properties.items()))
        return java_command(self.main_class, str(configuration), options=JVM_OPTIONS)

    def is_ready(self) -> bool:
        # Its REST answers 404 to everything for some seconds before it is whole.
        return answers(lambda: self.ask("GET", "/connectors"), OSError, ConnectError)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer, None for an empty one. Raises ConnectError for a status of 400 and above."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=REST_S) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise ConnectError(error.code, error.read().decode(errors="replace")) from error
        return json.loads(content) if content else None

    def create(self, name: str, config: Mapping[str, str]) -> None:
        """Ask for a connector; it may not run yet when this returns."""
        wait.until(
            lambda: self._accepted("POST", "/connectors", {"name": name, "config": dict(config)}),
            f"worker that takes {name}",
            timeout_s=RUNNING_S,
        )

    def status(self, name: str) -> dict[str, Any]:
        """Connect's own status: name, connector, tasks, type. Raises ConnectError 404 when there is none yet."""
        status: dict[str, Any] = self.ask("GET", f"/connectors/{name}/status")
        return status

    def wait_running(self, name: str, *, tasks: int = 1) -> None:
        """Return when that many tasks of the connector run. Raises RuntimeError with the trace when one failed."""
        wait.until(lambda: self._runs(name, tasks), f"running {name}", timeout_s=RUNNING_S, look_every_s=0.1)

    def delete(self, name: str) -> None:
        """Return when the connector and its tasks are gone."""
        wait.until(lambda: self._accepted("DELETE", f"/connectors/{name}"), f"end of {name}", timeout_s=RUNNING_S)
        wait.until(lambda: self._is_gone(name), f"end of {name}", timeout_s=RUNNING_S, look_every_s=0.1)

    def _accepted(self, method: str, path: str, body: object = None) -> bool:
        try:
            self.ask(method, path, body)
        except ConnectError as error:
            if error.status != CONFLICT:  # a rebalance is on: ask again
                raise
            return False
        return True

    def _runs(self, name: str, tasks: int) -> bool:
        try:
            status = self.status(name)
        except ConnectError:
            return False
        states = [task["state"] for task in status["tasks"]]
        if "FAILED" in [*states, status["connector"]["state"]]:
            raise RuntimeError(f"{name} failed: {json.dumps(status, indent=1)}")
        return states == ["RUNNING"] * tasks

    def _is_gone(self, name: str) -> bool:
        return not answers(lambda: self.status(name), ConnectError)


class StandaloneConnect(ConnectWorker):
    """One standalone worker: no group, no internal topics, connectors in memory."""

    name = "connect-standalone"
    main_class = "org.apache.kafka.connect.cli.ConnectStandalone"

    def mode_properties(self) -> dict[str, str]:
        return {"offset.storage.file.filename": str(self.folder / "connect.offsets")}


def _internal_topics(prefix: str) -> dict[str, str]:
    names = {f"{kind}.storage.topic": f"{prefix}-{kind}" for kind in ("offset", "config", "status")}
    return {**names, **{key.replace(".topic", ".replication.factor"): "1" for key in names}}
