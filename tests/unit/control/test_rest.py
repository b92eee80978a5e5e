"""REST answers as Kafka Connect 4.3 does: paths, bodies, status codes and the words that clients look for.

What is not Kafka Connect's own is told beside it, in members and paths that its clients do not look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.clock import SystemClock
from engine.config.rest import RestSettings
from engine.control import herding
from engine.control.kept import KeptConnectors
from engine.herder.model import Create, Refusal, TargetState
from engine.mending import Circuit, Kind
from engine.shm.acts import Act
from engine.shm.board import HeaderWord, State, Word
from engine.shm.link import Link
from engine.shm.stalls import Stall, Way, pack
from engine.shm.waits import Cause, Wait
from engine.shm.waits import pack as pack_wait
from tests.harness.rest import WORKER_ID, ScriptedSupervisor, serving

CONFIG = {"connector.class": "Generator", "tasks.max": "2"}
LIMIT_S = 30.0
Talk = Callable[[httpx.AsyncClient, ScriptedSupervisor], Awaitable[None]]


def talk(folder: Path, about: Talk, **more: Any) -> None:
    """Serve, and let this be said."""

    async def act() -> None:
        async with serving(folder, **more) as (client, supervisor):
            await about(client, supervisor)

    asyncio.run(act())


async def made(client: httpx.AsyncClient, name: str = "orders", **config: str) -> httpx.Response:
    answer = await client.post("/connectors", json={"name": name, "config": {**CONFIG, **config}})
    assert answer.status_code == 201, answer.text
    return answer


async def until(client: httpx.AsyncClient, name: str, states: list[str]) -> None:
    """Wait until the connector and its tasks are in these states."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            status = (await client.get(f"/connectors/{name}/status")).json()
            if [status["connector"]["state"], *(task["state"] for task in status["tasks"])] == states:
                return
            await asyncio.sleep(0.001)


def error(answer: httpx.Response, status: int) -> str:
    """The message of an error's one shape."""
    body = answer.json()
    assert (answer.status_code, body["error_code"], set(body)) == (status, status, {"error_code", "message"})
    return str(body["message"])


def test_a_connector_is_made_read_and_deleted(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await made(client)
        info = {
            "name": "orders",
            "config": {**CONFIG, "name": "orders"},
            "tasks": [{"connector": "orders", "task": 0}, {"connector": "orders", "task": 1}],
            "type": "source",
        }
        assert answer.json() == info
        assert list(answer.json()) == list(info)
        assert answer.headers["location"] == "http://worker/connectors/orders"
        assert answer.headers["content-type"] == "application/json"
        assert (await client.get("/connectors")).json() == ["orders"]
        assert (await client.get("/connectors/orders")).json() == info
        assert (await client.get("/connectors/orders/config")).json() == info["config"]
        tasks = (await client.get("/connectors/orders/tasks")).json()
        assert tasks[1] == {
            "id": {"connector": "orders", "task": 1},
            "config": {"task.class": "Generator", "number": "1"},
        }
        gone = await client.delete("/connectors/orders")
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await client.get("/connectors")).json() == []

    talk(tmp_path, about)


