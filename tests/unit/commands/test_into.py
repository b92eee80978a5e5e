"""Letters go into a sink's task by its converters and transforms: each is there and noted, or left and told why.

A task sees the records where they were, and the letters' positions: it cannot take a letter for a record that it has.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from engine.api.batch import SinkBatch
from engine.api.errors import ConnectError, DataError, RetriableError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.schema import STRING as STRING_SCHEMA
from engine.api.task import SinkTask
from engine.api.transform import AnyRecord, FlatMap
from engine.commands.dead_letters import ATTEMPT
from engine.commands.into import Into
from engine.commands.redrive import Redrive, Wanted
from engine.config.line import LineSpec, PluginSpec, StepSpec
from engine.kafka.progress import Progress
from engine.kafka.resender import Going, Noted
from engine.kafka.sample import RawRecord
from tests.harness.banks import VirtualClock, line_spec

SEEDS = 100
SECRET = "not-to-be-seen"
TWICE = f"{__name__}:Twice"
STRING = PluginSpec("converters.string:StringConverter")
JSON = PluginSpec("converters.json:JsonConverter", {"schemas.enable": "false"})
STRICT_JSON = PluginSpec("converters.json:JsonConverter")
INTEGER = PluginSpec("converters.numbers:IntegerConverter")


class KilledError(BaseException):
    """The command was ended here, with no time for anything."""


class System:
    """What tasks write to, and what is to go wrong."""

    def __init__(self) -> None:
        self.records: list[SinkRecord] = []
        self.calls: list[str] = []
        self.raises: dict[str, list[Any]] = {}  # by call, one after the other; None: that one is done
        self.refused: set[str] = set()  # values
        self.seeks: dict[str, int] = {}  # in which call, to where
        self.safe: list[int] = []  # what pre_commit says first

    def note(self, call: str, task: SinkTask) -> None:
        self.calls.append(call)
        if call in self.seeks:
            task.context.seek({TopicPartition("dead", 0): self.seeks.pop(call)})
        if self.raises.get(call):
            error = self.raises[call].pop(0)
            if error is not None:
                raise error


class Sink(SinkTask):
    """Writes what it can of a batch before it refuses it."""

    system: System

    def start(self, config: Mapping[str, str]) -> None:
        self.system.note("start", self)

    def open(self, partitions: Collection[TopicPartition]) -> None:
        self.system.note("open", self)
        assert {*partitions} == {*self.context.assignment()} == {TopicPartition("dead", 0), TopicPartition("dead", 1)}

    def put(self, batch: SinkBatch) -> None:
        self.system.note("put", self)
        for record in batch:
            if str(record.value) in self.system.refused:
                self.refuse(record, DataError(f"{record.value} is refused, {SECRET}"))
            else:
                self.system.records.append(record)

    def refuse(self, _record: SinkRecord, error: Exception) -> None:
        raise error

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.system.note("flush", self)

    def close(self, partitions: Collection[TopicPartition]) -> None:
        assert {*partitions} == {*self.context.assignment()}
        self.system.note("close", self)

    def stop(self) -> None:
        self.system.note("stop", self)


class ReportingSink(Sink):
    """Reports what it refuses."""

    def refuse(self, record: SinkRecord, error: Exception) -> None:
        reporter = self.context.errant_record_reporter()
        assert reporter is not None
        reporter.report(record, error).result(0)


class LateSink(ReportingSink):
    """Reports it when it is flushed for the second time."""

    def refuse(self, record: SinkRecord, error: Exception) -> None:
        self._late = record, error

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        super().flush(offsets)
        if self.system.calls.count("flush") == 2:
            super().refuse(*self._late)


class AtomicSink(Sink):
    """Writes all of a batch, or nothing."""

    put_is_atomic = True

    def put(self, batch: SinkBatch) -> None:
        before = [*self.system.records]
        try:
            super().put(batch)
        except DataError:
            self.system.records = before
            raise


class PositionedSink(Sink):
    """Says itself how far it is safe."""

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        self.flush(offsets)
        return {place: self.system.safe.pop(0) for place in offsets} if self.system.safe else offsets


class Twice(FlatMap):
    """Makes two of each."""

    def apply_many(self, record: AnyRecord) -> Iterable[AnyRecord]:
        return [record, record]


class Notes:
    """A group's."""

    def __init__(self) -> None:
        self.committed: dict[int, tuple[int, str]] = {}
        self.raises: list[Exception] = []

    def send(self, batch: Sequence[Going], partition: int, noted: Noted) -> Mapping[int, str]:
        assert not batch
        if self.raises:
            raise self.raises.pop()
        self.committed[partition] = noted(()).as_offset()
        return {}

    def progress(self) -> dict[int, Progress]:
        return {at: Progress.of_offset(*self.committed.get(at, (0, ""))) for at in (0, 1)}


