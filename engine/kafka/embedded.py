"""The embedded Kafka: librdkafka's mock cluster in a process of its own, for trying things out.

    command                          child "millrace: embedded kafka"
    start(fork) ── pipe ───────────► run(announce): mock cluster, one broker
    bootstrap ◄─── "127.0.0.1:PORT" ─┘   until TERM; dies with the command
    TERM to oneself ◄── pipe closed ── it died

It forgets: a partition keeps its newest 5 MiB or 100,000 batches, and everything ends with the process. Topics come
by being asked for, with 4 partitions; it has no other request of an administrator's (creating and deleting topics,
reading their configuration or ids wait until they time out). Static members of a group are members like others here,
so a killed one is missed for a session (docs/demo.md).

Used by: engine.demo (starts), engine.pump.main (`EmbeddedProducer`, `EmbeddedConsumer`).
Not here: what keeps records from falling out (engine.pump.hold).
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import os
import select
import signal
from collections.abc import Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

from engine.api.errors import ConnectError, UnreachableError
from engine.exits import ExitCode
from engine.kafka.consumer import GroupConsumer
from engine.kafka.producer import BatchProducer

__all__ = [
    "PARTITIONS",
    "PARTITION_BATCHES_MAX",
    "PARTITION_BYTES_MAX",
    "EmbeddedConsumer",
    "EmbeddedProducer",
    "Fork",
    "Started",
    "run",
    "start",
]

#: What a partition keeps; librdkafka has no setting for either.
PARTITION_BYTES_MAX = 5 * 1024 * 1024
PARTITION_BATCHES_MAX = 100_000
#: What every topic has.
PARTITIONS = 4

TITLE = "embedded kafka"
#: How long a new group waits for more members, instead of librdkafka's 3 s; less than a session. The members of one
#: sink join up to 1 s apart on a busy machine, and whoever comes too late waits for most of a session.
GROUP_WAIT_MS = 2_000
#: The child has nothing to do but to bind a port.
START_SECONDS = 10.0

_PRODUCER = 0  # RD_KAFKA_PRODUCER, the type of the client that the cluster hangs on
_LOG_LEVEL = b"3"  # errors
_ADDRESS_BYTES_MAX = 255
_REASON_BYTES_MAX = 512

Announce = Callable[[str], None]
ChildT_co = TypeVar("ChildT_co", covariant=True)


class Fork(Protocol[ChildT_co]):
    """Makes a child (`engine.supervisor.fork.fork`)."""

    def __call__(self, title: str, main: Callable[[Announce], int], keep: Collection[int]) -> ChildT_co: ...


class Started(Generic[ChildT_co]):
    """An embedded Kafka that runs."""

    def __init__(self, child: ChildT_co, bootstrap: str, pipe: int) -> None:
        self.child = child
        self.bootstrap = bootstrap  # "127.0.0.1:PORT"
        self._pipe = pipe

    def forget(self) -> None:
        """Do not care when it ends; once, before it is ended."""
        os.close(self._pipe)


class EmbeddedProducer(BatchProducer):
    """A producer on the embedded Kafka, which answers no question about a topic's configuration."""

    def largest_batch_bytes(self, topic: str, timeout_seconds: float) -> int | None:
        """None, and at once: asking would cost the whole timeout."""
        return None


class EmbeddedConsumer(GroupConsumer):
    """A member of a group on the embedded Kafka, whose topics have no ids, and are never made anew."""

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """None of any, and at once: they are asked for within each assignment, and other members wait for less long."""
        return dict.fromkeys(topics, "")


def start(fork: Fork[ChildT_co], topics: Sequence[str] = ()) -> Started[ChildT_co]:
    """Fork the embedded Kafka; it answers when this returns.

    topics: there from the start, so that members of a group which want them join without looking for them.
    Before: one thread, no Kafka client. The caller ends the child. When it dies before `Started.forget`, this process
    gets TERM: without brokers nothing would ever end. Raises UnreachableError when it does not come up.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def main(_: Announce) -> ExitCode:
        return run(lambda text: _write(writing, text), topics)

    try:
        child = fork(TITLE, main, [writing])
    finally:
        os.close(writing)
    # A child that ends without a word closes the pipe, which is an answer, too.
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    is_ready = bool(poll.poll(START_SECONDS * 1000))
    bootstrap = os.read(reading, _ADDRESS_BYTES_MAX).decode() if is_ready else ""
    if not bootstrap:
        os.close(reading)
        raise UnreachableError("the embedded Kafka did not start; --bootstrap HOST:PORT uses brokers of your own")
    _end_with(reading)
    return Started(child, bootstrap, reading)


def run(announce: Announce, topics: Sequence[str] = ()) -> ExitCode:
    """The body of the embedded Kafka's process: announces its bootstrap servers and serves until TERM.

    The cluster lives on threads of librdkafka's; nothing is torn down, the process leaves.
    Raises ConnectError when this librdkafka has no mock cluster.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    announce(_make_cluster(topics))
    signal.sigwait({signal.SIGTERM})
    return ExitCode.OK


def _make_cluster(topics: Sequence[str]) -> str:
    """Start the mock cluster; returns its bootstrap servers."""
    library = _librdkafka()
    reason = ctypes.create_string_buffer(_REASON_BYTES_MAX)
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(settings, b"log_level", _LOG_LEVEL, reason, len(reason))
    client = library.rd_kafka_new(_PRODUCER, settings, reason, len(reason))
    cluster = library.rd_kafka_mock_cluster_new(client, 1) if client else None
    if not cluster:
        raise ConnectError(f"the embedded Kafka cannot be made: {reason.value.decode(errors='replace')}")
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, GROUP_WAIT_MS)
    for topic in topics:
        library.rd_kafka_mock_topic_create(cluster, topic.encode(), PARTITIONS, 1)
    servers: bytes = library.rd_kafka_mock_cluster_bootstraps(cluster)
    return servers.decode()


def _librdkafka() -> ctypes.CDLL:
    """The very library that confluent_kafka uses, with the C functions that its Python leaves out."""
    path = importlib.import_module("confluent_kafka.cimpl").__file__
    library = ctypes.CDLL(path)
    try:
        library.rd_kafka_conf_new.restype = ctypes.c_void_p
        library.rd_kafka_conf_set.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t,
        ]  # fmt: skip
        library.rd_kafka_new.restype = ctypes.c_void_p
        library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
        library.rd_kafka_mock_topic_create.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int,
        ]  # fmt: skip
        library.rd_kafka_mock_group_initial_rebalance_delay_ms.restype = None
        library.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    except AttributeError as error:
        raise ConnectError(f"this librdkafka has no embedded Kafka ({error}); use --bootstrap HOST:PORT") from error
    return library


def _write(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode())


def _end_with(reading: int) -> None:
    """Have the kernel send TERM to this process when the other end of the pipe is closed; that takes no thread."""
    fcntl.fcntl(reading, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
