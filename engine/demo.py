"""What `millrace demo` runs: orders into a topic and out of it, on the embedded Kafka or on brokers of the user's.

    Generator, 2 tasks ──► JSON ──► topic, 4 partitions ──► JSON ──► NullSink, 2 tasks, checks the numbers

    with kafka(bootstrap) as where:                   the embedded Kafka, or a fresh topic on the user's brokers
        pipeline = demo_pipeline(where, ...)          an ordinary TOML file, read as any other

An order's number modulo 4 is its partition, so each partition's numbers are 4 apart: the sinks see what is missing,
and the counts say whether all of it came out.

Used by: engine.launch.
Not here: how the embedded Kafka works (engine.kafka.embedded), what keeps it from losing (engine.pump.hold).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from engine.api.errors import ConnectError, UnreachableError
from engine.config import files
from engine.config.files import Pipeline
from engine.exits import ExitCode
from engine.kafka import embedded
from engine.kafka.topics import create_topic, delete_topic
from engine.plugins.probe import in_probe
from engine.supervisor.fork import fork

__all__ = ["EMBEDDED_RECORDS", "RECORDS", "TASKS", "DemoKafka", "demo_pipeline", "kafka", "pipeline_text"]

#: Orders for about half a minute on two cores, on the embedded Kafka and on a broker beside.
EMBEDDED_RECORDS = 5_000_000
RECORDS = 4_000_000
TASKS = 2  # of each connector
PARTITIONS = embedded.PARTITIONS  # elsewhere, too
#: The embedded Kafka holds sources back by what is committed: committing more often than the flush itself takes makes
#: the way through shorter.
EMBEDDED_COMMIT_MS = 50
COMMIT_MS = 1_000
#: On the embedded Kafka a member that was killed is missed for one session less a second.
EMBEDDED_SESSION_MS = 3_000
#: The embedded Kafka answers a fetch that finds nothing after all of this time, whatever comes meanwhile.
EMBEDDED_FETCH_MS = 10
TOPIC = "orders"
BROKER_SECONDS = 15.0
# The first byte of a child's answer.
_DONE, _UNREACHABLE, _REFUSED = b"+", b"u", b"-"

ABOUT_EMBEDDED = """\
This runs on an embedded Kafka (librdkafka's mock cluster), for trying things out:
it lives in memory, ends with the demo, and keeps only 5 MiB or 100,000 batches a
partition. So the source is held back by what the sink has committed, and the rate
is not that of a real broker. Anything that fell out would fail the run.
With brokers of your own: millrace demo --bootstrap HOST:PORT
"""
ABOUT_TOPIC = "This makes the topic {topic} on {bootstrap}."
ABOUT_DELETING = """\
The topic {topic} is still there. To delete it and the sink's group:
  kafka-topics.sh --bootstrap-server {bootstrap} --delete --topic {topic}
  kafka-consumer-groups.sh --bootstrap-server {bootstrap} --delete --group {group}"""


class DemoKafka(Struct, frozen=True):
    """Where the demo runs."""

    bootstrap: str
    topic: str
    is_embedded: bool

    @property
    def group(self) -> str:
        """The sink's consumer group; of its own, so that two demos on the same brokers do not meet."""
        return f"connect-{self.topic}"


@contextlib.contextmanager
def kafka(bootstrap: str | None, say: Callable[[str], None], *, deletes_topic: bool = False) -> Iterator[DemoKafka]:
    """The Kafka of a demo, as long as it lasts: an embedded one, or a fresh topic on these brokers.

    say: takes what it is and how to get rid of it, in lines. deletes_topic: drop the topic at the end.
    Enter it with one thread and no Kafka client. Raises UnreachableError, ConnectError.
    """
    if bootstrap is None:
        with _embedded() as where:
            say(ABOUT_EMBEDDED)
            yield where
        return
    topic = f"millrace-demo-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    where = DemoKafka(bootstrap, topic, is_embedded=False)
    say(ABOUT_TOPIC.format(topic=topic, bootstrap=bootstrap))
    _in_child(lambda: create_topic(bootstrap, topic, PARTITIONS, BROKER_SECONDS))
    try:
        yield where
    finally:
        if deletes_topic:
            _in_child(lambda: delete_topic(bootstrap, topic, where.group, BROKER_SECONDS))
        else:
            say(ABOUT_DELETING.format(topic=topic, bootstrap=bootstrap, group=where.group))


def demo_pipeline(where: DemoKafka, records: int | None, rate: float, *, folder: Path) -> Pipeline:
    """The demo's pipeline, written to `folder`/pipeline.toml and read from there, as any other would be.

    records: of both source tasks together; None: for about half a minute at full speed. rate: records a second, 0: as
    fast as it goes. folder: also for source offsets, which a run must not find there.
    """
    path = folder / "pipeline.toml"
    path.write_text(pipeline_text(where, records, rate))
    return files.load([path])


def pipeline_text(where: DemoKafka, records: int | None = None, rate: float = 0) -> str:
    """The text of the demo's pipeline."""
    count = records or (EMBEDDED_RECORDS if where.is_embedded else RECORDS)
    return f"""\
# Orders go as JSON into the topic "{where.topic}", and out of it into a sink that checks their numbers.

[worker]
bootstrap.servers = "{where.bootstrap}"
key.converter = "String"
value.converter = "Json"
"value.converter.schemas.enable" = false
offset.flush.interval.ms = {EMBEDDED_COMMIT_MS if where.is_embedded else COMMIT_MS}

[connectors.orders]
connector.class = "Generator"
tasks.max = {TASKS}
topic = "{where.topic}"
format = "orders"
records = {count}
rate = {rate:g}
partitions = {PARTITIONS}

[connectors.check]
connector.class = "NullSink"
tasks.max = {TASKS}
topics = "{where.topic}"
check = "sequence"
"check.step" = {PARTITIONS}
"consumer.override.group.id" = "{where.group}"
{_embedded_only(where)}"""


def _embedded_only(where: DemoKafka) -> str:
    if not where.is_embedded:
        return ""
    return f"""\
"consumer.override.session.timeout.ms" = {EMBEDDED_SESSION_MS}
"consumer.override.fetch.max.wait.ms" = {EMBEDDED_FETCH_MS}
"""


@contextlib.contextmanager
def _embedded() -> Iterator[DemoKafka]:
    started = embedded.start(fork, [TOPIC])
    child = started.child
    try:
        yield DemoKafka(started.bootstrap, TOPIC, is_embedded=True)
    finally:
        started.forget()
        how = _end(child.pid)
        words = child.last_words()
    if how:
        raise ConnectError(f"the embedded Kafka died, and the run with it: {words or how}")


def _end(pid: int) -> str:
    """End the embedded Kafka; returns how it had ended before, empty: it had not, and ends well."""
    try:
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return (
            "nobody knows how"  # the supervisor takes ended children that are not its own for orphans, and reaps them
        )
    code = os.waitstatus_to_exitcode(status)
    if code == ExitCode.OK:
        return ""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _in_child(act: Callable[[], None]) -> None:
    """Talk to brokers in a child, because this process forks later. Raises UnreachableError, ConnectError."""

    def question(_: object) -> bytes:
        try:
            act()
        except ConnectError as error:
            kind = _UNREACHABLE if isinstance(error, UnreachableError) else _REFUSED
            return kind + str(error).encode()
        return _DONE

    answer = in_probe(question, timeout_seconds=2 * BROKER_SECONDS)
    kind, text = answer[:1], answer[1:].decode()
    if kind != _DONE:
        raise UnreachableError(text) if kind == _UNREACHABLE else ConnectError(text)
