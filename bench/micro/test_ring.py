"""How long a record takes across the ring, in frames of a thousand, a hundred and ten records."""

from __future__ import annotations

from typing import Any

import pytest

from engine.shm import ring

CAPACITY_BYTES = 8 << 20
RECORD_BYTES = 100
RECORDS = 2_000


@pytest.mark.parametrize("records_a_frame", [1_000, 100, 10])
def test_write_read_release(measure: Any, records_a_frame: int) -> None:
    memory = memoryview(bytearray(ring.ring_bytes(CAPACITY_BYTES)))
    writer, reader = ring.RingWriter(memory), ring.RingReader(memory)
    frame = b"x" * (records_a_frame * RECORD_BYTES)

    def batch() -> None:
        for _ in range(RECORDS // records_a_frame):
            assert writer.write(frame)
            assert reader.read() is not None
            reader.release()

    measure(batch)
