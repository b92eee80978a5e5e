"""Whatever bytes come, a listener answers the next client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.rest import RestSettings
from tests.harness.served import Served

pytestmark = pytest.mark.slow

EXAMPLES = 40
LIMIT_S = 5.0

_METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"\0", b"get"])
_PATHS = st.sampled_from(
    [b"/", b"/connectors", b"/connectors/%00", b"*", b"http://x/", b"//", b"/\xff", b"/?" + b"a" * 99]
)
_HEADERS = st.lists(
    st.sampled_from(
        [
            b"host: a",
            b"content-length: 5",
            b"content-length: -1",
            b"content-length: 99999999999999999999",
            b"transfer-encoding: chunked",
            b"transfer-encoding: gzip",
            b"expect: 100-continue",
            b"connection: upgrade\r\nupgrade: websocket",
            b"connection: upgrade\r\nupgrade: h2c",
            b"content-type: application/json",
            b"authorization: Basic \xff",
            b"origin: \xff",
            b"accept: ;;;,,",
            b": nothing",
            b"folded:\r\n more",
        ]
    ),
    max_size=4,
)
_REQUESTS = st.builds(
    lambda method, path, headers, body: b"".join(
        (method, b" ", path, b" HTTP/1.1\r\n", *(one + b"\r\n" for one in headers), b"\r\n", body)
    ),
    _METHODS,
    _PATHS,
    _HEADERS,
    st.sampled_from([b"", b"{", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"hello", b"zz\r\n"]),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), RestSettings(places=(), request_seconds=0.2)) as made:
        yield made


@settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
@given(said=st.one_of(st.binary(max_size=200), _REQUESTS, st.lists(_REQUESTS, max_size=3).map(b"".join)))
def test_nothing_that_is_said_takes_it_down(served: Served, said: bytes) -> None:
    port = int(served.url.rpartition(":")[2])
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), LIMIT_S) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    assert httpx.get(f"{served.url}/livez", timeout=LIMIT_S).status_code == 200
