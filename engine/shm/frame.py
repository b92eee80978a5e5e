"""What crosses between task process and pump: frames of columns, and short notices.

A frame is a msgpack array: a tag, then the members in the order they are declared, so
members are only ever added at the end, with a default. A column is a list with a slot
a record, or None where all slots are empty: keys that nobody set cost one byte a frame.

Bytes in a frame are what Kafka stores: the converter stands on the task's side.

Used by: engine.task and engine.pump.
Not here: how frames lie in memory (ring.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from engine.api.batch import Run

__all__ = [
    "Acknowledged",
    "ArrivedSinkFrame",
    "Assigned",
    "CommitNow",
    "End",
    "Flushed",
    "Letter",
    "LetterPiece",
    "PassingSinkFrame",
    "Pause",
    "Position",
    "Resume",
    "Revoke",
    "Revoked",
    "Seek",
    "SinkFrame",
    "SourceFrame",
    "SourceOffset",
    "Stored",
    "Tail",
    "decode_down",
    "decode_headers",
    "decode_letter",
    "decode_passing",
    "decode_sink",
    "decode_source",
    "decode_up",
    "encode",
    "encode_into",
    "records_in",
]

Payloads = list[bytes | None]
Headers = list[tuple[str, bytes | None]]
_NIL = b"\xc0"  # msgpack's None


def records_in(runs: Sequence[Run]) -> int:
    """How many records these are."""
    return runs[0].count if len(runs) == 1 else sum([run.count for run in runs])


class SourceOffset(Struct, array_like=True, frozen=True):
    """Where to go on in one source partition; both are the JSON that the store keeps."""

    partition: bytes
    offset: bytes


class SourceFrame(Struct, array_like=True, tag=1):
    """Records of one topic on their way into Kafka."""

    topic: str
    count: int
    size_bytes: int  # of keys and values
    polled: int  # records this task has polled up to here, over all its lives
    values: Payloads
    keys: Payloads | None = None
    partitions: list[int | None] | None = None
    timestamps: list[int | None] | None = None
    headers: list[Headers] | None = None
    offsets: list[SourceOffset] = []  # to be stored once all of this frame is acknowledged
    sequence: int = 0  # number of the first record, of all that this life of the task has written
    is_last: bool = True  # of the frames with offsets of one poll, which may need several
    dropped: int = 0  # of `polled`, what transforms let go
    added: int = 0  # what they made of `polled`, beyond one of each
    skipped: int = 0  # of `polled`, and of what was made of it: what failed and was left out
    is_letter: bool = False  # its one record is a dead letter, which is none of those that are counted
    is_urgent: bool = False  # its offsets are to be stored as soon as all of it is acknowledged

    @property
    def counted(self) -> int:
        """How many records of the source it has."""
        return 0 if self.is_letter else self.count


class End(Struct, array_like=True, tag=2):
    """In band, from a source: nothing comes after this. Offsets of records that were all dropped still move."""

    polled: int
    is_complete: bool = False  # the connector has no more; else it was told to stop, or has failed
    is_failed: bool = False  # perhaps in the middle of a poll
    dropped: int = 0  # of `polled`
    added: int = 0
    skipped: int = 0


class SinkFrame(Struct, array_like=True, tag=3):
    """Records out of Kafka, of one timestamp type."""

    runs: list[Run]
    size_bytes: int
    values: Payloads
    keys: Payloads | None
    timestamps: list[int] | None
    timestamp_type: int
    headers: list[Headers] | None = None
    before: list[tuple[int, int]] | None = None  # for each run, what engine.ledger.sink tells


class ArrivedSinkFrame(Struct, array_like=True, tag=3):
    """A `SinkFrame` as the task reads it: the headers stay the bytes they are until somebody looks at one.

    bench/micro/test_frame.py: reading two headers a record takes 0.3 us, skipping them 0.02.
    """

    runs: list[Run]
    size_bytes: int
    values: Payloads
    keys: Payloads | None
    timestamps: list[int] | None
    timestamp_type: int
    headers: msgspec.Raw = msgspec.Raw(b"\xc0")  # of the ring's memory: copy what is kept
    before: list[tuple[int, int]] | None = None

    def has_headers(self) -> bool:
        """Whether any record has one."""
        return bytes(self.headers) != _NIL


class PassingSinkFrame(Struct, array_like=True, tag=3):
    """A `SinkFrame` as a task sees it that gives it to a stage process: whose records they are, and no record."""

    runs: list[Run]
    size_bytes: int
    values: msgspec.Raw
    keys: msgspec.Raw
    timestamps: msgspec.Raw
    timestamp_type: int
    headers: msgspec.Raw = msgspec.Raw(b"\xc0")
    before: list[tuple[int, int]] | None = None


class Assigned(Struct, array_like=True, tag=4):
    """In band, to a sink: these partitions come, with their epoch and the offset they begin at (-1: unknown)."""

    partitions: list[tuple[str, int, int, int]]


class Tail(Struct, array_like=True, tag=5):
    """In band, to a sink that drains: all that there was lies before this; flush now."""


class Position(Struct, array_like=True, frozen=True):
    """How far a sink has flushed one partition."""

    topic: str  # the record's original topic, whatever transforms made of it
    partition: int
    epoch: int  # of this partition's assignment or seek; one that was given up since is ignored
    next_offset: int  # offset of the first record that is not flushed


class Flushed(Struct, array_like=True, tag=10):
    """Up: these positions may be committed. put: records put so far and covered by them; -1: not all are."""

    positions: list[Position]
    put: int
    is_last: bool = True  # of one flush, whose positions may need several messages
    opens: int = 0  # so many `Assigned` had been heard when it began; 0 where it has failed


class Revoked(Struct, array_like=True, tag=11):
    """Up: what was asked by `Revoke` of this number is done, its positions are sent."""

    number: int


class Seek(Struct, array_like=True, tag=12):
    """Up: deliver this partition again from `offset`; ignored if `epoch` is no longer the partition's."""

    topic: str
    partition: int
    epoch: int
    offset: int


