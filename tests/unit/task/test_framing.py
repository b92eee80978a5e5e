"""Records that no frame takes are left out of what is framed, and are told."""

from __future__ import annotations

from engine.api.errors import DataError, RecordTooLargeError
from engine.shm.channel import Channel, TaskSide
from engine.stages.convert import EncodedColumns
from engine.stages.transform import RecordError
from engine.stages.work import Converted, Outbound
from engine.task.framing import Framing
from engine.task.outbox import Outbox

RECORD_MAX = 100


def framing() -> Framing:
    side = TaskSide(Channel.create("framing", 256 * 1024, 0))
    return Framing(Outbox(side.data_writer(is_checked=False), side.pump_bell), 64 * 1024, RECORD_MAX, 0, None)


def outbound(columns: EncodedColumns, expected: int) -> Outbound:
    batch = Converted("t", 0, expected, columns, None, [*range(len(columns.values))])
    return Outbound(expected, range(expected), None, expected, [batch])


def test_what_is_too_large_is_left_out_with_its_key_and_timestamp() -> None:
    values = [b"a", b"b" * (RECORD_MAX - 1), None, b"c" * RECORD_MAX]
    columns = EncodedColumns(values, [b"1", b"2", b"3", b"4"], [[], [], [("h", b"x" * RECORD_MAX)], []], None)
    (batch,) = framing().fitting(outbound(columns, 4)).batches
    assert batch.columns.values == [b"a", b"b" * (RECORD_MAX - 1)]
    assert batch.columns.keys == [b"1", b"2"]
    assert batch.columns.headers == [[], []]
    assert batch.timestamps == [0, 1]
    assert [(one.index, type(one.error), one.stage) for one in batch.columns.skipped] == [
        (2, RecordTooLargeError, "KAFKA_PRODUCE"),
        (3, RecordTooLargeError, "KAFKA_PRODUCE"),
    ]
    assert "a record of 101 bytes for topic t" in str(batch.columns.skipped[1].error)


def test_places_are_those_before_others_were_skipped() -> None:
    skipped = [RecordError(0, DataError("bad")), RecordError(2, DataError("bad"))]
    columns = EncodedColumns([b"a", b"c" * 200, b"d"], None, None, None, skipped)
    (batch,) = framing().fitting(outbound(columns, 5)).batches
    assert batch.columns.values == [b"a", b"d"]
    assert [one.index for one in batch.columns.skipped] == [0, 2, 3]


def test_a_batch_that_fits_stays_as_it_is() -> None:
    done = outbound(EncodedColumns([b"a", None], None, None, None), 2)
    assert framing().fitting(done).batches[0] is done.batches[0]
