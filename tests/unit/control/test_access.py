"""Only who is known and may gets an answer; who is refused is told as Kafka Connect tells it, and the log knows."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Message

from engine.config.access import JAAS_KEY, KEY, AccessFile
from engine.config.passwords import Hash, _digest
from engine.config.rest import RestSettings
from engine.control.access import Access, Gate, subject_of
from tests.harness.rest import serving

ALICE, BOB = ("alice", "s3cret-of-alice"), ("bob", "s3cret-of-bob")
CONFIG = {"connector.class": "Generator"}
Talk = Callable[[httpx.AsyncClient], Awaitable[None]]


def quick(password: str) -> Hash:
    """A hash that is made and compared at once."""
    return Hash(2, 1, 1, b"salt", _digest(password, 2, 1, 1, b"salt"))


def rules(folder: Path, *more: str) -> AccessFile:
    path = folder / "access.toml"
    users = (f'[users.{name}]\nrole = "{role}"\npassword = "{quick(password)}"\n' for (name, password), role in
             ((ALICE, "write"), (BOB, "read")))  # fmt: skip
    path.write_text("".join((*users, *more)))
    return AccessFile(KEY, str(path))


def talk(folder: Path, about: Talk, access: AccessFile | None = None) -> None:
    async def act() -> None:
        settings = RestSettings(places=(), access=access or rules(folder), origins=("*",))
        async with serving(folder, settings=settings) as (client, _):
            await about(client)

    asyncio.run(act())


def test_who_reads_may_read_and_who_writes_may_do_both(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        body = {"name": "a", "config": CONFIG}
        for user, wrote in ((BOB, 403), (ALICE, 201)):
            assert (await client.get("/connectors", auth=user)).status_code == 200
            assert (await client.head("/connectors", auth=user)).status_code == 200
            assert (await client.post("/connectors", json=body, auth=user)).status_code == wrote
        refused = await client.delete("/connectors/a", auth=BOB)
        assert refused.json() == {"error_code": 403, "message": "Access denied: user 'bob' may only read."}
        assert (await client.put("/admin/loggers/x", json={"level": "INFO"}, auth=BOB)).status_code == 403
        assert (await client.get("/connectors", auth=BOB)).json() == ["a"]

    talk(tmp_path, about)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Basic " + base64.b64encode(b"alice:wrong").decode(),
        "Basic " + base64.b64encode(b"alice:").decode(),
        "Basic " + base64.b64encode(b"eve:s3cret-of-alice").decode(),
        "Basic " + base64.b64encode(b"alice").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic !!!",
        "Bearer x",
        "",
    ],
)
def test_nobody_else_gets_anything(tmp_path: Path, header: str | None) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        headers = {} if header is None else {"authorization": header}
        for method, path in (
            ("GET", "/"),
            ("GET", "/health"),
            ("POST", "/connectors"),
            ("GET", "/x"),
        ):
            answer = await client.request(method, path, headers=headers)
            assert (answer.status_code, answer.text) == (401, "User cannot access the resource.")
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["www-authenticate"].startswith("Basic ")

    talk(tmp_path, about)


def test_probes_and_what_a_browser_asks_beforehand_need_nobody(tmp_path: Path) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        assert (await client.get("/livez")).status_code == (await client.get("/readyz")).status_code == 200
        asking = {"origin": "http://a", "access-control-request-method": "GET"}
        assert (await client.options("/connectors", headers=asking)).status_code == 200

    talk(tmp_path, about)


def test_refusals_stand_in_the_log_without_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def about(client: httpx.AsyncClient) -> None:
        await client.get("/connectors", auth=("alice", "almost-the-secret"))
        await client.post("/connectors", auth=BOB)
        await client.get("/connectors")
        await client.get("/connectors", auth=("a\nb", "x"))

    with caplog.at_level(logging.INFO, "millrace.control.access"):
        talk(tmp_path, about)
    told = [record.getMessage() for record in caplog.records if record.name == "millrace.control.access"]
    assert told == [
        "refused GET '/connectors' from 127.0.0.1: user 'alice' with a wrong password, or unknown",
        "refused POST '/connectors' from 127.0.0.1: user 'bob' may only read",
        "refused GET '/connectors' from 127.0.0.1: no credentials",
        "refused GET '/connectors' from 127.0.0.1: user 'a\\nb' with a wrong password, or unknown",
    ]
    assert "almost-the-secret" not in caplog.text
    assert BOB[1] not in caplog.text


def test_a_file_that_changes_counts_at_once_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def status(client: httpx.AsyncClient, user: tuple[str, str]) -> int:
        return (await client.get("/connectors", auth=user)).status_code

    def replace(text: str) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.replace(tmp_path / "access.toml")

    async def about(client: httpx.AsyncClient) -> None:
        assert [await status(client, user) for user in (ALICE, BOB)] == [200, 200]
        replace(f'[users.bob]\nrole = "read"\npassword = "{quick("new-of-bob")}"\n')
        assert [await status(client, user) for user in (ALICE, BOB, ("bob", "new-of-bob"))] == [401, 401, 200]
        replace("nonsense")
        assert await status(client, ("bob", "new-of-bob")) == 200
        (tmp_path / "access.toml").unlink()
        assert await status(client, ("bob", "new-of-bob")) == 200

    talk(tmp_path, about)
    assert caplog.text.count("the rules stay as they were") == 1


def test_nobody_is_let_in_while_there_are_no_rules_and_everybody_named_once_there_are(tmp_path: Path) -> None:
    access = rules(tmp_path)
    path, text = Path(access.path), Path(access.path).read_text()
    path.write_text("nonsense")

    def mend() -> None:
        path.write_text(text)

    async def about(client: httpx.AsyncClient) -> None:
        assert (await client.get("/connectors", auth=ALICE)).status_code == 401
        mend()
        assert (await client.get("/connectors", auth=ALICE)).status_code == 200

    talk(tmp_path, about, access)


def test_users_of_kafka_connects_extension_may_do_everything(tmp_path: Path) -> None:
    module = "org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule"
    (tmp_path / "users.properties").write_text("alice=secret\n")
    (tmp_path / "jaas.conf").write_text(f'KafkaConnect {{ {module} required file="{tmp_path}/users.properties"; }};')

    async def about(client: httpx.AsyncClient) -> None:
        body = {"name": "a", "config": CONFIG}
        assert (await client.post("/connectors", json=body, auth=("alice", "secret"))).status_code == 201
        assert (await client.get("/connectors", auth=("alice", "wrong"))).status_code == 401

    talk(tmp_path, about, AccessFile(JAAS_KEY, str(tmp_path / "jaas.conf")))


def test_the_subject_of_a_certificate_is_written_as_openssl_writes_it() -> None:
    subject = ((("countryName", "XX"),), (("organizationName", "Example, Inc"),), (("commonName", "grafana"),))
    assert subject_of({"subject": subject}) == "CN=grafana,O=Example\\, Inc,C=XX"


def test_a_client_is_known_by_its_certificate(tmp_path: Path) -> None:
    named = '[[certificates]]\nsubject = "CN=grafana, O=example"\nrole = "read"\n'
    shown = {"subject": ((("organizationName", "example"),), (("commonName", "grafana"),))}
    other = {"subject": ((("commonName", "grafana"),),)}

    async def asked(access: Access, method: str, certificate: object) -> int:
        answers: list[Message] = []

        async def keep(message: Message) -> None:
            answers.append(message)

        scope = {"type": "http", "method": method, "path": "/", "headers": [], "state": {"certificate": certificate}}
        await access(scope, no_body, keep)
        status: int = answers[0]["status"]
        return status

    async def act() -> None:
        access = Access(Response("let in"), Gate(rules(tmp_path, named)))
        assert await asked(access, "GET", shown) == 200
        assert await asked(access, "PUT", shown) == 403
        assert await asked(access, "GET", other) == 401
        assert await asked(access, "GET", None) == 401

    asyncio.run(act())


async def no_body() -> Message:
    return {"type": "http.request"}
