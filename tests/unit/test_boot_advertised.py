"""A worker's id is where others reach it: the listener that is advertised, or what stands in the keys for it."""

from __future__ import annotations

import socket

import pytest

from engine.boot import _advertised
from engine.config.listeners import Place
from engine.config.rest import RestSettings
from engine.config.worker_keys import OFFSETS_FILE, WorkerConfig
from engine.control.listen import open_listener

REQUIRED = {"key.converter": "K", "value.converter": "V", OFFSETS_FILE: "F"}
PLACES = (Place("", 0, "https", "public"), Place("127.0.0.1", 0, "http", "public"), Place("::1", 0, "https", "admin"))


@pytest.mark.parametrize(
    ("given", "host", "index"),
    [
        ({}, "127.0.0.1", 1),  # http, if there is such a one
        ({"rest.advertised.listener": "HTTPS"}, socket.gethostname(), 0),
        ({"rest.advertised.host.name": "w1.example"}, "w1.example", 1),
        ({"rest.advertised.host.name": "w1.example", "rest.advertised.port": "443"}, "w1.example", None),
    ],
)
def test_the_id_names_the_listener_that_is_advertised(given: dict[str, str], host: str, index: int | None) -> None:
    worker = WorkerConfig.parse({**REQUIRED, **given})
    with open_listener(0, "127.0.0.1") as first, open_listener(0, "127.0.0.1") as second:
        told = _advertised(worker, RestSettings(places=PLACES), (first, second))
        port = 443 if index is None else (first, second)[index].getsockname()[1]
    assert told == f"{host}:{port}"


def test_behind_a_proxy_that_speaks_tls_the_first_listener_stands_in() -> None:
    worker = WorkerConfig.parse({**REQUIRED, "rest.advertised.listener": "https", "rest.advertised.port": "443"})
    with open_listener(0, "127.0.0.1") as only:
        assert _advertised(worker, RestSettings(places=(Place("h", 1),)), (only,)) == "h:443"
