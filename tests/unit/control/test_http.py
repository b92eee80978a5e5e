"""A listener speaks HTTP or HTTPS, and no client, slow, loud or in a crowd, takes more than its share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.config.rest import RestSettings, read_rest
from engine.config.rest_keys import RestKeys
from engine.control.http import serve_at
from engine.control.listen import open_listener
from tests.harness.certificates import Authority

LIMIT_S = 20.0
Talk = Callable[[int], Awaitable[None]]


async def echo(request: Request) -> Response:
    certificate = request.state.certificate
    subject = None if certificate is None else certificate["subject"][0][0][1]
    return JSONResponse({"bytes": len(await request.body()), "subject": subject, "scheme": request.url.scheme})


@asynccontextmanager
async def serving(settings: RestSettings, look_seconds: float = 60.0) -> AsyncIterator[int]:
    """The port."""
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    with open_listener(0, "127.0.0.1") as listener:
        server = asyncio.create_task(serve_at(listener, app, settings, settings.tls, look_seconds))
        try:
            yield listener.getsockname()[1]
        finally:
            server.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server


def talk(settings: RestSettings, about: Talk, **more: float) -> None:
    async def act() -> None:
        async with asyncio.timeout(LIMIT_S), serving(settings, **more) as port:
            await about(port)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop that serves
        runner.run(act())


async def said(port: int, *pieces: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """All that a client hears that says this and then waits for the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    heard = await reader.read()
    writer.close()
    return heard


async def refused(port: int, *pieces: bytes, context: ssl.SSLContext | None = None) -> bool:
    """Whether nothing is heard, however the connection ends."""
    try:
        return await said(port, *pieces, context=context) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def answer(heard: bytes) -> tuple[int, dict[str, object]]:
    head, _, body = heard.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def tls(folder: Path, **more: str) -> tuple[RestSettings, Authority]:
    authority = Authority(folder)
    given = {"listeners": "https://:0", "ssl.keystore.location": str(authority.issue(folder / "me.pem", "me")), **more}
    given = {key.replace("_", "."): value for key, value in given.items()}
    if "ssl.client.auth" in given:
        given["ssl.truststore.location"] = str(authority.file)
    return read_rest(RestKeys.parse(dict(given)), given), authority


LAST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


@pytest.mark.slow
def test_https_is_spoken_and_a_client_may_be_without_a_certificate(tmp_path: Path) -> None:
    settings, authority = tls(tmp_path, ssl_client_auth="requested")

    async def about(port: int) -> None:
        context = ssl.create_default_context(cafile=str(authority.file))
        assert answer(await said(port, LAST, context=context)) == (
            200,
            {"bytes": 0, "subject": None, "scheme": "https"},
        )
        context.load_cert_chain(authority.issue(tmp_path / "client.pem", "grafana"))
        assert answer(await said(port, LAST, context=context))[1]["subject"] == "grafana"
        assert await said(port, LAST) == b""  # no TLS

    talk(settings, about)


@pytest.mark.slow
def test_where_a_certificate_is_required_none_and_a_foreign_one_are_refused(tmp_path: Path) -> None:
    settings, authority = tls(tmp_path, ssl_client_auth="required")
    foreign = Authority(tmp_path / "foreign", "foreign")

    async def about(port: int) -> None:
        bare = ssl.create_default_context(cafile=str(authority.file))
        other = ssl.create_default_context(cafile=str(authority.file))
        other.load_cert_chain(foreign.issue(tmp_path / "other.pem", "other"))
        for context in (bare, other):
            assert await refused(port, LAST, context=context)
        bare.load_cert_chain(authority.issue(tmp_path / "client.pem", "grafana"))
        assert answer(await said(port, LAST, context=bare))[0] == 200

    talk(settings, about)


@pytest.mark.slow
def test_clients_wait_while_there_is_no_certificate(tmp_path: Path) -> None:
    settings, authority = tls(tmp_path)
    pem, text = tmp_path / "me.pem", (tmp_path / "me.pem").read_text()
    pem.write_text("nonsense")

    async def about(port: int) -> None:
        context = ssl.create_default_context(cafile=str(authority.file))
        waiting = asyncio.create_task(said(port, LAST, context=context))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        pem.write_text(text)
        assert answer(await waiting)[0] == 200

    talk(settings, about, look_seconds=0.01)


@pytest.mark.slow
def test_a_certificate_that_is_renewed_is_served_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, authority = tls(tmp_path)

    async def served(port: int) -> str:
        context = ssl.create_default_context(cafile=str(authority.file))
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
        return str(subject[0][0][1])

    async def about(port: int) -> None:
        assert await served(port) == "me"
        authority.issue(tmp_path / "me.pem", "renewed")
        while await served(port) != "renewed":
            pass
        (tmp_path / "me.pem").write_text("-----BEGIN nothing")
        while "stays as it was" not in caplog.text:
            await served(port)
        assert await served(port) == "renewed"

    talk(settings, about, look_seconds=0.01)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HT",),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc",),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HTTP/1.1\r\nho"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",),
    ],
)
def test_a_request_that_does_not_arrive_is_answered_and_its_connection_closed(pieces: tuple[bytes, ...]) -> None:
    async def about(port: int) -> None:
        heard = await said(port, *pieces)
        status, body = answer(heard[heard.rindex(b"HTTP/1.1 ") :])
        assert (status, body["error_code"]) == (408, 408)

    talk(RestSettings(places=(), request_seconds=0.1), about)


def test_a_connection_that_never_speaks_is_closed_without_a_word() -> None:
    async def about(port: int) -> None:
        assert await said(port) == b""

    talk(RestSettings(places=(), request_seconds=0.1), about)


@pytest.mark.slow
def test_a_whole_request_may_take_longer_to_answer_than_to_arrive() -> None:
    async def about(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):  # one connection, kept
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            await asyncio.sleep(0.15)  # the client's own pause, longer than a request may take
        writer.close()

    talk(RestSettings(places=(), request_seconds=0.1), about)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 66_000, 431),
        (b"GET /" + b"y" * 66_000, 431),
    ],
)
def test_what_is_no_http_is_refused_in_the_shape_of_every_error(head: bytes, status: int) -> None:
    async def about(port: int) -> None:
        assert answer(await said(port, head))[0] == status

    talk(RestSettings(places=()), about)


def test_what_connects_beyond_the_limit_is_told_so_and_far_beyond_it_closed() -> None:
    async def about(port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert (await said(port, LAST)).startswith(b"HTTP/1.1 200")
        idle.append(await asyncio.open_connection("127.0.0.1", port))
        status, body = answer(await said(port, LAST))
        assert (status, body["error_code"]) == (503, 503)
        assert "rest.connections.max" in str(body["message"])
        idle += [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert await refused(port, LAST)
        for _, writer in idle:
            writer.close()
        while (await said(port, LAST)).startswith(b"HTTP/1.1 503"):  # until it has seen that they are gone
            pass

    talk(RestSettings(places=(), connections_max=4), about)


def test_a_client_that_closes_its_sending_side_is_answered() -> None:
    async def about(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LAST)
        writer.write_eof()
        assert answer(await reader.read())[0] == 200
        writer.close()

    talk(RestSettings(places=()), about)
