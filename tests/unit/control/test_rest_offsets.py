"""Offsets and used topics over REST: what is answered before any connector is asked, and what comes of asking.

What a connector agrees to, and what Kafka does then, is in tests/unit/test_altering.py and tests/kafka/test_offsets.py.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from engine.herder.model import PartitionOffset, Refusal
from engine.offsets.store import OffsetStore
from engine.shm.board import HeaderWord, Word
from tests.harness.rest import ScriptedSupervisor
from tests.unit.control.test_rest import error, made, talk


def test_used_topics_are_told_and_forgotten(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        assert (await client.get("/connectors/orders/topics")).json() == {"orders": {"topics": []}}
        store = OffsetStore(tmp_path / "store.db")
        store.note_topics("orders", ["t2", "t1"])
        assert (await client.get("/connectors/orders/topics")).json() == {"orders": {"topics": ["t1", "t2"]}}
        assert (await client.get("/connectors/x/topics")).json() == {"x": {"topics": []}}
        gone = await client.put("/connectors/orders/topics/reset")
        assert (gone.status_code, gone.content) == (202, b"")
        assert (await client.get("/connectors/orders/topics")).json() == {"orders": {"topics": []}}
        assert supervisor.board.header[HeaderWord.TOPICS_FORGOTTEN] == 1
        store.note_topics("orders", ["t1"])
        store.close()
        await client.delete("/connectors/orders")
        assert (await client.get("/connectors/orders/topics")).json() == {"orders": {"topics": []}}

    talk(tmp_path, about)


@pytest.mark.parametrize(
    ("method", "path", "switches", "message"),
    [
        ("GET", "topics", {"tracks_topics": False}, "Topic tracking is disabled."),
        ("PUT", "topics/reset", {"tracks_topics": False}, "Topic tracking is disabled."),
        ("PUT", "topics/reset", {"forgets_topics": False}, "Topic tracking reset is disabled."),
    ],
)
def test_what_of_topics_is_switched_off_is_403(
    tmp_path: Path, method: str, path: str, switches: dict[str, bool], message: str
) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        assert error(await client.request(method, f"/connectors/x/{path}"), 403) == message

    talk(tmp_path, about, **switches)


OFFSETS = {"offsets": [{"partition": {"filename": "f"}, "offset": {"position": 7}}]}
NEEDED = "Partitions / offsets need to be provided for an alter offsets request"


def test_what_a_source_has_stored_is_read_in_any_state(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        await made(client)
        assert (await client.get("/connectors/orders/offsets")).json() == {"offsets": []}
        store = OffsetStore(tmp_path / "store.db")
        store.write("orders", [(b'{"filename":"f"}', b'{"position":7}'), (b'{"filename":"g"}', b"null")])
        store.write("others", [(b'{"filename":"h"}', b'{"position":8}')])
        store.close()
        assert (await client.get("/connectors/orders/offsets")).json() == OFFSETS
        assert error(await client.get("/connectors/x/offsets"), 404) == "Connector x not found"

    talk(tmp_path, about)


def test_what_a_sinks_group_has_committed_is_asked_of_a_child(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await client.post("/connectors", json={"name": "a", "config": {"connector.class": "Sink"}})
        found = await client.get("/connectors/a/offsets")
        assert (found.status_code, found.json()) == (200, {"offsets": []})
        supervisor.refusal = Refusal(500, "Failed to retrieve consumer group offsets for sink connector a")
        assert error(await client.get("/connectors/a/offsets"), 500).startswith("Failed to retrieve")

    talk(tmp_path, about)


def test_offsets_of_a_stopped_connector_are_altered_and_reset(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await made(client)
        assert "STOPPED state" in error(await client.patch("/connectors/orders/offsets", json=OFFSETS), 400)
        assert "STOPPED state" in error(await client.delete("/connectors/orders/offsets"), 400)
        await client.put("/connectors/orders/stop")
        altered = await client.patch("/connectors/orders/offsets", json=OFFSETS)
        assert (altered.status_code, altered.json()) == (200, {"message": "altered"})
        assert (await client.delete("/connectors/orders/offsets")).status_code == 200
        first, second = supervisor.altered
        assert first.offsets == (PartitionOffset({"filename": "f"}, {"position": 7}),)
        assert second.offsets is None
        supervisor.refusal = Refusal(500, "Partition objects cannot be null")
        assert error(await client.patch("/connectors/orders/offsets", json=OFFSETS), 500) == supervisor.refusal.message

    talk(tmp_path, about)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 500, "JSON body"),
        (b"null", 500, "expected"),
        (b"[]", 500, "expected"),
        (b"{}", 400, NEEDED),
        (b'{"offsets": null}', 400, NEEDED),
        (b'{"offsets": []}', 400, NEEDED),
        (b'{"offsets": {}}', 500, "expected an array"),
        (b'{"offsets": [7]}', 500, "expected an object"),
        (b'{"offsets": [null]}', 500, "expected an object"),
        (b'{"offsets": [{"partition": 7, "offset": null}]}', 500, "partition"),
        (b'{"offsets": [{"partition": {}, "offset": "x"}]}', 500, "offset"),
        (b'{"offsets": [{"partition": {}, "offsets": {}}]}', 500, "expected an object"),
        (b'{"offsets": [{}], "more": 1}', 500, "expected"),
        (b'{"offsets": [{}]}', 404, "Connector x not found"),
    ],
)
def test_a_body_that_is_no_offsets_is_refused_before_anything_else(
    tmp_path: Path, content: bytes, status: int, words: str
) -> None:
    async def about(client: httpx.AsyncClient, _: ScriptedSupervisor) -> None:
        headers = {"content-type": "application/json"}
        assert words in error(await client.patch("/connectors/x/offsets", content=content, headers=headers), status)

    talk(tmp_path, about)


def test_a_sinks_tasks_tell_how_many_partitions_they_have(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient, supervisor: ScriptedSupervisor) -> None:
        await client.post("/connectors", json={"name": "a", "config": {"connector.class": "Sink", "tasks.max": "2"}})
        supervisor.row("a", 0).set(Word.PARTITIONS, 3)
        tasks = (await client.get("/connectors/a/status")).json()["tasks"]
        assert [task["millrace"]["partitions"] for task in tasks] == [3, 0]
        await made(client)
        tasks = (await client.get("/connectors/orders/status")).json()["tasks"]
        assert "partitions" not in tasks[0]["millrace"]

    talk(tmp_path, about)