class Pause(Struct, array_like=True, tag=13):
    """Up: fetch no more of these (topic, partition, epoch); ignored where the epoch is no longer the partition's."""

    partitions: list[tuple[str, int, int]]


class Resume(Struct, array_like=True, tag=14):
    """Up: fetch these (topic, partition, epoch) again; ignored as above."""

    partitions: list[tuple[str, int, int]]


class Letter(Struct, array_like=True):
    """A record that goes to the dead letter topic: as it was read, with what is to be told of it among its headers."""

    number: int  # of all that this life of the task has written, from 1
    topic: str  # where it was read
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None
    timestamp: int | None
    headers: Headers


class LetterPiece(Struct, array_like=True, tag=15):
    """Up: a part of an encoded `Letter`, which may be larger than the small ring; parts come in order."""

    part: bytes
    is_last: bool


class Revoke(Struct, array_like=True, tag=20):
    """Down: flush and let go of these (topic, partition, epoch); answer with `Revoked` of the same number."""

    number: int
    partitions: list[tuple[str, int, int]]
    is_lost: bool = False  # they are gone already: do not flush them


class Stored(Struct, array_like=True, tag=21):
    """Down: offsets are stored for all that was polled up to here."""

    polled: int
    is_end: bool = False  # nothing is in flight and nothing will come


class Acknowledged(Struct, array_like=True, tag=22):
    """Down: Kafka has these records: (sequence, partition, offset), for `commit_record`."""

    topic: str
    records: list[tuple[int, int, int]]


class CommitNow(Struct, array_like=True, tag=23):
    """Down: flush now; the pump's side wants positions."""


_ENCODER = msgspec.msgpack.Encoder()

encode = _ENCODER.encode
encode_into = _ENCODER.encode_into
decode_source = msgspec.msgpack.Decoder(SourceFrame | End).decode
decode_sink = msgspec.msgpack.Decoder(ArrivedSinkFrame | Assigned | Tail).decode
decode_passing = msgspec.msgpack.Decoder(PassingSinkFrame | Assigned | Tail).decode
decode_headers = msgspec.msgpack.Decoder(list[Headers]).decode
decode_letter = msgspec.msgpack.Decoder(Letter).decode
decode_up = msgspec.msgpack.Decoder(Flushed | Revoked | Seek | Pause | Resume | LetterPiece).decode
decode_down = msgspec.msgpack.Decoder(Revoke | Stored | Acknowledged | CommitNow).decode
