"""What the ledger costs: both banks of a line in one process, with and without it, in turns of a few milliseconds.

    python -m bench.ledger                1,000 turns of each, sinks and sources
    python -m bench.ledger --turns 200

Whole lines beside each other differ by 10 to 20 % from one run to the next on a shared machine, and cannot show a cost
of 3 %. Here the same banks, rings, frames and board move the same records with a Kafka that does nothing, a turn with
the ledger and a turn without; what disturbs the machine disturbs both. The median over all pairs of turns is reported,
with the quartiles, as CPU microseconds a record; beside it stands what a whole line takes (`python -m bench.line`).

Not here: whether the ledger is right (tests/simulation, tests/unit/ledger).
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from engine.api.batch import SinkBatch, SourceBatch
from engine.api.task import Polled, SinkTask, SourceTask
from engine.clock import SystemClock
from engine.config.line import Subscription
from engine.kafka.fetched import Fetched, Slice
from engine.pump.delivery import Delivery
from engine.shm.board import Measure, Stage
from tests.harness.banks import LineMemory, SinkBanks, SourceBanks, VirtualClock, line_spec
from tests.harness.fake_consumer import FakeConsumer
from tests.harness.fake_kafka import FakeKafka
from tests.harness.fake_producer import Delivered, FakeProducer
from tests.harness.steps import Steps

TOPIC = "lines"
#: As a fast fetch of bench.line brings them, and as FileStreamSource polls them.
FETCH_RECORDS = 2_000
POLL_RECORDS = 2_000
RECORD = b"x" * 146
#: Records a turn moves, at least.
TURN_RECORDS = 20_000
#: So often a line is measured before another one is made.
TURNS_A_LINE = 10
RING_BYTES = 4 * 1024 * 1024


class Full(FakeConsumer):
    """Its one partition has more records than anybody reads."""

    _at = 0

    def fetch(self, seconds: float, records_max: int) -> Fetched | None:
        if not self._positions:
            return super().fetch(seconds, records_max)
        self._serve_commits()
        first, self._at = self._at, self._at + FETCH_RECORDS
        of = Slice(TOPIC, 0, FETCH_RECORDS, first, self._at - 1)
        self._positions[TOPIC, 0] = self._at
        return Fetched([of], [RECORD] * FETCH_RECORDS, None, None, 0, None)

    def lag(self, positions: Mapping[tuple[str, int], int]) -> int:
        return 0


class Nowhere(SinkTask):
    """Puts nothing anywhere."""

    def start(self, config: Mapping[str, str]) -> None:
        pass

    def put(self, batch: SinkBatch) -> None:
        pass


class Lines(SourceTask):
    """The same lines again and again."""

    _next = 0

    def start(self, config: Mapping[str, str]) -> None:
        pass

    def poll(self) -> Polled:
        first, self._next = self._next, self._next + POLL_RECORDS
        offsets = [None] * (POLL_RECORDS - 1) + [{"next": self._next}]
        assert first < self._next
        return SourceBatch(
            topic=TOPIC, values=[RECORD] * POLL_RECORDS, source_partition={"f": 1}, source_offsets=offsets
        )


class Fast(FakeProducer):
    """Everything is acknowledged at the next poll; only what was asked for is called back."""

    def __init__(self, kafka: FakeKafka, settings: Mapping[str, Any]) -> None:
        super().__init__(kafka, settings)
        self._called: deque[tuple[Callable[..., None], int]] = deque()
        self._end = 0

    def __len__(self) -> int:
        return len(self._called)

    def send_batch(self, topic: str, partition: int, messages: list[dict[str, Any]], on_each: Any = None) -> None:
        for offset, message in enumerate(messages, self._end):
            if callback := message.get("callback") or on_each:
                self._called.append((callback, offset))
        self._end += len(messages)

    def poll(self) -> None:
        while self._called:
            callback, offset = self._called.popleft()
            callback(None, Delivered(0, offset))


class NoStore:
    """Offsets are stored nowhere."""

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        pass


class Sink:
    """A sink line, with or without the ledger."""

    def __init__(self, *, has_ledger: bool) -> None:
        kafka = _kafka()
        spec = line_spec("sink", subscription=Subscription(topics=(TOPIC,)), ring_bytes=RING_BYTES)
        memory = LineMemory(spec, is_in_ledger=has_ledger)

        def join(member: Any) -> Full:
            consumer = Full(kafka, member, (TOPIC,))
            consumer.decide({(TOPIC, 0)})
            return consumer

        self.banks = SinkBanks(spec, join, Nowhere, SystemClock(), memory=memory)
        self.banks.start()

    def moved(self) -> int:
        """Records that have come through so far."""
        return self.banks.row.measured(Stage.PUT, Measure.RECORDS)

    def step(self) -> None:
        """Let each bank do a piece of work."""
        self.banks.step()


class Source:
    """A source line, with or without the ledger."""

    def __init__(self, *, has_ledger: bool) -> None:
        kafka = _kafka()
        spec = line_spec("source", ring_bytes=RING_BYTES)
        memory = LineMemory(spec, is_in_ledger=has_ledger)
        clock = SystemClock()
        settings = {"enable.idempotence": True}
        delivery = partial(
            Delivery, partial(Fast, kafka), settings, wants_each=False, timeout_seconds=1.0, now_ns=clock.monotonic_ns
        )
        self.banks = SourceBanks(spec, delivery, NoStore(), Lines, clock, (), memory)
        self.banks.start()

    def moved(self) -> int:
        """Records that have come through so far."""
        return self.banks.row.measured(Stage.ACKNOWLEDGE, Measure.RECORDS)

    def step(self) -> None:
        """Let each bank do a piece of work."""
        self.banks.task.step()
        self.banks.pump.step()


Line = Sink | Source


def _kafka() -> FakeKafka:
    rng = random.Random(0)
    return FakeKafka(rng, VirtualClock(), partitions=1, steps=Steps(rng))


def turn(line: Line) -> float:
    """CPU microseconds a record, of one turn."""
    before = line.moved()
    end = before + TURN_RECORDS
    begun = time.process_time_ns()
    while line.moved() < end:
        line.step()
    return (time.process_time_ns() - begun) / 1_000 / (line.moved() - before)


def compare(make: Callable[..., Line], turns: int) -> tuple[list[float], list[float]]:
    """What a record costs without the ledger and with it, turn by turn."""
    off: list[float] = []
    on: list[float] = []
    for pair in range(-(-turns // TURNS_A_LINE)):
        # Where a line's memory lies makes a difference as large as what is looked for: both are made anew, in turn.
        made = {has_ledger: make(has_ledger=has_ledger) for has_ledger in (pair % 2 == 0, pair % 2 == 1)}
        for line in made.values():
            turn(line)
        gc.collect()
        for number in range(TURNS_A_LINE):
            for has_ledger in (number % 2 == 0, number % 2 == 1):
                (on if has_ledger else off).append(turn(made[has_ledger]))
    return off, on


def told(name: str, off: Sequence[float], on: Sequence[float]) -> str:
    """One line for people."""
    differences = [b - a for a, b in zip(off, on, strict=True)]
    low, middle, high = statistics.quantiles(differences, n=4)
    return (
        f"{name:<8} {statistics.median(off):.4f} us a record without, {statistics.median(on):.4f} with; "
        f"the ledger: {middle:.4f} us (quartiles {low:.4f} to {high:.4f}, {len(off)} pairs of turns)"
    )


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description="What the ledger costs a record.")
    parser.add_argument("--turns", type=int, default=1_000, help="of each, for sinks and for sources")
    options = parser.parse_args()
    for name, make in (("sink", Sink), ("source", Source)):
        print(told(name, *compare(make, options.turns)), flush=True)


if __name__ == "__main__":
    main()
