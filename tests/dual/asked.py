"""A worker that is asked over REST, and what tests of all workers do with it.

Used by: tests.dual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from tests.harness import wait
from tests.harness.asking import Answer, ask

__all__ = ["Asked", "error"]

STATE_S = 60.0
CONFLICT = 409


class Asked(Struct, frozen=True):
    """One worker, whoever made it."""

    kind: str  # "millrace", "connect", "connect-distributed", "url"
    url: str

    @property
    def is_millrace(self) -> bool:
        """Whether it is ours."""
        return "commit" in (told := self.get("/").json) and "." in told["commit"]

    @property
    def is_distributed(self) -> bool:
        return self.kind == "connect-distributed"

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """As tests.harness.asking.ask; a rebalance of a distributed worker is waited for."""
        answer = ask(self.url, method, path, body, headers)
        if self.is_distributed and _is_rebalance(answer):
            answers = [answer]

            def is_over() -> bool:
                answers[0] = ask(self.url, method, path, body, headers)
                return not _is_rebalance(answers[0])

            wait.until(is_over, "end of the rebalance", timeout_s=STATE_S, look_every_s=0.1)
            return answers[0]
        return answer

    def get(self, path: str) -> Answer:
        """Read."""
        return self.ask("GET", path)

    def post(self, path: str, body: object = None) -> Answer:
        return self.ask("POST", path, body)

    def put(self, path: str, body: object = None) -> Answer:
        return self.ask("PUT", path, body)

    def patch(self, path: str, body: object = None) -> Answer:
        return self.ask("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        return self.ask("DELETE", path)

    def make(self, name: str, config: Mapping[str, Any], **more: object) -> dict[str, Any]:
        """A connector; returns what the worker says of it."""
        answer = self.post("/connectors", {"name": name, "config": dict(config), **more})
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.json
        return made

    def states(self, name: str) -> list[str]:
        """The connector's, then its tasks'; none while it is not known."""
        answer = self.get(f"/connectors/{quote(name, safe='')}/status")
        if answer.status != 200:
            return []
        status = answer.json
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    def wait_for(self, name: str, *states: str) -> None:
        """Wait for these states of the connector and its tasks."""
        wait.until(lambda: self.states(name) == list(states), f"{name} {states}", timeout_s=STATE_S)

    def clear(self) -> None:
        """Delete all connectors that a path can name."""
        for name in self.get("/connectors").json:
            if not set(name) & set("/%\\"):
                self.delete(f"/connectors/{quote(name, safe='')}")


def error(answer: Answer, status: int) -> str | None:
    """The message of an error's one shape."""
    body = answer.json
    assert (answer.status, list(body)) == (status, ["error_code", "message"]), answer.body
    assert body["error_code"] == status
    message: str | None = body["message"]
    return message


def _is_rebalance(answer: Answer) -> bool:
    return answer.status in (CONFLICT, 500) and (b"rebalance" in answer.body or b"stale configuration" in answer.body)