class World:
    """A topic of letters, what is noted of it, and the system."""

    def __init__(self, kind: type[Sink] = Sink, letters: Sequence[RawRecord] = (), **line: Any) -> None:
        self.letters = letters
        self.notes = Notes()
        self.system = kind.system
        self.clock = VirtualClock()
        given = {"key_converter": STRING, "value_converter": STRING, "header_converter": STRING, "secrets": (SECRET,)}
        self.line: LineSpec = line_spec("sink", task_path=f"{__name__}:{kind.__name__}", **{**given, **line})
        self.slept: list[float] = []

    def records(self, partition: int, start: int) -> Iterator[RawRecord]:
        return (one for one in self.letters if one.partition == partition and one.offset >= start)

    def run(self, wanted: Wanted | None = None, *, is_dry: bool = False) -> tuple[Redrive, Into]:
        progress = self.notes.progress()
        into = Into(self.line, "dead", progress, None if is_dry else self.notes, 60.0, self.clock, self.sleep)
        with ExitStack() as opened:
            opened.push(into.ended)
            into.start()
            done = Redrive(wanted or Wanted(into="copy"), progress, {}, into)
            try:
                done.run(self)
            except KilledError:
                opened.pop_all()
                raise
        return done, into

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    def values(self) -> list[Any]:
        return [one.value for one in self.system.records]


@pytest.fixture(autouse=True)
def _system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sink, "system", System(), raising=False)


def letter(number: int, value: bytes = b"", **context: str) -> RawRecord:
    told = {"topic": "orders", "partition": "2", "offset": str(number + 100), **context}
    headers: list[tuple[str, bytes | None]] = [("trace", b"%d" % number), ("__millrace.redrive.attempt", b"2")]
    headers += [(f"__connect.errors.{name}", text.encode()) for name, text in told.items()]
    return RawRecord("dead", 0, number, 1000 + number, b"k%d" % number, value or b"%d" % number, tuple(headers))


def left(done: Redrive) -> dict[str, str]:
    return {one.letter.place: one.why for one in done.left}


def test_a_task_sees_the_record_where_it_was_and_the_letters_position() -> None:
    world = World(letters=[letter(0), letter(3, topic="bills"), letter(4)])
    done, _ = world.run()
    assert (done.sent, done.is_whole, world.notes.committed) == (3, True, {0: (5, "")})
    assert world.system.calls == ["start", "open", "put", "put", "put", "flush", "close", "stop"]
    first, second, _ = world.system.records
    assert (first.topic, first.partition, first.key, first.value, first.timestamp) == ("orders", 2, "k0", "0", 1000)
    told = [("trace", "0"), ("__millrace.redrive.attempt", "3")]
    assert [(header.key, header.value) for header in first.headers] == told
    assert (first.original_topic, first.original_partition, first.original_offset, first.offset) == ("dead", 0, 0, 0)
    assert (second.topic, second.original_topic, second.original_offset) == ("bills", "dead", 3)
    again, _ = world.run()
    assert (again.sent, world.values()) == (0, ["0", "3", "4"])


