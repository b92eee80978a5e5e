"""How long a user waits: from the start of the process to the first record in the sink's file, nothing warm."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from bench.line.fill import fill_topic
from bench.line.goals import Goal
from bench.line.records import TEXT
from bench.line.results import FIRST_RECORD, Result
from bench.line.sides import CONNECT, TEXT_CONVERTER, ConnectSide, Job, MillraceSide, Side
from bench.line.throughput import PARTITIONS, Place, file_size, sink_config
from tests.harness import topics, wait
from tests.harness.measure import pss_bytes, tree

__all__ = ["LINES", "StartLine"]

RECORDS = 1_000
TOPIC = "orders-start"
FIRST_S = 120.0
LOOK_S = 0.002


class StartLine(Struct, frozen=True):
    """A fresh process of each side over a topic that has records."""

    name: str
    title: str

    goals: ClassVar[tuple[Goal, ...]] = (Goal(FIRST_RECORD, 1.0),)

    def prepare(self, place: Place) -> None:
        """A small topic, filled once."""
        topics.create_topic(place.bootstrap, TOPIC, partitions=PARTITIONS)
        fill_topic(place.bootstrap, TOPIC, TEXT, RECORDS, PARTITIONS)

    def run(self, side: Side, place: Place, number: int) -> Result:
        """One start; the side that is given says which, the process is a new one."""
        name = f"{self.name}-{side.name}-{number}"
        file = place.folder / f"{name}.txt"
        fresh = _fresh(side.name, place, name)
        try:
            return self._measure(fresh, place, name, file, number)
        finally:
            fresh.close()

    def _measure(self, fresh: ConnectSide | MillraceSide, place: Place, name: str, file: Path, number: int) -> Result:
        started = time.monotonic()
        ready_s = None
        if isinstance(fresh, ConnectSide):
            fresh.worker.start()
            ready_s = time.monotonic() - started
        job = Job(name, sink_config(TOPIC, file, {"value.converter": TEXT_CONVERTER}))
        pid = fresh.begin(job)
        wait.until(lambda: file_size(file) > 0, "first record", timeout_s=FIRST_S, look_every_s=LOOK_S)
        first_record_s = time.monotonic() - started
        whole = RECORDS * (TEXT.bytes_each + 1)
        wait.until(lambda: file_size(file) == whole, "all records", timeout_s=FIRST_S)
        pss_mb = pss_bytes(tree(pid)) / 1e6
        fresh.end()
        file.unlink()
        return Result(
            line=self.name,
            side=fresh.name,
            round=number,
            records=RECORDS,
            peak_pss_mb=pss_mb,
            ready_s=ready_s,
            first_record_s=first_record_s,
        )


def _fresh(side: str, place: Place, name: str) -> ConnectSide | MillraceSide:
    kind = ConnectSide if side == CONNECT else MillraceSide
    return kind(place.bootstrap, place.folder / name)


LINES = (StartLine("start", "start of the process to the first record"),)
