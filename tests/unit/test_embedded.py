"""The embedded Kafka lives as long as it is wanted, and what it cannot keep is never lost in silence."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from engine.api.errors import ConnectError
from engine.clock import SystemClock
from engine.config.line import Subscription, Timing
from engine.kafka import consumer, embedded
from engine.kafka.consumer import Member
from engine.kafka.embedded import Started
from engine.pump import hold
from engine.pump.hold import OUTSTANDING_BYTES_MAX, BoardHold
from engine.shm import segment
from engine.shm.board import Board, Identity, Measure, Row, Stage, State, Word, board_bytes
from engine.supervisor.fork import Child, fork
from tests.harness import wait
from tests.harness.banks import CollectingSink, SinkBanks, VirtualClock, line_spec

TOPIC = "orders"
LIMIT_S = 20.0
STILL_S = hold.STILL_NS / 1e9


# Holding back


class Run:
    """A run's board, with sources and sinks that a test moves by hand."""

    def __init__(self, *, sources: int = 1, sinks: Sequence[str] = ("sink",)) -> None:
        self.board = Board(segment.create("board", board_bytes(10)))
        self.board.begin(1)
        self.clock = VirtualClock()
        self.sources = [self._row("source", "orders", task) for task in range(sources)]
        self.sinks = [self._row("sink", name, task) for task, name in enumerate(sinks)]
        for sink in self.sinks:
            sink.set(Word.PARTITIONS, 2)

    def _row(self, type: str, connector: str, task: int) -> Row:
        row = self.board.row(self.board.add(Identity(connector, task, type, "none")))
        row.set(Word.STATE, State.RUNNING)
        return row

    def hold(self) -> BoardHold:
        return BoardHold(self.board, self.clock)

    def fill(self, a_hold: BoardHold, records: int = 1000, size: int = 100_000) -> int:
        """Send frames from the first source as long as they may go; returns how many records went."""
        sent = 0
        while a_hold.may_send(size):
            self.sources[0].count(Stage.PRODUCE, records, size)
            sent += records
            assert sent < 1_000_000, "nothing holds it back"
        return sent


def commit(sink: Row, records: int) -> None:
    """Read, put, flushed and committed."""
    sink.count(Stage.CONSUME, records)
    sink.count(Stage.PUT, records)
    sink.count(Stage.FLUSH, records)
    sink.count(Stage.COMMIT, records)


def test_a_source_is_held_back_until_its_sink_has_committed() -> None:
    run = Run()
    a_hold = run.hold()
    sent = run.fill(a_hold)
    run.sinks[0].count(Stage.PUT, sent)
    assert not a_hold.may_send(100_000), "what is put and not committed is read again by a restarted sink"
    run.sinks[0].count(Stage.COMMIT, sent)
    assert a_hold.may_send(100_000)


def test_the_slowest_sink_holds() -> None:
    run = Run(sinks=("fast", "slow"))
    a_hold = run.hold()
    sent = run.fill(a_hold)
    commit(run.sinks[0], sent)
    assert not a_hold.may_send(100_000)
    commit(run.sinks[1], sent)
    assert a_hold.may_send(100_000)