@pytest.mark.parametrize(
    ("converter", "own"),
    [(STRICT_JSON, b'{"schema":{"type":"int32"},"payload":7}'), (INTEGER, b"\x00\x00\x00\x07")],
    ids=["json", "integer"],
)
def test_the_header_that_counts_is_none_that_a_sinks_converter_has_to_understand(
    converter: PluginSpec, own: bytes
) -> None:
    letters = [one._replace(headers=(("trace", own), *one.headers[1:])) for one in (letter(0), letter(1))]
    letters[1] = letters[1]._replace(headers=(*letters[1].headers, ("more", b"no such thing")))
    insert = PluginSpec("engine.transforms.headers:InsertHeader", {"header": "by", "value.literal": "x"})
    for transforms in ((), (StepSpec(insert),)):
        world = World(letters=letters, header_converter=converter, transforms=transforms)
        done, _ = world.run()
        assert [*left(done)] == ["0@1"]
        headers = world.system.records.pop().headers
        assert [(header.key, header.value) for header in headers[:2]] == [("trace", 7), (ATTEMPT, "3")]
        assert headers[1].schema == STRING_SCHEMA


def test_transforms_see_where_it_was_and_what_they_drop_is_done() -> None:
    insert = PluginSpec("engine.transforms.insert_field:InsertFieldValue", {"offset.field": "offset"}, "insert")
    is_bill = PluginSpec("engine.transforms.filtering:TopicNameMatches", {"pattern": "bills"})
    drop = StepSpec(PluginSpec("engine.transforms.filtering:Filter"), is_bill)
    topics = {2: "bills"}
    world = World(
        letters=[letter(number, b'{"n":%d}' % number, topic=topics.get(number, "orders")) for number in range(4)],
        value_converter=JSON,
        transforms=(StepSpec(insert), drop),
    )
    done, into = world.run()
    assert (done.sent, into.dropped, world.notes.committed) == (4, 1, {0: (4, "")})
    found = [(one.value, one.offset, one.original_topic) for one in world.system.records]
    assert found == [({"n": number, "offset": number + 100}, number, "dead") for number in (0, 1, 3)]


@pytest.mark.parametrize("is_dry", [False, True])
def test_what_cannot_be_converted_now_is_left_alone_also_in_a_dry_run(*, is_dry: bool) -> None:
    letters = [letter(number, b"{" if number == 2 else b"%d" % number) for number in range(4)]
    world = World(letters=letters, value_converter=JSON)
    done, _ = world.run(is_dry=is_dry)
    assert (done.sent, [*left(done)]) == (3, ["0@2"])
    assert world.values() == ([] if is_dry else [0, 1, 3])
    assert world.system.calls == ([] if is_dry else ["start", "open", "put", "flush", "close", "stop"])
    assert bool(world.notes.committed) is not is_dry
    world.line = World(value_converter=STRING).line
    world.run()
    assert world.values() == (["0", "1", "{", "3"] if is_dry else [0, 1, 3, "{"])


@pytest.mark.parametrize("kind", [ReportingSink, AtomicSink])
def test_what_the_system_refuses_costs_itself_alone(kind: type[Sink]) -> None:
    world = World(kind, [letter(number) for number in range(64)])
    world.system.refused = {"5", "40"}
    done, _ = world.run()
    assert left(done) == {f"0@{number}": f"{number} is refused, [hidden]" for number in (5, 40)}
    assert world.values() == [str(number) for number in range(64) if number not in (5, 40)]
    assert world.system.calls.count("put") <= (2 * 7 + 1 if kind is AtomicSink else 1)
    world.system.refused.clear()
    again, _ = world.run()
    assert (again.sent, world.values()[-2:]) == (2, ["5", "40"])


def test_who_does_not_say_what_he_has_written_is_given_one_at_a_time_or_none() -> None:
    world = World(letters=[letter(number) for number in range(4)])
    world.system.refused = {"2"}
    with pytest.raises(ConnectError, match=r"refuses one of 4 letters .* --at-once 1 puts one letter at a time"):
        world.run()
    assert world.notes.committed == {}
    world.system.records.clear()
    done, _ = world.run(Wanted(into="copy", at_once=1))
    assert (world.values(), [*left(done)]) == (["0", "1", "3"], ["0@2"])


def test_a_refusal_costs_no_other_letter_that_was_at_the_same_offset() -> None:
    for refused in ("0", "1"):
        world = World(AtomicSink, [letter(number, partition=str(number), offset="7") for number in range(3)])
        world.system.records.clear()
        world.system.refused = {refused}
        done, _ = world.run()
        assert [*left(done)] == [f"0@{refused}"]
        assert world.values() == [str(number) for number in range(3) if str(number) != refused]