def test_status_says_what_the_board_says(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        row = supervisor.row("orders", 1)
        row.reason = "no route to host"
        row.set(Word.STATE, State.FAILED)
        status = (await client.get("/connectors/orders/status")).json()
        assert status["connector"] == {"state": "RUNNING", "worker_id": WORKER_ID, "version": "1.0"}
        assert [task["state"] for task in status["tasks"]] == ["RUNNING", "FAILED"]
        assert status["tasks"][1]["trace"] == "no route to host"
        assert "trace" not in status["tasks"][0]
        more = {"restarts": 0, "last_kind": None, "last_cause": None, "next_attempt_ms": None, "circuit": "closed"}
        assert [task["millrace"] for task in status["tasks"]] == [more, {**more, "last_cause": "no route to host"}]
        one = await client.get("/connectors/orders/tasks/1/status")
        assert one.json() == status["tasks"][1]
        expanded = (await client.get("/connectors?expand=status&expand=info&expand=nonsense")).json()
        assert expanded["orders"]["status"] == status
        assert expanded["orders"]["info"]["name"] == "orders"

    talk(tmp_path, about)


def test_status_tells_of_a_failed_task_when_it_is_tried_again(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        row = supervisor.row("orders", 0)
        for word, value in ((Word.STATE, State.FAILED), (Word.ENDED_AS, Kind.CRASH), (Word.CIRCUIT, Circuit.OPEN)):
            row.set(word, value)
        row.set(Word.RESTARTS, 5)
        row.set(Word.NEXT_START_NS, SystemClock().monotonic_ns() + 3_600_000_000_000)
        (task, _) = (await client.get("/connectors/orders/status")).json()["tasks"]
        told = task["millrace"]
        assert (task["state"], told["restarts"], told["last_kind"], told["circuit"]) == ("FAILED", 5, "crash", "open")
        assert 3_500_000 < told["next_attempt_ms"] <= 3_600_000

    talk(tmp_path, about)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/connectors/x", "Connector x not found"),
        ("GET", "/connectors/x/config", "Connector x not found"),
        ("GET", "/connectors/x/tasks", "Connector x not found"),
        ("DELETE", "/connectors/x", "Connector x not found"),
        ("GET", "/connectors/x/status", "No status found for connector x"),
        ("GET", "/connectors/x/tasks/0/status", "No status found for task x-0"),
        ("PUT", "/connectors/x/pause", "Unknown connector x"),
        ("PUT", "/connectors/x/resume", "Unknown connector x"),
        ("PUT", "/connectors/x/stop", "Unknown connector x"),
        ("POST", "/connectors/x/restart", "Unknown connector: x"),
        ("POST", "/connectors/x/restart?includeTasks=true", "Unknown connector: x"),
        ("POST", "/connectors/x/tasks/0/restart", "Unknown connector: x"),
        ("GET", "/connectors/x/tasks/seven/status", "HTTP 404 Not Found"),
    ],
)
def test_what_is_not_there_is_404_in_one_shape(tmp_path: Path, method: str, path: str, message: str) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        assert error(await client.request(method, path), 404) == message

    talk(tmp_path, about)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("PATCH", "/connectors", 405)])
