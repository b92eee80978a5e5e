"""`/admin/loggers` answers as Kafka Connect 4.3.1 was seen to answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.config.listeners import Part
from engine.shm.levels import LoggerLevel
from tests.harness.rest import ScriptedSupervisor, serving

FOO, BAR, PARENT = "/admin/loggers/com.example.Foo", "/admin/loggers/com.example.Bar", "/admin/loggers/com.example"
Talk = Callable[[httpx.AsyncClient, ScriptedSupervisor], Awaitable[None]]


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    root = logging.getLogger()
    before = {name: one.level for name, one in root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    own = root.level
    root.setLevel(logging.ERROR)
    yield
    root.setLevel(own)
    for name in list(root.manager.loggerDict):
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


def talk(folder: Path, about: Talk, part: Part = "all") -> None:
    async def act() -> None:
        async with serving(folder, part=part) as (client, supervisor):
            await about(client, supervisor)

    asyncio.run(act())


async def put(client: httpx.AsyncClient, path: str, level: object, **query: str) -> Any:
    answer = await client.put(path, json={"level": level}, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_level_is_set_and_told_with_its_time_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        assert await put(client, FOO, "debug") == ["com.example.Foo"]
        assert await put(client, FOO, "DEBUG") == []
        told = (await client.get(FOO)).json()
        assert (list(told), told["level"]) == (["level", "last_modified"], "DEBUG")
        assert told["last_modified"] > 1_700_000_000_000
        table = supervisor.board.levels.read()
        assert table == [LoggerLevel("com.example.Foo", "DEBUG", told["last_modified"])]
        assert logging.getLogger("com.example.Foo").level == logging.DEBUG

    talk(tmp_path, about)


def test_a_level_is_for_all_whose_names_begin_so(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        await put(client, FOO, "ALL")
        assert await put(client, PARENT, "ERROR") == ["com.example.Foo"]  # as the new one's was already
        assert (await client.get(FOO)).json()["level"] == "ERROR"
        assert await put(client, BAR, "WARN", scope="nonsense") == ["com.example.Bar"]
        listed = (await client.get("/admin/loggers")).json()
        assert list(listed) == ["com.example", "com.example.Bar", "com.example.Foo", "root"]
        assert listed["com.example"] == listed["root"] == {"level": "ERROR", "last_modified": None}
        assert await put(client, "/admin/loggers/root", "ERROR") == ["com.example.Bar"]
        assert await put(client, "/admin/loggers/ROOT", "ERROR") == []

    talk(tmp_path, about)


def test_one_that_is_off_is_left_out_of_the_list(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        await put(client, FOO, "off")
        assert list((await client.get("/admin/loggers")).json()) == ["root"]
        assert (await client.get(FOO)).json()["level"] == "OFF"

    talk(tmp_path, about)


def test_the_scope_of_a_cluster_has_no_body(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await client.put(BAR, json={"level": "INFO"}, params={"scope": "CLUSTER"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await client.get(BAR)).json()["level"] == "INFO"

    talk(tmp_path, about)


def test_loggers_of_ours_are_known_by_their_names_and_by_javas(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        assert (await client.get("/admin/loggers/millrace.control")).json() == {"level": "ERROR", "last_modified": None}
        assert await put(client, "/admin/loggers/org.apache.kafka.connect", "DEBUG") == ["org.apache.kafka.connect"]
        assert logging.getLogger("millrace").level == logging.DEBUG
        changed = await put(client, "/admin/loggers/millrace", "INFO")
        assert {"millrace.control", "millrace.control.rest"} <= set(changed)

    talk(tmp_path, about)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/admin/loggers/nope.x", None, 404, "Logger nope.x not found."),
        ("PUT", FOO, b'{"level":"LOUD"}', 404, "invalid log level 'LOUD'."),
        ("PUT", FOO, b'{"level":1}', 404, "invalid log level '1'."),
        ("PUT", FOO, b'{"level":"WARNING"}', 404, "invalid log level 'WARNING'."),
        ("PUT", FOO, b"{}", 400, "Desired 'level' parameter was not specified in request."),
        ("PUT", FOO, b'{"level":null}', 400, "Desired 'level' parameter was not specified in request."),
        ("PUT", FOO, b'{"level":""}', 500, "Illegal null or empty Level name."),
        ("PUT", FOO, b"[]", 500, None),
        ("PUT", FOO, b"", 500, None),
        ("PUT", FOO, b"null", 500, None),
        ("PUT", f"/admin/loggers/{'x' * 20_000}", b'{"level":"INFO"}', 500, None),
        ("DELETE", "/admin/loggers/root", None, 405, "HTTP 405 Method Not Allowed"),
    ],
)
def test_what_cannot_be_set_changes_nothing(
    tmp_path: Path, method: str, path: str, body: bytes | None, status: int, message: str | None
) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        headers = {"content-type": "application/json"} if body is not None else {}
        answer = await client.request(method, path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (status, status)
        assert message in (None, answer.json()["message"])
        assert supervisor.board.levels.read() == []

    talk(tmp_path, about)


def test_a_part_serves_what_is_its_own(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        assert (await client.get("/admin/loggers")).status_code == 200
        assert (await client.get("/connectors")).status_code == 404

    async def about_public(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        assert (await client.get("/admin/loggers")).status_code == 404
        assert (await client.get("/connectors")).status_code == 200

    talk(tmp_path, about, "admin")
    talk(tmp_path, about_public, "public")
