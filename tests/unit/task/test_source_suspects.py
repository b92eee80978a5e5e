"""A record of a source that kills its process is found by halving, however polls are cut; nothing else is skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from engine.api.batch import SourceBatch
from engine.api.record import SourceRecord
from engine.api.schema import INT64
from engine.api.task import Polled
from engine.mending import Kind
from engine.shm.board import Phase, Stage, Target, Word
from engine.task.source_suspects import SourceSuspects
from engine.task.suspects import BLAMED_MAX, DEATHS_MAX
from tests.harness.deadly_source import NUMBERS, SOURCE, STEPS_MAX, Bed, Counting, Store


@pytest.mark.parametrize("has_records", [True, False])
@pytest.mark.parametrize("stages", [0, 2])
def test_it_becomes_a_dead_letter_and_all_others_arrive(stages: int, has_records: bool) -> None:
    bed = Bed({13, 37, 38}, stages=stages, has_records=has_records)
    bed.run()
    bed.check([13, 37, 38])
    assert bed.deaths <= 3 * (NUMBERS.bit_length() + DEATHS_MAX)


@pytest.mark.parametrize("stages", [0, 2])
def test_an_offset_without_a_record_is_not_what_has_killed(stages: int) -> None:
    bed = Bed([17, 41], stages=stages, has_notes=True)
    bed.run()
    bed.check([17, 41])


def test_one_that_takes_the_pump_along_is_not_tried_again_by_the_next_life_that_dies() -> None:
    deadly = [3, 13, 23, 37, 38, 50]  # more than are remembered
    bed = Bed(deadly, interval=1e6)
    bed.run(with_pump=True)
    bed.check(deadly)


@pytest.mark.parametrize("deadly", [[14], [13, 14], [12, 13, 14, 15]])
@pytest.mark.parametrize("has_records", [True, False])
def test_of_neighbours_of_one_offset_only_those_that_kill_are_to_blame(has_records: bool, deadly: list[int]) -> None:
    bed = Bed(deadly, step=4, has_records=has_records)
    bed.run()
    bed.check(deadly)


@pytest.mark.parametrize("with_pump", [False, True])
def test_no_offset_is_stored_before_all_records_that_have_it_are_there(with_pump: bool) -> None:
    bed = Bed({14}, step=4)
    for _ in range(STEPS_MAX):
        if bed.row.get(Word.PUMP_PHASE) == Phase.ENDED:
            break
        if bed.dies():
            bed.bury(with_pump=with_pump)
        if bed.store.next > 12:
            assert {12, 13, 15} <= {int(value) for value in bed.kafka.values()}
            assert bed.kafka.letters()
    bed.check([14])


@pytest.mark.parametrize("deadly", [{2}, {19}, {33}, {38}, {59}, {3, 33}, {21, 30, 38}])
def test_it_is_found_in_a_range_of_one_offset_that_comes_whole_in_each_life(deadly: set[int]) -> None:
    bed = Bed(deadly, range_size=20)
    bed.run()
    bed.check(sorted(deadly))
    assert bed.deaths <= len(deadly) * (NUMBERS.bit_length() + DEATHS_MAX)


@pytest.mark.parametrize("step", [2, 4])
@pytest.mark.parametrize("has_records", [True, False])
def test_one_that_fails_comes_again_with_those_before_it_that_have_its_offset(has_records: bool, step: int) -> None:
    bed = Bed((), tolerant=False, step=step, has_records=has_records)
    bed.memory.bad = {b"14"}
    bed.banks.crash()
    bed.banks.start()
    bed.run()
    assert "could not be converted" in str(bed.failure)
    bed.step_until_over(bed.banks.task)
    bed.memory.bad = ()
    bed.bury(Kind.RECORD)
    assert bed.store.next == 14 // step * step
    bed.run()
    assert {int(value) for value in bed.kafka.values()} == set(range(NUMBERS))
    assert bed.store.next == NUMBERS


class TwoStores(Store):
    """The last offset of each of two source partitions."""

    def __init__(self) -> None:
        super().__init__()
        self.each = {"even": 0, "odd": 0}

    def write(self, connector: str, offsets: Iterable[tuple[bytes, bytes]]) -> None:
        for partition, offset in offsets:
            self.each[json.loads(partition)["are"]] = json.loads(offset)["next"]
        self.next = sum(self.each.values())


class InTurn(Counting):
    """Of two source partitions one record each in turn; five neighbours in a partition have one offset."""

    def __init__(self, bed: Two) -> None:
        super().__init__(bed)
        self._each = dict(bed.store.each)

    def poll(self) -> Polled:
        records = [
            SourceRecord(
                topic="all",
                value=b"%d" % (2 * (begin + index) + (are == "odd")),
                source_partition={"are": are},
                source_offset={"next": begin + 5},
            )
            for index in range(5)
            for are, begin in self._each.items()
            if begin < NUMBERS // 2
        ]
        self._each = {are: min(begin + 5, NUMBERS // 2) for are, begin in self._each.items()}
        if not records:
            self.context.end()
        return records


class Two(Bed):
    """Two source partitions."""

    source_type = InTurn
    store: TwoStores

    def make_store(self) -> Store:
        return TwoStores()


@pytest.mark.parametrize("with_pump", [False, True])
@pytest.mark.parametrize("deadly", [{9}, {12}, {14}, {11, 18, 40}])
def test_neighbours_of_one_offset_need_not_follow_each_other(deadly: set[int], with_pump: bool) -> None:
    bed = Two(deadly, step=5)
    bed.run(with_pump=with_pump)
    bed.check(sorted(deadly))


class Deletes(Bed):
    """All but the last record of a poll have a key alone."""

    has_deletes = True


class DeletesOfTwo(Deletes):
    """Of two tables."""

    tables = ("one", "two")


def test_records_without_a_value_and_an_offset_are_told_apart_by_their_keys() -> None:
    bed = Deletes({33})
    bed.run()
    assert bed.failure is None
    assert {number for _, number in bed.seen} == set(range(NUMBERS)).difference({33})
    assert bed.store.next == NUMBERS
    assert bed.row.get(Word.SKIPPED) == 1


@pytest.mark.parametrize("deadly", [{33}, {33, 38}])
def test_and_by_their_topics(deadly: set[int]) -> None:
    bed = DeletesOfTwo(deadly)
    bed.run()
    assert bed.failure is None
    all_rows = {(table, number) for table in bed.tables for number in range(NUMBERS)}
    assert bed.seen == all_rows - {("two", number) for number in deadly}
    assert bed.row.get(Word.SKIPPED) >= len(deadly)  # the first comes again with the second, and has another letter


def test_a_search_that_begins_before_anything_was_stored_is_no_progress() -> None:
    bed = Bed(())
    row = bed.row

    def narrowed_by_a_search() -> int:
        before = row.get(Word.NARROWED)
        for hand in (8, 4, 2, 1):
            row.set(Word.HAND_RECORDS, hand)
            row.set(Word.ENDED_AS, Kind.CRASH)
            SourceSuspects(row, bed.memory.stages([]))
        row.set(Word.PART_RECORDS, 0)  # another one has passed in its place
        row.set(Word.LONE_DEATHS, 0)
        return row.get(Word.NARROWED) - before

    found = [narrowed_by_a_search() for _ in range(3)]
    row.count(Stage.STORE, 1)
    assert [*found, narrowed_by_a_search(), narrowed_by_a_search()] == [4, 0, 0, 4, 0]


def test_one_that_cannot_be_told_from_another_one_is_never_to_blame() -> None:
    found = suspects(1)
    row = found._row
    batch = SourceBatch(topic="all", values=[object()])
    found.deal(batch)
    row.set(Word.SUSPECT_PLACE, row.get(Word.HAND_PLACE))
    row.set(Word.SUSPECT_LAST, row.get(Word.HAND_LAST))
    row.set(Word.LONE_DEATHS, DEATHS_MAX)
    assert found.refused(batch, skips=True) is None


def test_more_deaths_of_one_that_is_known_are_no_progress() -> None:
    narrowed = []
    bed = Bed(())
    for _ in range(DEATHS_MAX + 3):
        bed.row.set(Word.HAND_RECORDS, 1)
        bed.row.set(Word.ENDED_AS, Kind.CRASH)
        SourceSuspects(bed.row, bed.memory.stages([]))
        narrowed.append(bed.row.get(Word.NARROWED))
    assert narrowed == [1, 2, 3, 3, 3, 3]


@pytest.mark.parametrize("is_constant", [True, False])
def test_suspects_that_do_not_come_again_are_forgotten(is_constant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.task.suspects.RECORDS_MAX", 100)
    monkeypatch.setattr("engine.task.suspects.SEEN_MAX", 1000)
    found = suspects(5)
    batch = SourceBatch(topic="all", values=[b"1"], source_partition=SOURCE, source_offsets=[{"next": 1}])
    found.deal(batch)
    found._row.set(Word.SUSPECT_PLACE, found._row.get(Word.HAND_PLACE))
    found.passed(batch, 1, 0)
    for total in range(2, 1002):
        offset = {"next": 1 if is_constant else total}
        batch = SourceBatch(topic="all", values=[b"%d" % total], source_partition=SOURCE, source_offsets=[offset])
        assert found.part_records == (5 if is_constant or total < 103 else 0)
        found.deal(batch)
        found.passed(batch, total, 0)
        found.waits(0)
    assert not found.part_records


def envelope(clock: int, name: str) -> SourceBatch:
    value = {"after": {"name": name}, "op": "r", "ts_ms": clock, "source": {"ts_ms": clock, "table": "people"}}
    return SourceBatch(topic="all", values=[value], source_partition=SOURCE, source_offsets=[{"next": 0}])


def test_an_envelope_is_the_same_whenever_it_was_read() -> None:
    found = suspects(1)
    known = []
    for batch in (envelope(1, "one"), envelope(2, "one"), envelope(1, "two")):
        found.deal(batch)
        known.append((found._row.get(Word.HAND_PLACE), found._row.get(Word.HAND_LAST)))
        found.passed(batch, 0, 0)
    assert known[0] == known[1] != known[2]


def test_without_tolerance_it_is_named_and_nothing_is_stored_past_it() -> None:
    bed = Bed({13}, tolerant=False)
    bed.run()
    for _ in range(STEPS_MAX):
        if bed.banks.pump.is_over:
            break
        bed.clock.advance(0.01)
        bed.banks.task.step()
        bed.banks.pump.step()
    assert "could not be converted: 3 processes have died with this record alone in hand" in str(bed.failure)
    assert "{'source': 'numbers'} {'next': 14}" in str(bed.failure)
    assert bed.store.next == 13
    assert {int(value) for value in bed.kafka.values()} == set(range(13))
    deaths = bed.deaths
    bed.bury(Kind.RECORD)
    bed.run()
    assert "3 processes have died" in str(bed.failure)
    assert bed.deaths == deaths + 1


def test_when_all_records_kill_it_is_no_fault_of_records() -> None:
    bed = Bed(range(NUMBERS))
    bed.run()
    assert "3 processes have died" in str(bed.failure)
    assert len(bed.kafka.letters()) <= BLAMED_MAX


@pytest.mark.parametrize("kind", [Kind.OUTSIDE, Kind.ERROR, Kind.FENCED])
def test_another_end_makes_nobody_careful(kind: Kind) -> None:
    bed = Bed({13})
    while not bed.dies():
        pass
    bed.memory.deadly = ()
    bed.bury(kind)
    assert bed.row.get(Word.PART_RECORDS) == 0
    bed.run()
    bed.check([])


def test_one_that_was_in_hand_when_somebody_killed_its_process_goes_on() -> None:
    bed = Bed({13})
    while bed.row.get(Word.LONE_DEATHS) < DEATHS_MAX - 1:
        if bed.dies():
            bed.bury()
    bed.memory.deadly = set()
    bed.banks.task._stages.converters.value._deadly = set()  # type: ignore[attr-defined]  # it was made before
    bed.run()
    bed.check([])


def test_what_waits_for_a_converter_is_not_in_hand() -> None:
    bed = Bed((), tolerant=False)
    bed.memory.is_away = lambda: True
    bed.banks.start()
    for _ in range(10):
        bed.dies()
    assert bed.banks.task._waits_for_converter()
    assert bed.row.get(Word.HAND_RECORDS) == 0
    bed.banks.memory.aim(Target.STOP)


def suspects(part: int) -> SourceSuspects:
    bed = Bed(())
    bed.row.set(Word.PART_RECORDS, part)
    return SourceSuspects(bed.row, bed.memory.stages([]))


def test_nothing_is_taken_before_what_has_failed_is_stored() -> None:
    found = suspects(1)
    row = found._row
    batch = SourceBatch(topic="all", values=[b"1"], source_partition=SOURCE, source_offsets=[{"next": 1}])
    found.deal(batch)
    row.set(Word.SUSPECT_PLACE, row.get(Word.HAND_PLACE))
    row.set(Word.SUSPECT_LAST, row.get(Word.HAND_LAST))
    row.set(Word.LONE_DEATHS, DEATHS_MAX)
    assert found.refused(batch, skips=True) is not None
    found.passed(batch, 1, 0)
    assert found.waits(1)
    found.stored(1)
    assert not found.waits(1)


@pytest.mark.parametrize(
    ("offsets", "part", "sizes_and_told"),
    [
        ([1, 2, 3, 4, 5], 2, [(2, 2), (2, 4), (1, 5)]),
        ([1, 1, 2, 2, 3], 1, [(1, 0), (1, 1), (1, 0), (1, 2), (1, 3)]),
        ([1, 1, 2, 2, 3], 3, [(3, 1), (2, 3)]),
        ([1, 2, 1, 2, 3], 1, [(1, 0), (1, 0), (1, 1), (1, 2), (1, 3)]),
        ([1, 1, 1, 1], 2, [(2, 0), (2, 1)]),
        ([None, None, None], 1, [(1, 0), (1, 0), (1, 0)]),
        ([1, 2, 3], 7, [(3, 3)]),
    ],
)
@pytest.mark.parametrize("has_records", [True, False])
def test_an_offset_is_told_with_the_last_part_that_has_it(
    offsets: list[int | None], part: int, sizes_and_told: list[tuple[int, int]], has_records: bool
) -> None:
    places = [None if offset is None else {"next": offset} for offset in offsets]
    values = list(range(len(offsets)))
    schemas = [INT64 if value % 2 else None for value in values]
    batch = SourceBatch(
        topic="all", values=values, value_schemas=schemas, keys=values, source_partition=SOURCE, source_offsets=places
    )
    found_by = suspects(part)
    parts = found_by.split(list(batch.records()) if has_records else batch)
    told = [sum(json.loads(offset.offset)["next"] for offset in found_by.offsets(one)) for one in parts]
    assert [*zip(map(len, parts), told, strict=True)] == sizes_and_told
    records = [record for one in parts for record in (one.records() if isinstance(one, SourceBatch) else one)]
    found = [(record.value, record.value_schema, record.source_offset) for record in records]
    assert found == [*zip(values, schemas, places, strict=True)]