def test_one_letter_of_which_transforms_make_several_is_put_whole_or_left() -> None:
    world = World(AtomicSink, [letter(number) for number in range(5)], transforms=(StepSpec(PluginSpec(TWICE)),))
    world.system.refused = {"1"}
    done, _ = world.run()
    assert (world.values(), [*left(done)]) == ([*"00223344"], ["0@1"])


def test_what_was_put_before_a_failure_is_flushed_and_noted() -> None:
    letters = [letter(number, topic="orders" if number < 3 else "bills") for number in range(6)]
    world = World(letters=letters)
    world.system.refused = {"4"}
    with pytest.raises(ConnectError, match="refuses one of 3 letters"):
        world.run()
    assert world.notes.committed == {0: (3, "")}
    world = World(AtomicSink, [letter(number) for number in range(8)])
    world.system.records.clear()
    world.system.refused = {"5"}
    world.system.raises = {"put": [DataError("one of 8"), None, DataError("one of 4"), ValueError("a mistake")]}
    with pytest.raises(ConnectError, match="failed in put: ValueError: a mistake"):
        world.run()
    assert (world.values(), world.notes.committed) == (["0", "1", "2", "3"], {0: (4, "")})
    world.run()
    assert world.values() == [str(number) for number in range(8) if number != 5]


def test_nothing_is_noted_where_what_was_put_before_a_failure_is_not_safe() -> None:
    world = World(letters=[letter(0), letter(1, topic="bills")])
    world.system.raises = {"put": [None, ValueError("a mistake")], "flush": [RetriableError("away")] * 3}
    with pytest.raises(ConnectError, match="failed in put: ValueError: a mistake"):
        world.run()
    assert world.notes.committed == {}


def test_one_letter_of_which_transforms_make_several_is_left_where_nobody_knows_what_is_written() -> None:
    explode = StepSpec(PluginSpec(TWICE))
    world = World(letters=[letter(number) for number in range(3)], transforms=(explode,))
    world.system.refused = {"1"}
    done, _ = world.run(Wanted(into="copy", at_once=1))
    assert (world.values(), [*left(done)]) == (["0", "0", "2", "2"], ["0@1"])


def test_a_stop_that_fails_does_not_hide_what_ended_the_command() -> None:
    world = World(letters=[letter(0)])
    world.system.raises = {"put": [ValueError("a mistake")], "stop": [ValueError("not stopped")]}
    with pytest.raises(ConnectError, match="failed in put: ValueError: a mistake"):
        world.run()
    world.system.raises = {"stop": [ValueError("not stopped")]}
    with pytest.raises(ConnectError, match="failed in stop: ValueError: not stopped"):
        world.run()


def test_what_may_pass_is_tried_again_for_a_time() -> None:
    world = World(letters=[letter(0)])
    world.system.raises = {"put": [RetriableError("away")] * 3, "flush": [RetriableError("away")]}
    world.run()
    assert (world.values(), len(world.slept)) == (["0"], 4)
    world = World(letters=[letter(1)])
    world.system.raises = {"put": [RetriableError(f"away, {SECRET}") for _ in range(100)]}
    with pytest.raises(ConnectError, match=r"failed in put, again and again for 60 s: away, \[hidden\]"):
        world.run()
    assert world.notes.committed == {}
    assert world.system.calls[-1] == "stop"


@pytest.mark.parametrize("call", ["start", "open", "put", "flush"])
def test_what_a_task_fails_with_ends_the_command_and_nothing_is_noted(call: str) -> None:
    world = World(letters=[letter(0)])
    world.system.raises = {call: [ValueError(f"a mistake, {SECRET}")]}
    with pytest.raises(ConnectError, match=rf"numbers failed in {call}: ValueError: a mistake, \[hidden\]"):
        world.run()
    assert world.notes.committed == {}
    assert world.system.calls[-1] == "stop"