def test_a_path_or_method_that_is_not_served_has_a_body_and_no_content_type(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await client.request(method, path)
        error(answer, status)
        assert "content-type" not in answer.headers

    talk(tmp_path, about)


@pytest.mark.parametrize(
    ("content", "status", "word"),
    [
        (b"", 500, "JSON body"),
        (b"{", 500, "no JSON"),
        (b"[]", 500, "JSON object"),
        (b'{"name":"a","config":{},"colour":"red"}', 500, '"colour"'),
        (b'{"name":"a","config":{"connector.class":{"a":1}}}', 500, "connector.class"),
        (b'{"name":"a","config":{"connector.class":null}}', 400, "Null value"),
        (b'{"name":"a","config":{"name":"b"}}', 400, "doesn't match"),
        (b'{"name":"a","config":{"connector.class":"Generator"},"initial_state":"ASLEEP"}', 500, "ASLEEP"),
        (b'{"name":"a","config":{"connector.class":"Bad"}}', 400, "contains the following 1 error(s)"),
        (b'{"name":"a","config":{"x":"' + b"y" * 1_100_000 + b'"}}', 413, "bytes"),
    ],
)
def test_a_bad_body_gets_kafka_connects_status_and_changes_nothing(
    tmp_path: Path, content: bytes, status: int, word: str
) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await client.post("/connectors", content=content, headers={"content-type": "application/json"})
        assert word in error(answer, status)
        assert (await client.get("/connectors")).json() == []

    talk(tmp_path, about)


def test_another_media_type_is_refused(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        error(await client.post("/connectors", content=b"a=b", headers={"content-type": "text/plain"}), 415)

    talk(tmp_path, about)


def test_a_name_is_trimmed_and_taken_once(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await client.post("/connectors", json={"name": " a ", "config": CONFIG})
        assert answer.json()["name"] == "a"
        again = await client.post("/connectors", json={"name": "a", "config": CONFIG})
        assert error(again, 409) == "Connector a already exists"

    talk(tmp_path, about)


@pytest.mark.parametrize("name", ["with space", 'quo"te', "ünïcode", "a?b#c&d", "a+b;c", "[x]|<y>~"])
def test_names_with_odd_characters_work_when_they_are_encoded(tmp_path: Path, name: str) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await made(client, name)
        assert (await client.get(answer.headers["location"])).json()["name"] == name

    talk(tmp_path, about)


def test_numbers_and_booleans_become_text(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        body = {"name": "a", "config": {"connector.class": "Generator", "tasks.max": 1, "x": True, "y": 1.5}}
        config = (await client.post("/connectors", json=body)).json()["config"]
        assert (config["tasks.max"], config["x"], config["y"]) == ("1", "true", "1.5")

    talk(tmp_path, about)


def test_put_makes_then_changes_and_patch_changes_one_key(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        first = await client.put("/connectors/a/config", json=CONFIG)
        assert (first.status_code, first.headers["location"]) == (201, "http://worker/connectors/a")
        second = await client.put("/connectors/a/config", json={**CONFIG, "tasks.max": "1"})
        assert (second.status_code, len(second.json()["tasks"])) == (200, 1)
        third = await client.patch("/connectors/a/config", json={"tasks.max": "3", "rate": "5"})
        assert (third.status_code, len(third.json()["tasks"])) == (200, 3)
        fourth = await client.patch("/connectors/a/config", json={"rate": None})
        assert "rate" not in fourth.json()["config"]
        error(await client.patch("/connectors/b/config", json={}), 404)
        error(await client.put("/connectors/a/config", json={"connector.class": "Bad"}), 400)
        assert (await client.get("/connectors/a/config")).json()["connector.class"] == "Generator"

    talk(tmp_path, about)


@pytest.mark.parametrize(("initial", "state"), [("paused", "PAUSED"), ("STOPPED", "STOPPED")])
def test_a_connector_may_begin_paused_or_stopped_without_tasks(tmp_path: Path, initial: str, state: str) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        body = {"name": "a", "config": CONFIG, "initial_state": initial}
        assert (await client.post("/connectors", json=body)).json()["tasks"] == []
        status = (await client.get("/connectors/a/status")).json()
        assert (status["connector"]["state"], status["tasks"]) == (state, [])
        assert (await client.put("/connectors/a/resume")).status_code == 202
        await until(client, "a", ["RUNNING"] * 3)

    talk(tmp_path, about)


def test_pause_resume_and_stop(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        await made(client)
        paused = await client.put("/connectors/orders/pause")
        assert (paused.status_code, paused.content) == (202, b"")
        await until(client, "orders", ["PAUSED"] * 3)
        assert (await client.put("/connectors/orders/resume")).status_code == 202
        await until(client, "orders", ["RUNNING"] * 3)
        assert (await client.put("/connectors/orders/stop")).status_code == 204
        await until(client, "orders", ["STOPPED"])

    talk(tmp_path, about)


def test_restarts_say_what_they_take(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        plain = await client.post("/connectors/orders/restart")
        assert (plain.status_code, plain.content, supervisor.restarted) == (204, b"", [])
        all_of_it = await client.post("/connectors/orders/restart?includeTasks=true")
        shown = all_of_it.json()
        assert all_of_it.status_code == 202
        assert [shown["connector"]["state"], *(task["state"] for task in shown["tasks"])] == ["RESTARTING"] * 3
        supervisor.row("orders", 1).set(Word.STATE, State.FAILED)
        failed = (await client.post("/connectors/orders/restart?includeTasks=true&onlyFailed=true")).json()
        assert [task["state"] for task in failed["tasks"]] == ["RUNNING", "RESTARTING"]
        assert (await client.post("/connectors/orders/tasks/0/restart")).status_code == 204
        assert error(await client.post("/connectors/orders/tasks/9/restart"), 404) == "Unknown task: orders-9"
        await supervisor.has_obeyed.wait()
        assert supervisor.restarted == [("orders", [0, 1]), ("orders", [1]), ("orders", [0])]

    talk(tmp_path, about)


def test_a_connector_that_fails_to_start_is_made_and_says_why(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        body = {"name": "a", "config": {"connector.class": "Fails"}}
        assert (await client.post("/connectors", json=body)).status_code == 201
        own = (await client.get("/connectors/a/status")).json()["connector"]
        assert (own["state"], own["trace"]) == ("FAILED", "start: no such file")

    talk(tmp_path, about)


def test_what_takes_too_long_is_answered_and_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        hanging = asyncio.create_task(
            client.post("/connectors", json={"name": "a", "config": {"connector.class": "Hangs"}})
        )
        await made(client)
        assert error(await hanging, 500).startswith("Request timed out.")

    monkeypatch.setattr(herding, "ANSWER_SECONDS", 0.2)
    talk(tmp_path, about)


def test_connectors_come_back_with_the_worker_and_with_control(tmp_path: Path) -> None:
    async def act() -> None:
        async with serving(tmp_path) as (client, supervisor):
            await made(client)
            await made(client, "paused")
            await client.put("/connectors/paused/pause")
        async with serving(tmp_path, supervisor) as (client, _):
            names = (await client.get("/connectors")).json()
            status = (await client.get("/connectors/orders/status")).json()
            assert (names, status["connector"]["state"], len(status["tasks"])) == (["orders", "paused"], "RUNNING", 2)
        async with serving(tmp_path) as (client, _):
            await until(client, "paused", ["PAUSED"] * 3)
            assert (await client.get("/connectors/orders")).json()["config"]["tasks.max"] == "2"

    asyncio.run(act())


def test_the_root_health_and_plugins(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        root = (await client.get("/")).json()
        assert list(root.items()) == [
            ("version", "4.3.1"),
            ("commit", "0123456789abcdef"),
            ("kafka_cluster_id", "cluster-1"),
        ]
        assert (await client.get("/health")).json()["status"] == "healthy"
        assert [one["type"] for one in (await client.get("/connector-plugins")).json()] == ["source"]
        everything = await client.get("/connector-plugins?connectorsOnly=false")
        assert [one["type"] for one in everything.json()] == ["source", "converter"]
        assert (await client.get("/livez")).status_code == (await client.get("/readyz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200

    talk(tmp_path, about)


STALL = Stall(Way.CALL, "task", Act.PUT, 90_000_000_000)


class Later:
    """A clock."""

    @staticmethod
    def monotonic_ns() -> int:
        return 102_000_000_000


def test_a_task_that_is_stalled_is_running_to_old_clients_and_tells_where_it_is_stuck(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        row = supervisor.row("orders", 1)
        row.set(Word.STALL, pack(STALL))
        row.stack = "Current thread"
        well, stalled = (await client.get("/connectors/orders/status")).json()["tasks"]
        assert "stalled" not in well["millrace"]
        assert (stalled["state"], "trace" in stalled) == ("RUNNING", False)
        assert stalled["millrace"]["stalled"] == {
            "stage": "put",
            "process": "task",
            "reason": "put has not returned",
            "stack": "Current thread",
            "for_ms": 12_000,
        }
        assert (await client.get("/connectors/orders/tasks/1/status")).json() == stalled

    talk(tmp_path, about, clock=Later())


def test_a_task_that_is_to_read_failed_while_it_is_stalled_does_and_is_restarted_as_such(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        row = supervisor.row("orders", 1)
        row.set(Word.STALL, pack(STALL._replace(is_failed=True)))
        row.stack = "Current thread"
        told = (await client.get("/connectors/orders/tasks/1/status")).json()
        assert told["state"] == "FAILED"
        assert told["trace"] == "stalled: put has not returned\nCurrent thread"
        await client.post("/connectors/orders/restart?includeTasks=true&onlyFailed=true")
        assert supervisor.restarted == [("orders", [1])]

    talk(tmp_path, about)


def test_a_task_that_waits_for_the_world_outside_says_for_what(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        supervisor.row("orders", 0).set(Word.PUMP_WAIT, pack_wait(Wait(Cause.BROKER, STALL.since_ns)))
        told = (await client.get("/connectors/orders/tasks/0/status")).json()
        assert told["state"] == "RUNNING"
        assert told["millrace"]["waits"] == {"for": "broker", "reason": "no broker can be reached", "for_ms": 12_000}

    talk(tmp_path, about, clock=Later())


def test_a_configuration_does_not_grow_beyond_a_body_piece_by_piece(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        await made(client)
        for number in range(2):
            answer = await client.patch("/connectors/orders/config", json={f"key.{number}": "x" * 3000})
        assert "rest.body.bytes.max" in error(answer, 413)
        assert "key.1" not in (await client.get("/connectors/orders/config")).json()

    talk(tmp_path, about, settings=RestSettings(places=(), body_bytes_max=4096))


def test_a_worker_that_stops_begins_nothing_new_and_says_so(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        body = {"name": "a", "config": {"connector.class": "Hangs"}}
        waiting = asyncio.create_task(client.post("/connectors", json=body))
        await asyncio.sleep(0)
        supervisor.board.header[HeaderWord.IS_STOPPING] = 1
        assert error(await client.delete("/connectors/orders"), 503).startswith("The worker is stopping")
        assert (await client.get("/connectors")).json() == ["orders"]
        assert ((await client.get("/readyz")).status_code, (await client.get("/livez")).status_code) == (503, 200)
        assert not waiting.done()
        waiting.cancel()

    talk(tmp_path, about)


def test_whoever_waits_when_it_ends_is_told(tmp_path: Path) -> None:
    async def act() -> None:
        ours, theirs = Link.pair()
        herding_ = herding.Herding(Link(theirs), KeptConnectors(str(tmp_path / "store.db")))
        waiting = asyncio.create_task(herding_.do(Create("a", CONFIG, TargetState.STARTED)))
        await asyncio.sleep(0)
        refusal = Refusal(503, "stopping")
        assert herding_.refuse_all(refusal)
        assert await waiting == refusal
        assert not herding_.refuse_all(refusal)
        ours.close()

    asyncio.run(act())