def test_tasks_of_one_sink_share_the_records() -> None:
    run = Run(sinks=("sink", "sink"))
    a_hold = run.hold()
    sent = run.fill(a_hold)
    for sink in run.sinks:
        commit(sink, sent // 2)
    assert a_hold.may_send(100_000)


def test_a_frame_that_is_too_large_goes_alone() -> None:
    run = Run()
    a_hold = run.hold()
    assert a_hold.may_send(OUTSTANDING_BYTES_MAX)
    run.sources[0].count(Stage.PRODUCE, 1, 100)
    assert not a_hold.may_send(OUTSTANDING_BYTES_MAX)
    commit(run.sinks[0], 1)
    assert a_hold.may_send(OUTSTANDING_BYTES_MAX)


def test_nobody_waits_for_a_sink_that_is_over() -> None:
    run = Run()
    a_hold = run.hold()
    run.fill(a_hold)
    run.sinks[0].set(Word.STATE, State.FAILED)
    assert a_hold.may_send(100_000)


def test_what_never_arrived_is_written_off_once_nothing_moves() -> None:
    run = Run()
    a_hold = run.hold()
    run.fill(a_hold)  # by a life of the source that was killed with all of it in its queue
    assert not a_hold.may_send(100_000)
    run.clock.advance(STILL_S)
    assert not a_hold.may_send(100_000), "found still for the first time"
    assert a_hold.may_send(100_000)


@pytest.mark.parametrize(
    "is_not_all_read",
    [
        lambda run: run.sinks[0].set(Word.LAG, 1),
        lambda run: run.sinks[0].set(Word.PARTITIONS, 0),
        lambda run: run.sinks[0].set(Word.RING_USED_BYTES, 100),
        lambda run: run.sinks[0].set(Word.STATE, State.RESTARTING),
        lambda run: run.sinks[0].count(Stage.PUT, 1),
        lambda run: run.sources[0].set(Word.QUEUED, 1),
    ],
    ids=["lag", "not assigned", "in the ring", "restarting", "not flushed", "not sent"],
)
def test_nothing_is_written_off_that_may_still_be_read(is_not_all_read: Callable[[Run], None]) -> None:
    run = Run()
    a_hold = run.hold()
    run.fill(a_hold)
    is_not_all_read(run)
    for _ in range(10):
        run.clock.advance(STILL_S)
        assert not a_hold.may_send(100_000)


@pytest.mark.parametrize("seed", range(20))
def test_a_partition_never_holds_more_than_it_keeps(seed: int) -> None:
    """Several sources decide in the same moment, each record is a batch, and all go to one partition."""
    rng = random.Random(seed)
    run = Run(sources=rng.randint(1, 4), sinks=("sink", "sink"))
    holds = [run.hold() for _ in run.sources]
    record_bytes = rng.randint(0, 2000)
    kept: list[int] = []  # size of each record that is not committed
    largest = 0
    for _ in range(2000):
        going = []
        for index, a_hold in enumerate(holds):
            records = rng.randint(1, 300)
            if rng.random() < 0.7 and a_hold.may_send(records * record_bytes):
                going.append((index, records))
        for index, records in going:
            run.sources[index].count(Stage.PRODUCE, records, records * record_bytes)
            kept += [record_bytes + 83] * records
        largest = max(largest, sum(kept))
        assert largest <= embedded.PARTITION_BYTES_MAX, f"seed {seed}"
        done = rng.randint(0, min(len(kept), 300))
        commit(rng.choice(run.sinks), done)
        del kept[:done]
    assert largest > 0


# The process


def end(started: Started[Child]) -> int:
    started.forget()
    child = started.child
    os.kill(child.pid, signal.SIGTERM)
    _, status = os.waitpid(child.pid, 0)
    os.close(child.words)
    return os.waitstatus_to_exitcode(status)


@pytest.fixture
def bootstrap() -> Iterator[str]:
    started = embedded.start(fork, [TOPIC])
    yield started.bootstrap
    end(started)


def test_it_ignores_int_and_ends_with_term() -> None:
    started = embedded.start(fork)
    os.kill(started.child.pid, signal.SIGINT)
    assert len(client(started.bootstrap).list_topics(timeout=LIMIT_S).brokers) == 1
    assert end(started) == 0


@pytest.mark.slow
def test_the_command_is_asked_to_end_when_it_dies() -> None:
    text = (
        "import signal; from engine.kafka import embedded; from engine.supervisor.fork import fork\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "print(embedded.start(fork).child.pid, flush=True)\n"
        "print(signal.sigwait([signal.SIGTERM]).name, flush=True)"
    )
    command = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
    assert command.stdout is not None
    os.kill(int(command.stdout.readline()), signal.SIGKILL)
    words, _ = command.communicate(timeout=LIMIT_S)
    assert words == b"SIGTERM\n"


@pytest.mark.slow
def test_it_ends_with_the_command_even_when_that_is_killed() -> None:
    text = (
        "import sys; from engine.kafka import embedded; from engine.supervisor.fork import fork\n"
        "print(embedded.start(fork).child.pid, flush=True); sys.stdin.read()"
    )
    command = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert command.stdout is not None
    pid = int(command.stdout.readline())
    command.kill()
    command.communicate()
    wait.until(lambda: not is_alive(pid), "end of the embedded Kafka", timeout_s=LIMIT_S)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def client(servers: str) -> Consumer:
    return Consumer({"bootstrap.servers": servers, "group.id": "onlooker"})


# What it keeps


def fill(servers: str, records: int, size: int) -> None:
    """Put records into partition 0, as the engine's producer does."""
    settings = {"bootstrap.servers": servers, "enable.idempotence": True, "enable.gapless.guarantee": True}
    producer = embedded.EmbeddedProducer({**settings, "linger.ms": 5})
    for _ in range(0, records, 1000):
        producer.send_batch(TOPIC, 0, [{"value": b"x" * size} for _ in range(1000)])
        wait.until(lambda: is_answered(producer), "all answers", timeout_s=LIMIT_S, look_every_s=0.001)


def is_answered(producer: embedded.EmbeddedProducer) -> bool:
    producer.poll()
    return not len(producer)


def borders(servers: str) -> tuple[int, int]:
    first, last = client(servers).get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=LIMIT_S)
    return first, last


