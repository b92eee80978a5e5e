"""A ledger is content where nothing goes wrong, and a frame that was changed in the ring is not taken.

That it adds up over all seeds is claimed where the lines are (sink_world.py, source_world.py).
"""

from __future__ import annotations

import pytest

from engine.shm.ring import RingWriter
from tests.harness.banks import has_ledger
from tests.simulation.accounts import reported
from tests.simulation.test_ledger import RECORDS, Same, SinkRig, SourceRig

pytestmark = pytest.mark.skipif(not has_ledger(), reason="MILLRACE_LEDGER=off")


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
