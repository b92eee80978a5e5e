"""What surrounds the answers: CORS as Jetty 12's handler answers it, configured headers, paths as they were written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from engine.config.listeners import Part, Place
from engine.config.rest import Header, RestSettings
from tests.harness.rest import SETTINGS, serving

CORS = RestSettings(places=(Place("", 8083),), origins=("http://a", "https?://[a-z]+[.]b"), methods=("GET", "PUT"))
GRANTED = {"access-control-allow-origin": "http://a", "vary": "Origin"}
Talk = Callable[[httpx.AsyncClient], Awaitable[None]]


def talk(folder: Path, about: Talk, settings: RestSettings = SETTINGS, part: Part = "all") -> None:
    async def act() -> None:
        async with serving(folder, settings=settings, part=part) as (client, _):
            await about(client)

    asyncio.run(act())


def cors(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-") or name == "vary"}


def test_without_the_key_there_is_no_header_of_cors(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        assert cors(await client.get("/", headers={"origin": "http://a"})) == {}

    talk(tmp_path, about)


def test_an_allowed_origin_is_granted_and_another_served_without_a_grant(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        assert cors(await client.get("/", headers={"origin": "http://a"})) == GRANTED
        matched = cors(await client.get("/nope", headers={"origin": "https://x.b"}))
        assert matched["access-control-allow-origin"] == "https://x.b"
        for origin in ("http://ab", "https://x.b.evil", "null"):
            answer = await client.get("/", headers={"origin": origin})
            assert (answer.status_code, cors(answer)) == (200, {"vary": "Origin"})
        assert cors(await client.get("/")) == {"vary": "Origin"}

    talk(tmp_path, about, CORS)


def test_a_browser_that_asks_beforehand_is_told_what_it_may(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        asking = {"origin": "http://a", "access-control-request-method": "PUT"}
        answer = await client.options("/connectors", headers=asking)
        assert answer.status_code == 200
        assert cors(answer) == {
            **GRANTED,
            "access-control-allow-headers": "Content-Type",
            "access-control-allow-methods": "GET,PUT",
            "access-control-max-age": "60",
        }
        refused = await client.options("/connectors", headers={**asking, "origin": "http://evil"})
        assert cors(refused) == {"vary": "Origin"}

    talk(tmp_path, about, CORS)


def test_configured_headers_stand_on_every_answer(tmp_path: Path) -> None:
    headers = (
        Header("X-A", "1"),
        Header("X-B", "2", is_added=True),
        Header("X-B", "3", is_added=True),
        Header("Expires", "3600000", is_date=True),
    )

    async def about(client: httpx.AsyncClient) -> None:
        for path in ("/", "/nope", "//"):
            answer = await client.get(path)
            assert (answer.headers["x-a"], answer.headers.get_list("x-b")) == ("1", ["2", "3"])
            expires, now = (parsedate_to_datetime(answer.headers["expires"]), 0)
            assert expires.timestamp() > now

    talk(tmp_path, about, RestSettings(places=(), headers=headers))


@pytest.mark.parametrize("name", ["a/b", "50%", "a\\b", "a b", "a%2Fb", "a;b=c", "ünï", "{x}"])
def test_a_name_is_one_segment_of_the_path_whatever_is_in_it(tmp_path: Path, name: str) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        made = await client.post("/connectors", json={"name": name, "config": {"connector.class": "Generator"}})
        assert made.status_code == 201
        path = made.headers["location"]
        assert (await client.get(f"{path}/status")).json()["name"] == name
        assert (await client.delete(path)).status_code == 204
        assert (await client.get("/connectors")).json() == []

    talk(tmp_path, about)


@pytest.mark.parametrize(
    "path",
    [
        "//connectors",
        "/connectors//status",
        "/connectors//",
        "/connectors/a%00b",
        "/connectors/a%0Ab",
        "/connectors/%zz",
        "/connectors/%ff",
    ],
)
def test_a_path_that_says_nothing_sure_is_refused(tmp_path: Path, path: str) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        answer = await client.get(httpx.URL("http://worker", raw_path=path.encode()))
        assert (answer.status_code, answer.json()["error_code"]) == (400, 400)

    talk(tmp_path, about)


@pytest.mark.parametrize(
    "path", ["/connectors/", "/connector-plugins/", "/health/", "/connectors/a/", "/connectors/a;b"]
)
def test_a_slash_at_the_end_and_parameters_of_a_segment_say_nothing(tmp_path: Path, path: str) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        await client.post("/connectors", json={"name": "a", "config": {"connector.class": "Generator"}})
        assert (await client.get(path)).status_code == 200

    talk(tmp_path, about)


def test_every_path_says_which_methods_it_has(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        for path, methods in (("/connectors", "GET,HEAD,OPTIONS,POST"), ("/connectors/x", "DELETE,GET,HEAD,OPTIONS")):
            answer = await client.options(path)
            assert (answer.status_code, answer.headers["allow"]) == (200, methods)
            assert (answer.headers["content-type"], answer.text) == ("text/plain", methods.replace(",", ", "))
            for method in ("TRACE", "FOO"):
                assert (await client.request(method, path)).status_code == 405
        assert (await client.options("/nope")).status_code == 404

    talk(tmp_path, about)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/*", 200),
        ("application/xml;q=0.5, application/json;q=0.1", 200),
        ("", 200),
        ("text/plain", 406),
        ("garbage", 406),
        ("application/json;q=0", 406),
    ],
)
def test_who_takes_no_json_gets_none(tmp_path: Path, accept: str, status: int) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        answer = await client.get("/connectors", headers={"accept": accept})
        assert answer.status_code == status
        if status == 406:
            assert answer.json() == {"error_code": 406, "message": "HTTP 406 Not Acceptable"}
            assert "content-type" not in answer.headers
        assert (await client.get("/nope", headers={"accept": accept})).status_code == 404

    talk(tmp_path, about)


def test_a_body_that_says_to_be_something_else_is_not_read(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        for method, path in (("POST", "/connectors"), ("PUT", "/connectors/x/pause")):
            answer = await client.request(method, path, content=b"a", headers={"content-type": "text/plain"})
            assert answer.json() == {"error_code": 415, "message": "HTTP 415 Unsupported Media Type"}
            assert "content-type" not in answer.headers
        silent = await client.post("/connectors", content=b"{}")
        assert (silent.status_code, silent.headers["content-type"]) == (415, "application/json")

    talk(tmp_path, about)
