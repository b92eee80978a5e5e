"""A link carries messages of any size whole and in order, waits for nobody, and tells when the other end is gone."""

from __future__ import annotations

import os

import pytest

from engine.shm import link
from engine.shm.link import Link, LinkClosedError


@pytest.fixture
def ends() -> tuple[Link, Link]:
    ours, theirs = Link.pair()
    return ours, Link(theirs)


def test_messages_come_whole_and_in_order_whatever_their_size(ends: tuple[Link, Link]) -> None:
    sent = [
        bytes([65 + number]) * size for number, size in enumerate((1, link.INLINE_BYTES, link.INLINE_BYTES + 1, 10**6))
    ]
    for message in sent:
        assert ends[0].send(message)
    assert [ends[1].receive() for _ in sent] == sent
    assert ends[1].receive() is None


def test_large_messages_leave_no_descriptor_behind(ends: tuple[Link, Link]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        ends[0].send(b"x" * 100_000)
        ends[1].receive()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_end_that_does_not_listen_is_not_waited_for(ends: tuple[Link, Link]) -> None:
    sent = 0
    while ends[0].send(b"x" * link.INLINE_BYTES):
        sent += 1
        assert sent < 10_000
    ends[1].receive()
    assert ends[0].send(b"y")


def test_a_process_that_is_gone_is_noticed_by_both_ways(ends: tuple[Link, Link]) -> None:
    ends[0].send(b"last")
    ends[0].close()
    assert ends[1].receive() == b"last"
    with pytest.raises(LinkClosedError):
        ends[1].receive()
    with pytest.raises(LinkClosedError):
        ends[1].send(b"x")
