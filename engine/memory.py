"""How much memory a line can come to hold, at most; and rings small enough for `worker.memory.max`.

    LineSpec ──► line_bound ──► LineBound(processes, ring, client, batches) ──┐
                                                                              ├─► their sum, and WORKER_BYTES
    LineSpec ──► line_bound ──► ...                                         ──┘
    worker.memory.max ──► fitted: all rings that nobody has set get one size; a line's other sizes follow from its ring

The worst records count, not the usual ones: 40 bytes of memory for each byte of a broker's answer, because that is what
empty records take. Where the figures come from, and what is not counted: docs/decisions/memory.md.

Used by: engine.plan (fits), engine.boot (tells the board), engine.launch (shows).
Not here: the settings' own rules (engine.config.clients_consumer, clients_producer).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from engine.api.errors import Problem
from engine.config.line import LineSpec
from engine.config.worker import ring_bytes as aligned
from engine.ledger.entries import PAGE_BYTES
from engine.quantities import bytes_text

__all__ = ["LineBound", "as_text", "fitted", "line_bound", "ring_bytes_min", "total_bytes", "worker_bytes"]

MIB = 1024 * 1024
#: The supervisor, and the pages that all processes share with it: interpreter, modules, libraries.
WORKER_BYTES = 44 * MIB
#: The process that serves metrics.
CONTROL_BYTES = 24 * MIB
#: What a task process or a pump has for itself before the first record.
PROCESS_BYTES = 12 * MIB
#: What a task's connector, transforms and converters are taken to hold for themselves.
PLUGIN_BYTES = 8 * MIB
#: Beside the ring of a line: its two rings of notices, the pages of their cursors, its page of the ledger.
BESIDE_RING_BYTES = 2 * 256 * 1024 + 3 * 4096 + PAGE_BYTES

#: librdkafka's own for a record, beside its key and value: fetched, and to be sent (with its place in a Python list).
FETCHED_RECORD_BYTES = 320
SENT_RECORD_BYTES = 300
#: A fetched record as an object of Python, beside its value.
MESSAGE_BYTES = 400
#: An empty record takes 8 bytes of an answer, and FETCHED_RECORD_BYTES of memory.
ANSWER_GROWTH = 40
#: An answer may be one batch that is larger than was asked for; producers put no more records into one.
BATCH_RECORDS = 10_000
#: Brokers that may answer at once after the queue is full.
ANSWERS = 3

#: What one poll of a source is taken to bring; it is there as values, as bytes and as frames.
POLL_BYTES = 4 * MIB
POLL_COPIES = 3
#: A sink's batch: bytes of one frame, and how much larger they are as values.
FRAME_BYTES = 512 * 1024
VALUE_GROWTH = 8
#: A record as an object, where a transform or `commit_record` wants objects.
OBJECT_BYTES = 600
#: As engine.pump.sink and engine.pump.delivery have them.
FETCH_RECORDS = 10_000
QUEUE_RECORDS_MAX = 90_000
QUEUE_PART = 0.9
#: Of dead letters in their producer's queue (engine.pump.letters).
LETTER_RECORDS = 10_000
LETTER_BYTES = 4 * MIB

#: A frame of a source never has more records (engine.task.framing).
FRAME_RECORDS = 12_000
#: What a frame of one record needs beside the record: the overheads of engine.task.framing and the ring's own header.
FRAME_OVERHEAD_BYTES = 4096 + 48 + 8
#: A ring holds at least this many of its largest frames (engine.shm.ring).
FRAMES_MIN = 4
RING_STEP = 4096

_QUEUE_KBYTES, _QUEUE_RECORDS = "queue.buffering.max.kbytes", "queue.buffering.max.messages"
_FETCH_QUEUE_KBYTES, _FETCH_QUEUE_RECORDS = "queued.max.messages.kbytes", "queued.min.messages"
_FETCH_BYTES, _MESSAGE_BYTES = "fetch.max.bytes", "message.max.bytes"
#: librdkafka's own defaults.
_DEFAULTS = {_FETCH_QUEUE_RECORDS: 100_000, _MESSAGE_BYTES: 1_000_000}
_MESSAGE_BYTES_MIN = 1000


class LineBound(Struct, frozen=True):
    """The most bytes that a line can hold, by place."""

    processes: int  # with no record in them, and what the connector holds
    ring: int
    client: int  # librdkafka's queues
    batches: int  # what is in hand on both banks

    @property
    def total(self) -> int:
        """All of it."""
        return self.processes + self.ring + self.client + self.batches


def line_bound(spec: LineSpec) -> LineBound:
    """What this line can come to hold with the settings that it has."""
    client, batches = _of_sink(spec) if spec.type == "sink" else _of_source(spec)
    if spec.errors.dead_letters is not None:
        # On their way, and those that wait: no more than the ring and a batch hold.
        client += 2 * LETTER_BYTES + LETTER_RECORDS * SENT_RECORD_BYTES
        batches += spec.ring_bytes
    if spec.transforms or spec.wants_commit_record:
        batches += FETCH_RECORDS * OBJECT_BYTES
    stages = spec.stage_processes
    processes = (spec.processes + stages) * PROCESS_BYTES + (1 + stages) * PLUGIN_BYTES
    # The two rings of a stage process together are as large as the line's.
    rings = (1 + stages) * spec.ring_bytes + BESIDE_RING_BYTES + 2 * stages * RING_STEP
    return LineBound(processes, rings, client, batches + stages * _of_stage(spec))


def worker_bytes(*, has_metrics: bool) -> int:
    """What a worker takes beside its lines."""
    return WORKER_BYTES + has_metrics * CONTROL_BYTES


def total_bytes(lines: Sequence[LineSpec], *, has_metrics: bool) -> int:
    """The most that the whole worker can come to hold."""
    return worker_bytes(has_metrics=has_metrics) + _of_lines(lines)


def fitted(lines: Sequence[LineSpec], memory_max: int, *, has_metrics: bool) -> tuple[list[LineSpec], Problem | None]:
    """The lines with the largest rings whose sum is at most `memory_max` bytes.

    What the user has set himself (`LineSpec.given`) stays as it is and counts. Where even the least are too large, the
    lines are left as they are and the problem says how much would be needed.
    """
    room = memory_max - worker_bytes(has_metrics=has_metrics)
    least = [_with_ring(line, 0) for line in lines]
    if sum(line_bound(line).total for line in least) > room:
        return list(lines), _too_small(least, memory_max, has_metrics=has_metrics)
    low, high = 0, max((line.ring_bytes for line in lines), default=0) // RING_STEP
    while low < high:
        middle = (low + high + 1) // 2
        tried = sum(line_bound(_with_ring(line, middle * RING_STEP)).total for line in lines)
        low, high = (middle, high) if tried <= room else (low, middle - 1)
    return [_with_ring(line, low * RING_STEP) for line in lines], None


def as_text(lines: Sequence[LineSpec], memory_max: int | None, *, has_metrics: bool) -> str:
    """The sum and its parts, for people: a line for each task."""
    whole = total_bytes(lines, has_metrics=has_metrics)
    bound = "worker.memory.max is not set" if memory_max is None else f"worker.memory.max={memory_max}"
    told = [f"memory: at most {bytes_text(whole)} ({bound}), the worker's own {bytes_text(whole - _of_lines(lines))}"]
    for line in lines:
        parts = line_bound(line)
        told.append(
            f"  {line.title}: {bytes_text(parts.total)}: processes {bytes_text(parts.processes)}, ring "
            f"{bytes_text(parts.ring)}, client {bytes_text(parts.client)}, batches {bytes_text(parts.batches)}"
        )
    return "\n".join(told)


def ring_bytes_min(record_bytes: int) -> int:
    """The least ring that takes a record of so many bytes, which has a quarter of it at most."""
    return aligned(FRAMES_MIN * (record_bytes + FRAME_OVERHEAD_BYTES))


def _of_lines(lines: Sequence[LineSpec]) -> int:
    return sum(line_bound(line).total for line in lines)


def _of_source(spec: LineSpec) -> tuple[int, int]:
    """Of client and batches.

    A frame is kept until it is acknowledged: in the ring, as objects, in the client's queue, and in the requests that
    are on their way.
    """
    queue_bytes = _setting(spec, _QUEUE_KBYTES) * 1024 // 2
    in_flight = max(min(spec.ring_bytes, queue_bytes), spec.ring_bytes // 4)
    own_records = int(QUEUE_PART * _setting(spec, _QUEUE_RECORDS)) or QUEUE_RECORDS_MAX
    records = max(FRAME_RECORDS, min(own_records, QUEUE_RECORDS_MAX))
    polled = POLL_COPIES * max(POLL_BYTES, spec.record_bytes_max)
    return 2 * in_flight + records * SENT_RECORD_BYTES, in_flight + polled


def _of_sink(spec: LineSpec) -> tuple[int, int]:
    """Of client and batches.

    All that is queued may be taken at once, and be there as values and as frames while the queue is filled again.
    """
    queue_bytes = _setting(spec, _FETCH_QUEUE_KBYTES) * 1024
    fetch_bytes = max(_setting(spec, _FETCH_BYTES), _setting(spec, _MESSAGE_BYTES))
    answer = max(ANSWER_GROWTH * fetch_bytes, spec.record_bytes_max + BATCH_RECORDS * FETCHED_RECORD_BYTES)
    client = queue_bytes + _setting(spec, _FETCH_QUEUE_RECORDS) * FETCHED_RECORD_BYTES + ANSWERS * answer
    taken = queue_bytes + ANSWERS * max(fetch_bytes, spec.record_bytes_max)
    records = min(FETCH_RECORDS, spec.fetch_records_max or FETCH_RECORDS)
    return client, 2 * taken + records * MESSAGE_BYTES + VALUE_GROWTH * max(FRAME_BYTES, spec.record_bytes_max)


def _of_stage(spec: LineSpec) -> int:
    """What a stage process has in hand: a batch as it came, as values, as it goes, and as objects for transforms."""
    one = max(POLL_BYTES if spec.type == "source" else FRAME_BYTES, spec.record_bytes_max)
    values = VALUE_GROWTH * one if spec.type == "sink" else POLL_COPIES * one
    return values + 2 * one + (FETCH_RECORDS * OBJECT_BYTES if spec.transforms else 0)


def _with_ring(spec: LineSpec, ring_bytes: int) -> LineSpec:
    """The line with a ring of about this size, and queues of its client to match.

    The ring is no larger than the line has it, and large enough for its records.
    """
    if "ring.bytes" in spec.given:
        ring_bytes = spec.ring_bytes
    ring_bytes = min(spec.ring_bytes, max(ring_bytes, ring_bytes_min(spec.record_bytes_max)))
    if spec.type == "source":
        records = max(FRAME_RECORDS, ring_bytes // SENT_RECORD_BYTES)
        wanted = {_QUEUE_KBYTES: 2 * ring_bytes // 1024, _QUEUE_RECORDS: int(records / QUEUE_PART) + 1}
    else:
        answer = max(ring_bytes // 4, spec.record_bytes_max + BATCH_RECORDS * FETCHED_RECORD_BYTES)
        wanted = {
            _FETCH_QUEUE_KBYTES: ring_bytes // 2 // 1024,
            _FETCH_QUEUE_RECORDS: ring_bytes // FETCHED_RECORD_BYTES,
            _FETCH_BYTES: answer // ANSWER_GROWTH,
            # librdkafka raises fetch.max.bytes to this.
            _MESSAGE_BYTES: max(_MESSAGE_BYTES_MIN, answer // ANSWER_GROWTH),
        }
    less = {name: min(value, _setting(spec, name)) for name, value in wanted.items() if name not in spec.given}
    return replace(spec, ring_bytes=ring_bytes, kafka={**spec.kafka, **less})


def _too_small(least: Sequence[LineSpec], memory_max: int, *, has_metrics: bool) -> Problem:
    key = "worker.memory.max"
    needs = ", ".join(f"{line.title} {line_bound(line).total}" for line in least)
    return Problem(
        key,
        f"Invalid value {memory_max} for configuration {key}: expected at least "
        f"{total_bytes(least, has_metrics=has_metrics)}: the worker takes {worker_bytes(has_metrics=has_metrics)}, "
        f"{needs}; fewer tasks, smaller records (a source's max.request.size, a sink's max.partition.fetch.bytes) and "
        "smaller ring.bytes and client queues, where they are set, need less",
    )


def _setting(spec: LineSpec, name: str) -> int:
    value = spec.kafka.get(name, _DEFAULTS.get(name, 0))
    assert isinstance(value, int), f"{name} is a whole number"
    return value
