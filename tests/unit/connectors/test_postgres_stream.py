"""What a slot tells is read many messages at a time exactly as it is read one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.source.capturing import Captured, Origin
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.gathering import Gathered
from connectors.postgres.source.pgoutput import (
    NULL,
    UNCHANGED,
    RelationColumn,
    RelationMessage,
    Row,
    read_row,
    read_update,
)
from connectors.postgres.source.positions import Identity
from connectors.postgres.source.relations import Column
from connectors.postgres.source.replication import AT
from connectors.postgres.source.transactions import Mark, Progress, kinds_of
from connectors.postgres.source.tuples import read_rows, read_updates
from connectors.postgres.source.values import reading_of
from engine.api.record import SourceRecord
from engine.api.testing import records_of
from tests.harness.pgoutput import begin, commit, delete, insert, update

ROW_AT = AT + 6
#: What looks like the beginning of a text or row, and no zero character, which PostgreSQL does not take.
TEXTS = st.one_of(
    st.binary(max_size=8).map(lambda text: text.replace(b"\0", b"t")),
    st.sampled_from([b"", b"t", b"n", b"u", b"N", b"tt", b"x" * 0x74, b"x" * 256, b"t" * 0x7400, b"x" * 0x7474]),
)
CELLS = st.one_of(TEXTS, st.sampled_from([NULL, UNCHANGED]))


def rows_of(width: int) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6)


WIDE = st.sampled_from([0, 1, 2, 7, 0x74, 127, 128, 300]).flatmap(rows_of)
Rows = Sequence[Row]


@given(WIDE)
def test_rows_are_read_as_they_were_written(rows: Rows) -> None:
    messages = [insert(5, one) for one in rows]
    assert [*map(list, read_rows(messages, ROW_AT))] == [*rows]
    assert [read_row(message, ROW_AT)[0] for message in messages] == [*rows]


@given(WIDE)
def test_updates_are_read_as_they_were_written(rows: Rows) -> None:
    pairs = [*zip(rows, reversed(rows), strict=True)]
    messages = [update(5, new, old) for old, new in pairs]
    assert [(list(old), list(new)) for old, new in read_updates(messages, ROW_AT)] == pairs
    assert [read_update(message, ROW_AT) for message in messages] == pairs


@pytest.mark.parametrize("size", [0xFFFF, 0x10000, 0x740000, 0x740001])
def test_large_texts_are_read_as_they_were_written(size: int) -> None:
    """Of some of these the length has the bytes with which a text begins."""
    one: Row = [b"x" * size, NULL, b"\x07"]
    rows = read_rows([insert(5, one), insert(5, [b"", b"1", b"2"])], ROW_AT)
    assert [*map(list, rows)] == [one, [b"", b"1", b"2"]]
    assert [(list(old), list(new)) for old, new in read_updates([update(5, one, one)], ROW_AT)] == [(one, one)]


TRANSACTIONS = st.lists(st.integers(min_value=0, max_value=4), min_size=1, max_size=5)


def stream_of(counts: Sequence[int]) -> list[bytes]:
    told = []
    for number, count in enumerate(counts, 1):
        changes = [insert(5, [b"1"]), update(6, [b"2"], [b"1"]), delete(5, [b"1"]), insert(6, [b"3"])][:count]
        told += [begin(100 * number), *changes, commit(100 * number, 100 * number + 8)]
    return told


@given(TRANSACTIONS, st.data())
def test_a_stream_is_gone_through_in_one_go_as_message_by_message(counts: Sequence[int], data: st.DataObject) -> None:
    stream = stream_of(counts)
    ends = data.draw(st.lists(st.integers(0, len(stream)), max_size=4).map(sorted))
    one, other = Progress(Mark(50, 0, 0)), Progress(Mark(50, 0, 0))
    at = 0
    for end in [*ends, len(stream)]:
        messages = stream[at:end]
        assert one.jump(messages, kinds_of(messages)) == [*other.steps(messages)]
        assert one.mark == other.mark
        at = end
    assert one.mark == Mark(100 * len(counts) + 8, 0, 0)


def test_what_was_given_before_is_left_out_when_a_transaction_is_told_again() -> None:
    progress = Progress(Mark(50, 200, 3))
    stream = stream_of([2, 4, 1])
    assert [*progress.steps(stream[:4])] == stream[1:3]
    assert progress.is_repeating
    assert [*progress.steps(stream[4:10])] == [stream[8]]
    assert progress.mark == Mark(208, 0, 0)
    assert not progress.is_repeating
    assert progress.moment.lsn == 200
    assert progress.jump(stream[10:], kinds_of(stream[10:])) == [stream[11]]


@given(TRANSACTIONS, st.data())
def test_what_was_given_before_is_left_out_however_the_stream_is_cut(
    counts: Sequence[int], data: st.DataObject
) -> None:
    stream = stream_of(counts)
    whole = [*Progress(Mark(50, 0, 0)).steps(stream)]
    number = data.draw(st.integers(1, len(counts)))
    done = data.draw(st.integers(0, counts[number - 1]))
    given_before = sum(counts[: number - 1]) + done
    boundary = 100 * (number - 1) + 8 if number > 1 else 50
    progress = Progress(Mark(boundary, 100 * number if done else 0, done))
    stream = [message for at, message in enumerate(stream) if at >= sum(counts[: number - 1]) + 2 * (number - 1)]
    cut = data.draw(st.integers(0, len(stream)))
    found = [progress.jump(part, kinds_of(part)) for part in (stream[:cut], stream[cut:])]
    assert [*found[0], *found[1]] == whole[given_before:]


COLUMNS = [Column("id", "text", reading_of("text"), key_place=1), Column("note", "text", reading_of("text"))]
RELATION = RelationMessage(
    5, "public", "a", "d", (RelationColumn("id", True, 25, -1), RelationColumn("note", False, 25, -1))
)
IDENTITY = Identity("7412", 1)
CHANGES = st.lists(
    st.sampled_from(
        [
            insert(5, [b"1", b"one"]),
            insert(5, [b"2", NULL]),
            update(5, [b"1", b"uno"]),
            update(5, [b"3", UNCHANGED], [b"1", NULL], b"K"),
            update(5, [b"1", UNCHANGED], [b"1", b"one"], b"O"),
            delete(5, [b"1", NULL], b"K"),
            insert(6, [b"of another table"]),
        ]
    ),
    max_size=8,
)
SETTINGS: list[dict[str, str]] = [
    {},
    {"record.format": "envelope"},
    {"record.format": "envelope", "tombstones.on.delete": "false"},
    {"skipped.operations": "u"},
    {"skipped.operations": "c,d", "record.format": "envelope"},
]


def gathered(
    messages: Sequence[bytes], table: Captured, progress: Progress, settings: ChangesConfig
) -> list[SourceRecord]:
    """What one poll gives of these messages."""
    poll = Gathered(0, progress)
    poll.hear(messages)
    before = IDENTITY.position_of(progress.mark)
    tables = {5: table, 6: None}
    if settings.is_envelope:
        pairs = [(message, progress.moment) for message in progress.steps(messages)]
        poll.add(tables, [message for message, _ in pairs], [moment for _, moment in pairs])
    else:
        poll.add(tables, progress.jump(messages, kinds_of(messages)), ())
    return records_of(poll.polled({}, before, progress.mark, IDENTITY))


@pytest.mark.parametrize("keys", SETTINGS)
@given(st.lists(CHANGES, max_size=3))
def test_a_poll_of_many_messages_gives_the_records_and_offsets_of_many_polls(
    keys: dict[str, str], transactions: Sequence[Sequence[bytes]]
) -> None:
    given_keys = {"connection.url": "postgresql://db/shop", "table.include.list": "public.a"}
    settings = ChangesConfig.parse({**given_keys, **keys})
    table = Captured(RELATION, COLUMNS, settings, Origin("", "shop"))
    stream = [
        message
        for number, changes in enumerate(transactions, 1)
        for message in [begin(100 * number), *changes, commit(100 * number, 100 * number + 8)]
    ]
    at_once = gathered(stream, table, Progress(Mark(50, 0, 0)), settings)
    progress = Progress(Mark(50, 0, 0))
    polls = [gathered([message], table, progress, settings) for message in stream]
    one_by_one = [record for poll in polls for record in poll]
    told = [(one.topic, one.key, one.value, one.key_schema, one.value_schema) for one in at_once]
    assert told == [(one.topic, one.key, one.value, one.key_schema, one.value_schema) for one in one_by_one]
    # The last record of each change says where to go on behind it; the last of all, behind all that was heard.
    ends = [sum(map(len, polls[: at + 1])) - 1 for at, poll in enumerate(polls) if poll]
    for end in ends[:-1]:
        assert at_once[end].source_offset == one_by_one[end].source_offset
    if ends:
        assert at_once[-1].source_offset == IDENTITY.position_of(progress.mark)
    # Others go on behind the record before.
    for at in {*range(len(at_once))} - {*ends}:
        expected = at_once[at - 1].source_offset if at else IDENTITY.position_of(Mark(50, 0, 0))
        assert at_once[at].source_offset == expected
