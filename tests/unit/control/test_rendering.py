"""Metrics are rendered a piece at a time, and come out as if they had been at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from engine.control.rendering import rendered
from engine.metrics.collector import BoardCollector
from engine.shm import segment
from engine.shm.board import Board, Identity, board_bytes
from tests.harness.banks import VirtualClock

TASKS = 20


@pytest.fixture
def collector() -> Iterator[BoardCollector]:
    descriptor = segment.create("board", board_bytes(TASKS))
    board = Board(descriptor)
    board.begin(1)
    for task in range(TASKS):
        board.add(Identity("orders", task, "source", "none"))
    yield BoardCollector(board, clock=VirtualClock(), wall_seconds=lambda: 0.0)
    os.close(descriptor)


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_the_text_is_that_of_all_families_together(accept: str, collector: BoardCollector) -> None:
    encode: Callable[[Collector], bytes] = choose_encoder(accept)[0]
    assert asyncio.run(rendered(collector, encode)) == encode(collector)


def test_others_are_served_meanwhile(collector: BoardCollector) -> None:
    encode = choose_encoder("")[0]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def act() -> bytes:
        counting = asyncio.create_task(count())
        try:
            return await rendered(collector, encode)
        finally:
            counting.cancel()

    families = asyncio.run(act()).count(b"# TYPE")
    assert turns >= families > 10
