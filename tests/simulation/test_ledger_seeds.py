"""The ledger adds up over all seeds, whoever dies, and knows what is repeated."""

from __future__ import annotations

from collections import Counter

import pytest

from engine.shm.ring import RingWriter
from tests.harness.banks import has_ledger
from tests.harness.fake_kafka import Unkindness
from tests.simulation import test_sink_line, test_source_line
from tests.simulation.seeds import seeds
from tests.simulation.test_ledger import RECORDS, Same, SinkRig, SourceRig, reported

pytestmark = pytest.mark.skipif(not has_ledger(), reason="MILLRACE_LEDGER=off")


@pytest.mark.parametrize("seed", seeds())
def test_a_sinks_ledger_adds_up_and_knows_what_was_put_again(seed: int) -> None:
    line = test_sink_line.Line(seed)
    line.run()
    told = reported(line.banks.memory).ledger
    assert told is not None
    assert (told.lost, told.doubled) == (0, 0)
    ours = len(line.outside.put) - line.others
    repeats = sum(count - 1 for count in Counter(line.outside.put).values())
    assert told.records_out + told.dropped + told.repeated >= ours
    if not line.others and not line.has_sought:
        assert told.records_in == told.records_out + told.dropped
        assert repeats <= told.repeated <= line.banks.row.may_be_repeated()


@pytest.mark.parametrize("seed", seeds())
def test_a_sources_ledger_adds_up_over_all_lives(seed: int) -> None:
    line = test_source_line.Line(seed)
    line.kafka.unkind = Unkindness(crash=line.rng.choice((0.0, 0.002, 0.01)), lose=line.rng.choice((0.0, 0.05)))
    line.run()
    if line.failure is not None:
        return  # told by test_source_line.py
    told = reported(line.banks.memory).ledger
    assert told is not None
    assert told.records_in == told.records_out + told.dropped
    assert (told.lost, told.doubled, told.left) == (0, 0, 0)
    # A kill after offsets were stored and before that is counted makes `repeated` of what was `in`.
    assert told.records_in <= line.total
    if not line.deaths:
        assert told.records_in == line.total
        assert told.dropped == len(line.dropped)


def test_a_rig_in_which_nothing_goes_wrong_is_done() -> None:
    for rig in (SinkRig([Same()]), SinkRig(), SourceRig([Same()]), SourceRig()):
        assert rig.run() is None
        told = reported(rig.banks.memory).ledger
        assert told is not None
        assert (told.records_in, told.records_out, told.lost) == (RECORDS, RECORDS, 0)


def test_a_frame_that_was_changed_in_the_ring_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = SourceRig()
    right = RingWriter.write

    def wrong(ring: RingWriter, frame: bytes) -> bool:
        done = right(ring, frame)
        ring._data[20] ^= 1
        return done

    monkeypatch.setattr(RingWriter, "write", wrong)
    failure = rig.run()
    assert "is not what was written" in str(failure)
    assert rig.stored == {}
