"""Rows that the real server refuses cost themselves, and are told with all that mends them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from engine.api.column import MapColumn
from engine.api.errors import ConnectError, DataError, RetriableError
from tests.harness.postgres_bed import KEYED, Bed, batch, codes, reported

pytestmark = pytest.mark.postgres


GOOD = {"note": "fine", "count": 1, "day": "2024-01-31", "more": {}, "price": 1, "good": 1}
#: What is wrong with a record, words that its error must hold, and the server's code; none where it was not asked.
BAD: Sequence[tuple[dict[str, Any], Sequence[str], str]] = (
    (
        {"note": "too long"},
        ("table orders, column note: the record at orders-0@1: ", "character varying(5)", "longer"),
        "22001",
    ),
    ({"note": None}, ("column note", "default"), "23502"),
    ({"count": 40_000}, ("column count", "smallint (INT16)"), "22003"),
    ({"count": "many"}, ("column count", "convert it by a transform"), "22P02"),
    ({"day": "yesterday maybe"}, ("column day", "TimestampConverter"), "22007"),
    ({"more": "{"}, ("column more", "jsonb"), "22P02"),
    ({"price": -1}, ("orders_price_check",), "23514"),
    ({"good": 2}, ("orders_good_fkey", "refers to"), "23503"),
    ({"id": 0}, ("orders_pkey", "insert.mode=upsert"), "23505"),
    ({"id": None}, ("column id",), "23502"),
    ({"note": "a\0b"}, ("zero character",), "22021"),
    ({"note": "\ud800"}, ("surrogate",), ""),
    ({"more": {"a": "\0"}}, ("zero character",), "22P05"),
    ({"price": 1000}, ("column price",), "22003"),
)


def test_each_bad_record_is_told_with_table_column_place_and_what_to_do(bed: Bed) -> None:
    bed.sql("CREATE TABLE goods (id bigint PRIMARY KEY); INSERT INTO goods VALUES (1)")
    bed.sql(
        "CREATE TABLE orders (id bigint PRIMARY KEY, note varchar(5) NOT NULL, count smallint, day date, more jsonb, "
        "price numeric(4,2) CHECK (price > 0), good bigint REFERENCES goods DEFERRABLE INITIALLY DEFERRED)"
    )
    bad = [{**GOOD, "id": number, **change} for number, (change, _, _) in enumerate(BAD, 1)]
    last = len(BAD) + 1
    task = bed.task(hears=True)
    task.put(batch([{**GOOD, "id": 0}, *bad, {**GOOD, "id": last}]))
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (last,)]
    assert bed.stored() == last + 1
    told = reported(task)
    assert sorted(told) == [*range(1, last)]
    assert [(at, word) for at, (_, words, _) in enumerate(BAD, 1) for word in words if word not in told[at]] == []
    assert codes(task) == {at: code for at, (_, _, code) in enumerate(BAD, 1)}
    assert [text for text in told.values() if "many" in text or "yesterday" in text] == []


def test_a_record_is_reported_once_whatever_else_waits_for_the_commit(bed: Bed) -> None:
    bed.sql("CREATE TABLE goods (id bigint PRIMARY KEY); INSERT INTO goods VALUES (1)")
    bed.sql(
        "CREATE TABLE orders (id bigint, note varchar(5), good bigint REFERENCES goods DEFERRABLE INITIALLY DEFERRED)"
    )
    task = bed.task(hears=True)
    task.put(batch([{"id": 0, "note": "too long", "good": 1}, {"id": 1, "note": "", "good": 2}, {"id": 2, "good": 1}]))
    assert [*reported(task)] == [0, 1]
    assert bed.sql("SELECT id FROM orders") == [(2,)]


@pytest.mark.parametrize("keys", [{}, KEYED])
def test_a_column_that_was_altered_counts_before_a_record_is_blamed(bed: Bed, keys: dict[str, str]) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note varchar(3), more bytea)")
    task = bed.task(keys, hears=True)
    task.put(batch([{"id": 1, "note": "a", "more": b"b"}], [1]))
    bed.sql("ALTER TABLE orders ALTER note TYPE varchar(9), ALTER more TYPE jsonb USING NULL")
    task.put(batch([{"id": 2, "note": "longer", "more": b"a"}], [2], first_offset=1))
    assert reported(task) == {}
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "a", None), (2, "longer", "YQ==")]


def test_a_null_in_a_key_is_told_without_asking_the_server(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
    task = bed.task({**KEYED, "pk.mode": "record_value"}, hears=True)
    task.put(batch([{"id": 1, "note": "a"}, {"id": None, "note": "b"}]))
    assert reported(task) == {
        1: "connector orders: table orders, column id: the record at orders-0@1: null in a column of the key: "
        "expected a value; a row is told by it"
    }
    assert bed.sql("SELECT id FROM orders") == [(1,)]


def test_a_bad_version_of_a_row_leaves_the_good_one_before_it(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, note varchar(3))")
    task = bed.task(KEYED, hears=True)
    task.put(batch([{"note": "a"}, {"note": "b"}, {"note": "too long"}], [1, 2, 1]))
    assert bed.sql("SELECT * FROM orders ORDER BY id") == [(1, "a"), (2, "b")]
    assert [*reported(task)] == [2]


def test_one_bad_record_of_many_costs_few_calls(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint, note varchar(9))")
    task = bed.task(hears=True)
    count, bad = 3000, 1234
    values = MapColumn({"id": range(count), "note": ["x" * 10 if row == bad else "x" for row in range(count)]}, count)
    session = task._writer().session
    copy = session.copy
    copied: list[str] = []

    def counted(statement: str, blocks: Iterable[bytes]) -> int:
        copied.append(statement)
        return copy(statement, blocks)

    session.copy = counted  # type: ignore[method-assign]
    task.put(batch(values))
    assert [*reported(task)] == [bad]
    assert len(copied) <= 1 + math.ceil(math.log2(count)) + 1  # once more as it was, and these
    assert bed.sql("SELECT count(*), count(DISTINCT id) FROM orders") == [(count - 1, count - 1)]


def test_rows_that_cannot_be_written_as_text_are_found_in_each_part_of_a_batch(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint, note text)")
    task = bed.task(hears=True)
    count = 3000
    odd: dict[int, object] = {5: b"bytes", 1500: b"bytes", 2500: "half of a pair: \ud800"}
    values = MapColumn({"id": range(count), "note": [odd.get(row, "x") for row in range(count)]}, count)
    task.put(batch(values))
    assert sorted(reported(task)) == [*odd]
    assert bed.sql("SELECT count(*), count(DISTINCT id) FROM orders") == [(count - len(odd), count - len(odd))]


def test_without_somebody_to_hear_of_it_nothing_of_the_batch_is_written(bed: Bed) -> None:
    bed.sql("CREATE TABLE orders (id bigint)")
    task = bed.task()
    with pytest.raises(DataError, match=r"connector orders: table orders, column id: the record at orders-0@1: "):
        task.put(batch([{"id": 1}, {"id": "x"}, {"id": 2}]))
    assert bed.sql("SELECT * FROM orders") == []
    task.put(batch([{"id": 1}]))
    assert bed.stored() == 1


@pytest.mark.parametrize(
    ("made", "keys", "told"),
    [
        ("", {}, "table orders is not there"),
        ("CREATE TABLE orders (id bigint, note text)", KEYED, r"ALTER TABLE \"orders\" ADD PRIMARY KEY \(\"id\"\)"),
        ("CREATE TABLE orders (note text)", {}, "the table has no column id"),
        ("CREATE TABLE orders (note text)", {"auto.evolve": "true"}, "the table has no column id"),
    ],
)
def test_tables_that_do_not_fit_are_told(bed: Bed, made: str, keys: dict[str, str], told: str) -> None:
    bed.sql(made or "SELECT 1")
    with pytest.raises(ConnectError, match=told):
        bed.task(keys).put(batch([{"id": 1, "note": "a"}], [1]))


def test_a_row_whose_letter_was_late_is_not_written_once_what_it_refers_to_has_come(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.sql("CREATE TABLE goods (id bigint PRIMARY KEY); INSERT INTO goods VALUES (1)")
    bed.sql("CREATE TABLE orders (id bigint PRIMARY KEY, good bigint REFERENCES goods)")
    task = bed.task(hears=True)
    orders = batch([{"id": number, "good": 2 if number == 3 else 1} for number in range(5)])

    def is_late(timeout: float | None = None) -> None:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(task.context, "result", is_late)
        with pytest.raises(RetriableError, match="dead letters"):
            task.put(orders)
    bed.sql("INSERT INTO goods VALUES (2)")
    task.put(orders)
    assert bed.sql("SELECT id FROM orders ORDER BY id") == [(0,), (1,), (2,), (4,)]
    assert (bed.stored(), [*reported(task)]) == (5, [3])