def test_nothing_is_noted_before_the_task_says_that_it_is_safe() -> None:
    world = World(PositionedSink, [letter(0), letter(1)])
    world.system.safe = [0, 1]
    world.run()
    assert world.system.calls.count("flush") == 3
    assert world.notes.committed == {0: (2, "")}
    world.letters = [letter(5)]
    world.system.safe = [0] * 100
    with pytest.raises(ConnectError, match="it has not said that all before offset 6 of dead is safe"):
        world.run()
    assert world.notes.committed == {0: (2, "")}


@pytest.mark.parametrize("kind", [PositionedSink, Sink])
def test_who_keeps_positions_is_given_nothing_that_lies_before_them(kind: type[Sink]) -> None:
    world = World(kind, [letter(number) for number in range(6)])
    world.notes.committed = {0: Progress(0, [3], [4]).as_offset()}
    if kind is Sink:
        world.system.seeks = {"open": 4}
    done, _ = world.run()
    assert world.values() == ["4", "5"]
    assert [*left(done)] == ["0@0", "0@1", "0@2"]
    assert "keeps positions of its own, and letters up to offset 3 were there before" in left(done)["0@0"]


@pytest.mark.parametrize("at_once", [1, 2, 500])
def test_what_lies_between_the_note_and_a_sinks_own_position_is_looked_for_in_the_sink(at_once: int) -> None:
    world = World(letters=[letter(number) for number in range(6)])
    world.notes.committed = {0: (2, "")}
    world.system.seeks = {"open": 4}
    done, _ = world.run(Wanted(into="copy", at_once=at_once))
    assert (world.values(), [*left(done)]) == (["4", "5"], ["0@2", "0@3"])
    for told in left(done).values():
        assert "letters 2 to 3 are in it, or were passed over" in told
        assert told.endswith("look there, and go on with --place 0@4-")


def test_others_are_given_what_filters_have_left() -> None:
    world = World(letters=[letter(number) for number in range(6)])
    world.notes.committed = {0: Progress(0, [3], [4]).as_offset()}
    world.run()
    assert world.values() == ["0", "1", "2", "4", "5"]


def test_who_goes_on_elsewhere_in_a_put_ends_the_command() -> None:
    world = World(letters=[letter(number) for number in range(3)])
    world.system.seeks = {"put": 7}
    with pytest.raises(ConnectError, match="goes on at offset 7 by its own positions when it is given letters 0@0-2"):
        world.run()
    assert world.notes.committed == {}


def test_a_report_of_what_was_safe_ends_the_command() -> None:
    world = World(LateSink, [letter(number) for number in range(2)])
    world.system.refused = {"0"}
    with pytest.raises(ConnectError, match="reported letter 0@0 after it had said that it was safe: 0 is refused"):
        world.run(Wanted(into="copy", at_once=1))
    assert world.notes.committed == {0: (1, "")}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_is_in_the_sink_and_none_again_that_is_noted(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randrange(1, 60)
    kind = chance.choice([ReportingSink, AtomicSink])
    world = World(kind, [letter(number) for number in range(count)])
    refused = {str(number) for number in range(count) if chance.random() < 0.1}
    world.system.refused = {*refused}
    repeated_max = 0
    for _ in range(chance.randrange(6)):
        at_once = chance.randrange(1, 9)
        call = chance.choice(["put", "flush", "note"])
        world.notes.raises = [ConnectError("fenced")] if call == "note" else []
        world.system.raises = {call: [RetriableError("away")] * chance.randrange(3) + [KilledError()]}
        try:
            world.run(Wanted(into="copy", at_once=at_once, limit=chance.choice([None, 7])))
        except (ConnectError, KilledError):
            repeated_max += at_once  # one batch
        noted = world.notes.progress()[0]
        times = Counter(world.values())
        assert times.total() - len(times) <= repeated_max
        assert all(times[str(number)] >= 1 for number in range(count) if number in noted and str(number) not in refused)
    world.system.raises, world.notes.raises = {}, []
    noted = world.notes.progress()[0]
    before = Counter(world.values())
    done, _ = world.run()
    after = Counter(world.values())
    assert {one.letter.record.value for one in done.left} == {number.encode() for number in refused}
    for number in range(count):
        name = str(number)
        assert after[name] - before[name] == (0 if number in noted or name in refused else 1)
        assert (after[name] > 0) is (name not in refused)
