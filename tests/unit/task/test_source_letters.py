"""Whatever a source's record holds and its error is, there is a dead letter of it, and it shows no secret."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.errors import ConnectError
from engine.api.record import Header, SourceRecord
from engine.config.line import DeadLetterSpec, Errors
from engine.letter_context import context_of
from engine.shm import frame
from engine.shm.channel import Channel, PumpSide, TaskSide
from engine.stages.transform import RecordError
from engine.task.framing import Framing
from engine.task.outbox import Outbox
from engine.task.source_letters import SourceLetters, payload
from engine.task.tolerance import Tolerance
from tests.harness.banks import LineMemory, VirtualClock, line_spec

SECRET = "s3cr3t-pass"
FRAME_MAX = 64 * 1024
RECORD_MAX = 20_000


class Silent:
    def __str__(self) -> str:
        raise KeyError("nothing to show")


class HttpError(ConnectError):
    code = 503  # type: ignore[assignment]  # as many clients have it


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        (b"\xff", b"\xff"),
        (bytearray(b"ab"), b"ab"),
        ("\u00e9", "\u00e9".encode()),
        ({"a": [1, None]}, b'{"a":[1,null]}'),
        (deep(), b"a list that cannot be shown as JSON"),
        (Silent(), b"a Silent that cannot be shown as JSON"),
    ],
    ids=["null", "bytes", "bytearray", "text", "map", "deep", "silent"],
)
def test_a_value_is_in_its_letter_as_far_as_it_can_be(value: Any, found: bytes | None) -> None:
    assert payload(value) == found


class Bed:
    """A source's letters, and the ring that they go into."""

    def __init__(self) -> None:
        dead = DeadLetterSpec("dead", 1, has_context=True, kafka={})
        spec = line_spec("source", secrets=(SECRET,), errors=Errors(is_tolerant=True, dead_letters=dead))
        memory = LineMemory(spec)
        channel = Channel.create("letters", 4 * FRAME_MAX, 0)
        side = TaskSide(channel)
        self.outbox = Outbox(side.data_writer(is_checked=False), side.pump_bell)
        self.ring = PumpSide(channel).data_reader(is_checked=False)
        self.framing = Framing(self.outbox, FRAME_MAX, RECORD_MAX, 0, None)
        tolerance = Tolerance(spec, memory.stages([]), memory.row, VirtualClock())
        self.letters = SourceLetters(spec, self.framing, tolerance)

    def taken(self) -> list[frame.SourceFrame]:
        found = []
        while not self.outbox.send() or self.ring.used_bytes():
            while (raw := self.ring.read()) is not None:
                going = frame.decode_source(raw)
                assert isinstance(going, frame.SourceFrame)
                found.append(going)
                self.ring.release()
        return found


def test_letters_of_a_poll_that_is_all_bad_are_made_as_there_is_room() -> None:
    bed = Bed()
    records = [SourceRecord(topic="t", value="x" * 15_000 + str(number)) for number in range(100)]
    bed.letters.write([RecordError(at, ConnectError("no")) for at in range(100)], records)
    assert bed.framing.sequence == 100
    found = bed.taken()
    assert [(one.sequence, one.counted, one.is_letter) for one in found] == [(at, 0, True) for at in range(100)]
    assert [(one.values[0] or b"").decode() for one in found] == [record.value for record in records]


def test_what_does_not_fit_is_left_out_and_named() -> None:
    bed = Bed()
    large = b"v" * 30_000
    records = [
        SourceRecord(topic="t", key=b"k", value=large, headers=[Header("h", b"1")]),
        SourceRecord(topic="t", key=b"k" * 30_000, value=large, headers=[Header("h", b"1")]),
        SourceRecord(topic="t", value=b"", source_partition={"file": "f" * 30_000}),
    ]
    bed.letters.write([RecordError(at, ConnectError("no")) for at in range(3)], records)
    first, second, third = bed.taken()
    for one, key in ((first, b"k"), (second, None), (third, None)):
        assert (one.values, one.keys) == ([None], [key])
    names = [[name for name, _ in (one.headers or [[]])[0]] for one in (first, second, third)]
    assert names[0][0] == "h" and "h" not in names[1]
    assert "__connect.errors.stage" in names[1]
    assert names[2] == ["__millrace.errors.left.out"]


def test_a_code_that_is_no_text_is_told_and_secrets_are_hidden() -> None:
    bed = Bed()
    record = SourceRecord(topic="t", source_partition={"url": f"postgresql://app:{SECRET}@db"})
    bed.letters.write([RecordError(0, HttpError(f"refused {SECRET}"), stage="TRANSFORMATION")], [record])
    (one,) = bed.taken()
    headers = dict((one.headers or [[]])[0])
    assert headers["__millrace.errors.code"] == b"503"
    assert b"postgresql" in (headers["__millrace.errors.source.partition"] or b"")
    assert all(SECRET.encode() not in (text or b"") for text in headers.values())


def test_a_message_that_no_encoding_takes_is_told_all_the_same() -> None:
    headers = dict(context_of(line_spec("source"), ConnectError("\ud800"), ("", None), {}))
    assert headers["__connect.errors.exception.message"] == b"?"
