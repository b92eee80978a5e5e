"""`/connector-plugins` lists plugins, tells of their keys and validates; what needs their code is asked of a child."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from engine.control import herding
from tests.harness.rest import ScriptedSupervisor
from tests.unit.control.test_rest import error, talk

VALIDATE = "/connector-plugins/{}/config/validate"
GOOD = {"name": "orders", "connector.class": "org.example.GeneratorConnector"}


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ("", ["source"]),
        ("?connectorsOnly=true", ["source"]),
        ("?connectorsOnly=", ["source"]),
        ("?connectorsOnly=false", ["source", "converter"]),
        ("?connectorsOnly=maybe", ["source", "converter"]),
    ],
)
def test_connectors_are_listed_alone_unless_others_are_asked_for(tmp_path: Path, query: str, types: list[str]) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        found = (await client.get(f"/connector-plugins{query}")).json()
        assert [plugin["type"] for plugin in found] == types

    talk(tmp_path, about)


def test_a_configuration_is_validated_without_nulls_and_with_numbers_as_text(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await client.put(VALIDATE.format("Generator"), json={**GOOD, "tasks.max": 2, "file": None})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        told = {one["value"]["name"]: one["value"]["value"] for one in answer.json()["configs"]}
        assert told == {**GOOD, "tasks.max": "2"}
        assert (await client.get("/connectors")).json() == []

    talk(tmp_path, about)


@pytest.mark.parametrize("plugin", ["GeneratorConnector", "Generator", "ator", "org.example.GeneratorConnector"])
def test_the_path_may_name_the_end_of_the_class(tmp_path: Path, plugin: str) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        assert (await client.put(VALIDATE.format(plugin), json=GOOD)).status_code == 200

    talk(tmp_path, about)


def test_the_class_of_the_path_and_of_the_body_must_agree(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        text = error(await client.put(VALIDATE.format("Sink"), json={"connector.class": "Generator"}), 400)
        assert text == "Included connector type Generator does not match request type Sink"

    talk(tmp_path, about)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{bad", b'{"a": {"b": 1}}', b'{"a": [1]}', b"{}"])
def test_what_is_no_configuration_is_500_as_in_kafka_connect(tmp_path: Path, body: bytes) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        path, kind = VALIDATE.format("Generator"), {"content-type": "application/json"}
        error(await client.put(path, content=body, headers=kind), 500)

    talk(tmp_path, about)


def test_keys_of_a_plugin_are_told_of_the_version_that_is_asked_for(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        for path, asked in (("a%2Fb/config?version=1.0", ("a/b", "1.0")), ("Json/config", ("Json", None))):
            (told,) = (await client.get(f"/connector-plugins/{path}")).json()
            assert (told["name"], told["default_value"]) == asked
        assert error(await client.get("/connector-plugins/Nope/config"), 404) == "Unknown plugin Nope."

    talk(tmp_path, about)


def test_a_validation_that_takes_long_holds_up_no_other_request(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        hanging = asyncio.create_task(client.put(VALIDATE.format("Hangs"), json={"connector.class": "Hangs"}))
        assert (await client.put("/connectors/a/config", json={"connector.class": "Generator"})).status_code == 201
        assert not hanging.done()
        hanging.cancel()

    talk(tmp_path, about)


def test_a_validation_that_takes_too_long_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(herding, "ANSWER_SECONDS", 0.05)

    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        answer = await client.put(VALIDATE.format("Hangs"), json={"connector.class": "Hangs"})
        assert error(answer, 500) == "Request timed out."

    talk(tmp_path, about)