def test_a_partition_keeps_five_mebibytes_of_batches_as_they_are_sent(bootstrap: str) -> None:
    fill(bootstrap, 40_000, 146)
    first, last = borders(bootstrap)
    assert last == 40_000
    in_a_batch = 146 + 10  # lengths and differences to the batch's first offset and timestamp
    assert 0.9 < (last - first) * in_a_batch / embedded.PARTITION_BYTES_MAX <= 1.0


def test_a_batch_of_one_record_takes_no_more_than_the_bound_allows_for(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "batch.num.messages": 1})
    records = 60_000
    for _ in range(records):
        producer.produce(TOPIC, b"", partition=0)
        producer.poll(0)
    assert producer.flush(LIMIT_S) == 0
    first, last = borders(bootstrap)
    assert last == records
    fitting = embedded.PARTITION_BYTES_MAX // hold.RECORD_OVERHEAD_BYTES
    assert last - first >= min(records, fitting)


def test_nobody_asks_it_for_a_topics_limit_and_waits() -> None:
    producer = embedded.EmbeddedProducer({"bootstrap.servers": "127.0.0.1:9"})
    assert producer.largest_batch_bytes(TOPIC, 3600.0) is None


def test_nobody_asks_it_for_a_topics_id_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "ASK_SECONDS", 3600.0)
    settings = {"bootstrap.servers": "127.0.0.1:9", "group.id": "connect-sink"}
    member = embedded.EmbeddedConsumer(settings, cast("Member", None), "earliest", LIMIT_S)
    assert member.topic_ids([TOPIC]) == {TOPIC: ""}
    member.close()


# What falls out


def sink(servers: str) -> SinkBanks:
    settings = {
        "bootstrap.servers": servers,
        "group.id": "connect-sink",
        "group.instance.id": "sink-0",
        "fetch.wait.max.ms": 10,
        "session.timeout.ms": 3000,
        "heartbeat.interval.ms": 1000,
        "partition.assignment.strategy": "range",
    }
    spec = line_spec(
        "sink",
        kafka=settings,
        subscription=Subscription(topics=(TOPIC,)),
        is_embedded=True,
        timing=Timing(commit_interval=0.05, broker_timeout=LIMIT_S),
        ring_bytes=1024 * 1024,
    )
    return SinkBanks(
        spec,
        lambda member: embedded.EmbeddedConsumer(settings, member, spec.start_at, LIMIT_S),
        lambda: CollectingSink([]),
        SystemClock(),
    )


def step_until(line: SinkBanks, is_so: Callable[[], bool], what: str) -> None:
    def stepped() -> bool:
        line.step(0.005)
        return is_so()

    wait.until(stepped, what, timeout_s=LIMIT_S, look_every_s=0)


@pytest.mark.slow
def test_a_sink_that_starts_after_records_fell_out_fails_and_says_so(bootstrap: str) -> None:
    fill(bootstrap, 40_000, 146)
    line = sink(bootstrap)
    line.start()
    with pytest.raises(ConnectError, match=r"partition 0 begins at offset \d+: the embedded Kafka has dropped records"):
        step_until(line, lambda: False, "refusal")
    line.pump.stop(leave=True)


@pytest.mark.slow
def test_a_sink_that_comes_back_to_a_lost_range_fails_and_says_so(bootstrap: str) -> None:
    fill(bootstrap, 1000, 146)
    line = sink(bootstrap)
    line.start()
    step_until(line, lambda: line.row.measured(Stage.COMMIT, Measure.RECORDS) == 1000, "commit")
    line.stop(leave=True)
    fill(bootstrap, 40_000, 146)
    line = sink(bootstrap)
    line.start()
    with pytest.raises(ConnectError, match="partition 0: the offset to go on at is gone"):
        step_until(line, lambda: False, "an error")
    line.pump.stop(leave=True)
