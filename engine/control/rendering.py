"""Metrics as text, while others are served: of hundreds of tasks they take the better part of a second.

    pieces of the collector ──► text of each ──► joined
                             └─ whoever else this process serves has a turn

Used by: engine.control.app, engine.control.serving.
Not here: what is measured (engine.metrics).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from engine.metrics.collector import BoardCollector

__all__ = ["rendered"]


class _Some(Collector):
    """These families and no others."""

    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


async def rendered(collector: BoardCollector, encode: Callable[[Collector], bytes]) -> bytes:
    """What `encode` makes of the collector, byte for byte."""
    end = encode(_Some())
    parts = []
    for family in collector.pieces():
        if family is not None:
            parts.append(encode(_Some(family)).removesuffix(end))
        await asyncio.sleep(0)
    return b"".join([*parts, end])
