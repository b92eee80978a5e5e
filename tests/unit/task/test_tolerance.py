"""What may pass is tried again as Kafka Connect does it, and whoever wants to hear of a bad record hears of it."""

from __future__ import annotations

import logging
from random import Random

import pytest

from converters.byte_array import ByteArrayConverter
from converters.json import JsonConverter
from converters.simple_header import SimpleHeaderConverter
from engine.api.errors import ConnectError, DataError
from engine.config.line import DeadLetterSpec, Errors
from engine.shm.board import Word
from engine.stages.convert import Converters
from engine.stages.tolerate import AgainError, Manner
from engine.stages.transform import RecordError
from engine.stages.work import Stages
from engine.task.tolerance import Tolerance
from tests.harness.banks import LineMemory, VirtualClock, line_spec

BAD = RecordError(0, DataError("no"), stage="VALUE_CONVERTER", plugin=ByteArrayConverter)
AWAY = AgainError("away", 2)


class Bed:
    """A tolerance with its clock and row."""

    def __init__(self, errors: Errors, header: type = SimpleHeaderConverter) -> None:
        spec = line_spec("sink", connector="orders", errors=errors)
        self.memory = LineMemory(spec)
        self.row = self.memory.row
        self.clock = VirtualClock()
        stages = Stages((), Converters(ByteArrayConverter(), ByteArrayConverter(), header()))
        self.tolerance = Tolerance(spec, stages, self.row, self.clock, Random(1))

    def counts(self) -> dict[str, int]:
        words = (Word.FAILURES, Word.FAILED, Word.SKIPPED, Word.RETRIES, Word.ERRORS_LOGGED)
        return {word.name: self.row.get(word) for word in words if self.row.get(word)}


def test_pauses_double_from_300_ms_up_to_the_longest_which_is_then_a_matter_of_chance() -> None:
    bed = Bed(Errors(retry_ms=-1, retry_pause_ms_max=5_000))
    pauses = [bed.tolerance.pause(AWAY) for _ in range(40)]
    assert pauses[:5] == [0.3, 0.6, 1.2, 2.4, 4.8]
    assert all(pause is not None and 0 <= pause < 5.0 for pause in pauses[5:])
    assert len(set(pauses[5:])) > 30
    assert bed.counts() == {"FAILURES": 80, "RETRIES": 80}


def test_the_last_try_is_at_the_end_of_the_time_and_then_nothing_is_waited_for() -> None:
    bed = Bed(Errors(is_tolerant=True, retry_ms=1_000))
    patient = Manner(skips=True, converters_wait=True, transforms_wait=True)
    assert bed.tolerance.manner() == patient
    for expected in (0.3, 0.6, 0.1):
        pause = bed.tolerance.pause(AWAY)
        assert pause == pytest.approx(expected, abs=1e-4)
        assert bed.tolerance.manner() == patient
        bed.clock.advance(expected + 1e-6)
    assert bed.tolerance.manner() == Manner(skips=True, converters_wait=False)
    bed.tolerance.passed()
    assert bed.tolerance.manner() == patient


@pytest.mark.parametrize(
    ("errors", "manner"),
    [
        (Errors(), Manner()),
        (Errors(is_tolerant=True), Manner(skips=True, converters_wait=False)),
        (Errors(retry_ms=5), Manner(transforms_wait=True)),
    ],
    ids=["nothing is set", "tolerance", "time"],
)
def test_without_time_a_converter_is_waited_for_unless_its_records_are_to_be_skipped(
    errors: Errors, manner: Manner
) -> None:
    bed = Bed(errors)
    assert bed.tolerance.manner() == manner
    if not errors.retry_ms:
        assert bed.tolerance.pause(AWAY) is None  # as ever
        assert bed.counts() == {"FAILURES": 2}


def test_headers_are_read_at_once_where_they_can_fail_and_somebody_cares() -> None:
    dead = Errors(dead_letters=DeadLetterSpec("dead", 1, has_context=False, kafka={}))
    assert not Bed(dead).tolerance.manner().reads_headers
    assert Bed(dead, JsonConverter).tolerance.manner().reads_headers
    assert not Bed(Errors(), JsonConverter).tolerance.manner().reads_headers


def test_the_log_line_is_kafka_connects_with_the_record_only_if_that_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = "Error encountered in task orders-0. Executing stage 'VALUE_CONVERTER' with class "
    for with_record, told in ((False, "."), (True, ", where consumed record is {topic='t'}.")):
        caplog.clear()
        bed = Bed(Errors(is_tolerant=True, are_logged=True, logs_records=with_record))
        with caplog.at_level(logging.ERROR):
            bed.tolerance.report(BAD, lambda: ", where consumed record is {topic='t'}")
        (record,) = caplog.records
        assert record.getMessage() == f"{line}'converters.byte_array.ByteArrayConverter'{told}"
        assert record.exc_info is not None
        assert record.exc_info[1] is BAD.error
        assert bed.counts() == {"FAILURES": 1, "FAILED": 1, "SKIPPED": 1, "ERRORS_LOGGED": 1}
        assert bed.row.get(Word.LAST_ERROR_NS) == bed.clock.now_ns


def test_nobody_is_told_who_does_not_want_to_hear(caplog: pytest.LogCaptureFixture) -> None:
    bed = Bed(Errors())
    bed.tolerance.report(BAD, lambda: pytest.fail("the record was described"))
    assert caplog.records == []
    assert bed.counts() == {"FAILURES": 1, "FAILED": 1}


def test_what_a_connector_reports_is_an_error_where_nothing_is_tolerated() -> None:
    bed = Bed(Errors(are_logged=True))
    with pytest.raises(ConnectError, match="Tolerance exceeded in error handler: no"):
        bed.tolerance.reported(BAD, lambda: "")
    assert bed.counts() == {"FAILURES": 1, "FAILED": 1, "ERRORS_LOGGED": 1}
    bed = Bed(Errors(is_tolerant=True, are_logged=True))
    bed.tolerance.reported(BAD, lambda: "")
    bed.tolerance.reported(BAD, lambda: "", is_again=True)
    assert bed.counts() == {"FAILURES": 2, "SKIPPED": 1, "ERRORS_LOGGED": 2}
