"""How old a record is when it stands in the sink's file: made by a paced producer, seen by reading the file's end.

    paced producer ──► broker ──► side ──► file ──► tail of the file
    stamps the value                                notes the moment of each read

The tail looks every 0.2 ms, for both sides alike; the age includes the producer's and the broker's part.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from bench.line.goals import Goal
from bench.line.paced import PARTITIONS, VALUE_BYTES, partition_of, read_stamp
from bench.line.results import P50, P99, WARM_ROUND, Result
from bench.line.sides import BARE, CONNECT, TEXT_CONVERTER, Job, ProgramSide, Side
from bench.line.throughput import Place, file_size, sink_config
from tests.harness import topics, wait
from tests.harness.measure import cpu_seconds, pss_bytes, tree

__all__ = ["LINES", "LatencyLine"]

WARM_S = 5  # the first records: joining, the first fetches; their ages are left out
MEASURED_S = 20  # in 10 one pause of a tenth of a second, of the broker or of the host, decides over the p99
#: What is not counted, the broker's JVM and Kafka Connect's, which compile while it runs. Measured at 10,000 a second:
#: a fresh broker acknowledges after 70 to 180 ms, one that has had some of them after 1.1 ms; Kafka Connect has half of
#: a core's compiling to do in the minute after the first.
UNCOUNTED_S = 120
LOOK_S = 0.0002
READ_BYTES = 1 << 20
LATE_S = 60.0
JOINED_S = 60.0


class LatencyLine(Struct, frozen=True):
    """One pace."""

    name: str
    title: str
    pace_per_s: int

    #: Of half the records, and of all but one in a hundred.
    goals: ClassVar[tuple[Goal, ...]] = (Goal(P50, 1.5, CONNECT, enough=1.5), Goal(P99, 1.0, CONNECT))

    def prepare(self, place: Place) -> None:
        """Have the broker warm; each run has a topic of its own."""
        self.run(ProgramSide(BARE, place.bootstrap, "topics", "file"), place, WARM_ROUND)

    def run(self, side: Side, place: Place, number: int) -> Result:
        """One run; every record that was made must be in the file, once, partitions in order."""
        name = f"{self.name}-{side.name}-{number}"
        file = place.folder / f"{name}.txt"
        seconds_made = UNCOUNTED_S if number == WARM_ROUND else WARM_S + MEASURED_S
        records = self.pace_per_s * seconds_made
        topics.create_topic(place.bootstrap, name, partitions=PARTITIONS)
        pid = side.begin(Job(name, sink_config(name, file, {"value.converter": TEXT_CONVERTER})))
        self._wait_until_it_flows(place.bootstrap, name, file)

        used, since = cpu_seconds(tree(pid)), time.monotonic()
        arrivals = self._tail_while_produced(place.bootstrap, name, file, seconds_made)
        cpu_us = (cpu_seconds(tree(pid)) - used) * 1e6 / records
        seconds = time.monotonic() - since
        pss_mb = pss_bytes(tree(pid)) / 1e6
        side.end()

        ages = _ages_ms(arrivals, records, self.pace_per_s)
        file.unlink()
        topics.delete_topic(place.bootstrap, name)
        return Result(
            line=self.name,
            side=side.name,
            round=number,
            records=records,
            rate_per_s=records / seconds,
            cpu_us_per_record=cpu_us,
            peak_pss_mb=pss_mb,
            age_p50_ms=ages[len(ages) // 2],
            age_p99_ms=ages[len(ages) * 99 // 100],
        )

    def _wait_until_it_flows(self, bootstrap: str, topic: str, file: Path) -> None:
        # One record in each partition: when all are in the file, every partition is being read.
        topics.produce(bootstrap, topic, ["first"] * PARTITIONS, partitions=range(PARTITIONS))
        wait.until(
            lambda: file_size(file) == PARTITIONS * len("first\n"), "first record of each partition", timeout_s=JOINED_S
        )

    def _tail_while_produced(self, bootstrap: str, topic: str, file: Path, seconds: int) -> list[tuple[int, bytes]]:
        command = [sys.executable, "-m", "bench.line.paced", bootstrap, topic, str(self.pace_per_s), str(seconds)]
        producer = subprocess.Popen(command)
        try:
            arrivals = _tail(file, self.pace_per_s * seconds * (VALUE_BYTES + 1), seconds + LATE_S)
            assert producer.wait(LATE_S) == 0, "the paced producer failed"
        finally:
            producer.kill()
        return arrivals


def _tail(file: Path, size: int, timeout_s: float) -> list[tuple[int, bytes]]:
    """What is appended, `size` bytes of it, as (moment of the read in ns, bytes read)."""
    arrivals = []
    deadline = time.monotonic() + timeout_s
    descriptor = os.open(file, os.O_RDONLY)
    os.lseek(descriptor, 0, os.SEEK_END)
    while size > 0:
        read = os.read(descriptor, READ_BYTES)
        if read:
            arrivals.append((time.monotonic_ns(), read))
            size -= len(read)
            continue
        assert time.monotonic() < deadline, f"{size} bytes did not arrive within {timeout_s:g} s"
        time.sleep(LOOK_S)
    os.close(descriptor)
    return arrivals


def _ages_ms(arrivals: Sequence[tuple[int, bytes]], records: int, rate: int) -> list[float]:
    """The ages of all but the first `WARM_S` of records, sorted. Raises AssertionError unless each is there once."""
    ages = []
    numbers: list[list[int]] = [[] for _ in range(PARTITIONS)]
    torn = b""
    for seen_ns, read in arrivals:
        *lines, torn = (torn + read).split(b"\n")
        for line in lines:
            number, made_ns = read_stamp(line)
            numbers[partition_of(number, rate)].append(number)
            if number >= rate * WARM_S:
                ages.append((seen_ns - made_ns) / 1e6)
    for partition, found in enumerate(numbers):
        made = [number for number in range(records) if partition_of(number, rate) == partition]
        assert found == made, f"partition {partition}: {len(found)} records"
    return sorted(ages)


LINES = (
    LatencyLine("age-1k", "age of a record at the sink, 1,000/s", 1_000),
    LatencyLine("age-10k", "age of a record at the sink, 10,000/s", 10_000),
)
