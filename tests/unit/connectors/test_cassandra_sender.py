"""Requests in flight: none counts as answered before whoever waits has seen what became of it."""

from __future__ import annotations

from typing import Any

import cassandra

from connectors.cassandra.sender import Request, Sender
from engine.api.testing import sink_batch
from tests.harness.fake_cassandra import FakeLink


def test_all_is_answered_only_when_what_has_failed_was_asked_for() -> None:
    link = FakeLink()
    link.open()
    link.fail = lambda rows: cassandra.InvalidRequest("no such row")
    sender = Sender(link, requests_max=4, silence_s=1.0)
    statement: Any = None  # the server in memory looks at no statement
    assert sender.send(Request(statement, [(b"1", b"x")], sink_batch(["x"]), [0]))
    assert sender.drain()
    assert not sender.is_idle
    assert [str(error) for _, error in sender.failed()] == ["no such row"]
    assert sender.is_idle
