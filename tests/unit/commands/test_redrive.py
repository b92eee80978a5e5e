"""Each letter is sent again once, whatever the filters are, whoever is killed, and whatever Kafka refuses.

The fake keeps the contract of a transaction: all records and the progress, or neither; the answer may be lost.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from engine.api.errors import ConnectError, DataError
from engine.commands.dead_letters import Filters, place_of
from engine.commands.redrive import Reason, Redrive, Wanted, begin_at
from engine.kafka.progress import Progress
from engine.kafka.resender import Going, Noted, TopicRefusedError
from engine.kafka.sample import RawRecord

SEEDS = 200
COUNTS = {"orders": 4, "bills": 1}


class KilledError(Exception):
    """The command was ended here."""


class World:
    """A dead letter topic of two partitions, where records are sent to, and what a group has committed."""

    def __init__(self, letters: Sequence[RawRecord], refused: Sequence[bytes] = (), seed: int | None = None) -> None:
        self.letters = letters
        self.refused = set(refused)
        self.chance = None if seed is None else random.Random(seed)
        self.sent: list[RawRecord] = []
        self.committed: dict[int, tuple[int, str]] = {}
        self.closed: set[str] = set()  # topics that take nothing
        self.calls = 0
        self.tells_which = False  # a sink tells which letters it refuses; Kafka does not

    def records(self, partition: int, start: int) -> Iterator[RawRecord]:
        return (one for one in self.letters if one.partition == partition and one.offset >= start)

    def send(self, batch: Sequence[Going], partition: int, noted: Noted) -> dict[int, str]:
        self.calls += 1
        self._perhaps_killed()
        if not self.closed.isdisjoint(one.record.topic for one in batch):
            raise TopicRefusedError("no right to write")
        refused = {at: "too large" for at, one in enumerate(batch) if one.record.value in self.refused}
        if refused and not self.tells_which:
            raise DataError("too large")
        self.sent += [one.record for at, one in enumerate(batch) if at not in refused]
        self.committed[partition] = noted(refused).as_offset()
        self._perhaps_killed()
        return refused

    def run(self, wanted: Wanted, *, is_dry: bool = False) -> Redrive:
        progress = {at: Progress.of_offset(*self.committed.get(at, (0, ""))) for at in (0, 1)}
        done = Redrive(wanted, progress, COUNTS, None if is_dry else self)
        done.run(self)
        return done

    def values(self) -> list[bytes]:
        return [one.value or b"" for one in self.sent]

    def _perhaps_killed(self) -> None:
        if self.chance is not None and self.chance.random() < 0.1:
            raise KilledError


def letter(number: int, *, attempt: bytes | None = None, **context: str) -> RawRecord:
    """Offsets have gaps, as those of transactions have."""
    told = {"topic": "orders", "partition": "2", "stage": "TASK_PUT" if number % 3 else "TRANSFORMATION", **context}
    headers: list[tuple[str, bytes | None]] = [("trace", b"%d" % number)]
    headers += [] if attempt is None else [("__millrace.redrive.attempt", attempt)]
    headers += [(f"__connect.errors.{name}", text.encode()) for name, text in told.items() if text]
    offset = number // 2 * 2 + number // 10
    return RawRecord("dead", number % 2, offset, 1000 + number, b"k%d" % number, b"%d" % number, tuple(headers))


def values(numbers: Sequence[int]) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def test_a_record_is_sent_as_it_was_to_where_it_was() -> None:
    world = World([letter(0, attempt=b"1")])
    done = world.run(Wanted())
    headers = (("trace", b"0"), ("__millrace.redrive.attempt", b"2"))
    assert world.sent == [RawRecord("orders", 2, -1, 1000, b"k0", b"0", headers)]
    assert (done.sent, done.is_whole) == (1, True)


def test_elsewhere_and_where_there_is_no_such_partition_the_key_decides() -> None:
    world = World([letter(0), letter(2, topic="bills"), letter(4, partition="4"), letter(6, partition="")])
    world.run(Wanted())
    assert [(one.topic, one.partition) for one in world.sent] == [
        ("orders", 2),
        ("bills", -1),
        ("orders", -1),
        ("orders", -1),
    ]
    other = World([letter(0)])
    other.run(Wanted(to="bills"))
    assert [(one.topic, one.partition) for one in other.sent] == [("bills", -1)]


def test_what_a_filter_leaves_is_sent_by_a_later_command_and_the_rest_not_again() -> None:
    world = World([letter(number) for number in range(12)])
    first = world.run(Wanted(Filters(stage="TRANSFORMATION")))
    assert sorted(world.values()) == sorted(values(range(0, 12, 3)))
    assert first.counts == Counter({Reason.FILTER: 8})
    second = world.run(Wanted())
    assert sorted(world.values()) == sorted(values(range(12)))
    assert (second.sent, second.counts[Reason.DONE]) == (8, 3)
    third = world.run(Wanted())
    assert (third.sent, third.is_whole) == (0, True)
    assert len(world.sent) == 12


def test_order_is_kept_in_a_partition() -> None:
    world = World([letter(number) for number in range(30)])
    world.run(Wanted(at_once=4))
    assert world.values() == [*values(range(0, 30, 2)), *values(range(1, 30, 2))]


def test_what_was_sent_again_too_often_is_left_and_listed() -> None:
    world = World([letter(0, attempt=b"3"), letter(2, attempt=b"2"), letter(4, attempt=b"4")])
    done = world.run(Wanted())
    assert world.values() == [b"2"]
    assert [(left.letter.place, left.reason) for left in done.left] == [
        ("0@0", Reason.ATTEMPTS),
        ("0@4", Reason.ATTEMPTS),
    ]
    assert not done.is_whole
    assert world.run(Wanted(attempts_max=5)).sent == 2


def test_a_letter_without_a_place_to_go_to_is_left_and_told() -> None:
    world = World([letter(0, topic=""), letter(2, topic="gone"), letter(4)])
    done = world.run(Wanted())
    assert world.values() == [b"4"]
    assert [left.why for left in done.left] == [
        "it does not say where it was; --to TOPIC says where to",
        "there is no topic gone that this user may see; --to TOPIC says where to",
    ]
    assert world.run(Wanted(to="bills")).sent == 2


def test_what_is_not_the_record_as_kafka_would_have_it_is_left_and_as_it_was_polled_goes_where_somebody_says() -> None:
    of_sources = [
        (("__millrace.errors.code", b"record"), ("__millrace.errors.attempts", b"1")),
        (("__millrace.errors.source.partition", b"{}"), ("__millrace.errors.source.offset", b"{}")),
        (("__millrace.errors.left.out", b"9000000 bytes of value"),),
    ]
    letters = [letter(2 * number) for number in range(3)]
    world = World([one._replace(headers=one.headers + more) for one, more in zip(letters, of_sources, strict=True)])
    for wanted in (Wanted(), Wanted(into="copy")):
        done = World(world.letters).run(wanted)
        assert [(one.letter.place, one.reason) for one in done.left] == [("0@2", Reason.LACKS), ("0@4", Reason.LACKS)]
        assert [one.why for one in done.left] == [
            "its source could not convert it: it is as it was polled; --to TOPIC sends it so",
            "a part of it is not in its letter: 9000000 bytes of value",
        ]
    world.run(Wanted(to="bills"))
    assert [(one.value, [name for name, _ in one.headers]) for one in world.sent] == [
        (b"0", ["trace", "__millrace.redrive.attempt"]),
        (b"2", ["trace", "__millrace.redrive.attempt"]),
    ]


def test_what_kafka_refuses_costs_itself_alone() -> None:
    world = World([letter(number) for number in range(0, 128, 2)], refused=values([6, 80]))
    done = world.run(Wanted())
    assert world.values() == values([number for number in range(0, 128, 2) if number not in (6, 80)])
    assert [(left.letter.record.value, left.why) for left in done.left] == [(b"6", "too large"), (b"80", "too large")]
    assert world.calls <= 2 * 2 * 6 + 1
    world.refused.clear()
    world.run(Wanted())
    assert world.values()[-2:] == values([6, 80])


def test_a_topic_that_takes_nothing_does_not_stop_the_others() -> None:
    letters = [letter(number, topic="bills" if number % 4 else "orders") for number in range(0, 40, 2)]
    world = World(letters)
    world.closed = {"bills"}
    done = world.run(Wanted(at_once=6))
    assert world.values() == values(range(0, 40, 4))
    assert ({left.why for left in done.left}, done.counts[Reason.REFUSED]) == ({"no right to write"}, 10)
    assert world.calls == 5  # one is refused, and sent by topic; then the seven that are left
    world.closed.clear()
    assert world.run(Wanted()).sent == 10


def test_a_new_group_begins_at_a_place_without_an_end_and_not_before_it() -> None:
    progress = {0: Progress(), 1: Progress()}
    places = [place_of("--place", text) for text in ("0@12-", "1@3-4", "2@5-")]
    begin_at(progress, places, {0: (0, 20), 1: (0, 20), 2: (0, 20)})
    assert [one.position for one in progress.values()] == [12, 0]
    begin_at(progress, [place_of("--place", "1@30-")], {1: (0, 20)})
    assert progress[1].position == 20


def test_what_is_told_to_be_refused_is_left_at_once_and_goes_later() -> None:
    world = World([letter(number) for number in range(0, 128, 2)], refused=values([6, 80]))
    world.tells_which = True
    done = world.run(Wanted())
    assert (world.calls, done.sent, done.counts[Reason.REFUSED]) == (1, 62, 2)
    world.refused.clear()
    assert world.run(Wanted()).sent == 2
    assert sorted(world.values()) == sorted(values(range(0, 128, 2)))


def test_into_a_sink_goes_the_record_as_it_was_and_how_often_also_without_a_topic_there() -> None:
    letters = [letter(0, attempt=b"1"), letter(2, topic="gone", offset="41"), letter(4, topic="")]
    world = World([*letters, letter(6, attempt=b"3")])
    done = world.run(Wanted(into="copy"))
    attempt = "__millrace.redrive.attempt"
    assert world.sent == [
        RawRecord("orders", 2, 0, 1000, b"k0", b"0", (("trace", b"0"), (attempt, b"2"))),
        RawRecord("gone", 2, 41, 1002, b"k2", b"2", (("trace", b"2"), (attempt, b"1"))),
    ]
    left = [(left.letter.place, left.reason) for left in done.left]
    assert left == [("0@4", Reason.NOWHERE), ("0@6", Reason.ATTEMPTS)]
    assert [topic for _, topic in done.destinations] == ["copy", "copy"]
    assert world.run(Wanted(into="copy", attempts_max=4)).sent == 1


def test_a_limit_ends_the_command_and_the_next_goes_on() -> None:
    world = World([letter(number) for number in range(0, 20, 2)])
    first = world.run(Wanted(limit=3, at_once=2))
    assert (first.sent, first.is_cut) == (3, True)
    world.run(Wanted())
    assert world.values() == values(range(0, 20, 2))


def test_a_dry_run_sends_nothing_and_says_what_would_be_sent() -> None:
    world = World([letter(number, attempt=b"3" if number == 4 else None) for number in range(0, 8, 2)])
    done = world.run(Wanted(), is_dry=True)
    assert (world.sent, world.committed) == ([], {})
    assert [(one.record.value, topic) for one, topic in done.destinations] == [
        (b"0", "orders"),
        (b"2", "orders"),
        (b"6", "orders"),
    ]
    assert done.counts[Reason.ATTEMPTS] == 1


@pytest.mark.slow
def test_a_note_that_would_be_too_long_ends_the_command_and_another_group_goes_on_behind_it() -> None:
    chance = random.Random(1)
    numbers = range(0, 50_000, 2)
    world = World([letter(number, stage="A" if chance.random() < 0.5 else "B") for number in numbers])
    with pytest.raises(ConnectError, match=r"go on behind it with --group NAME --place 0@\d+-") as refused:
        world.run(Wanted(Filters(stage="A")))
    _, _, place = str(refused.value).partition("--place ")
    first_group, world.committed = world.committed, {}
    assert len(first_group[0][1]) > 3_000
    world.run(Wanted(Filters(stage="A", places=(place_of("--place", place.partition(",")[0]),))))
    wanted = [one.value for one in world.letters if ("__connect.errors.stage", b"A") in one.headers]
    assert world.values() == wanted


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_is_sent_once_whoever_is_killed_and_whatever_the_filters(seed: int) -> None:
    chance = random.Random(seed)
    numbers = range(chance.randrange(1, 80))
    refused = [number for number in numbers if chance.random() < 0.05]
    world = World([letter(number) for number in numbers], values(refused), seed)
    world.tells_which = chance.random() < 0.5
    for _ in range(chance.randrange(12)):
        filters: dict[str, Any] = {
            "stage": chance.choice(["", "TASK_PUT", "TRANSFORMATION"]),
            "until_ms": chance.choice([None, 1000 + chance.randrange(80)]),
        }
        wanted = Wanted(Filters(**filters), limit=chance.choice([None, 5]), at_once=chance.randrange(1, 9))
        with contextlib.suppress(KilledError):
            world.run(wanted)
    world.chance = None
    done = world.run(Wanted())
    assert Counter(world.values()) == Counter(values([number for number in numbers if number not in refused]))
    assert {left.letter.record.value for left in done.left} == set(values(refused))
