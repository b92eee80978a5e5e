"""The ring at its edges: full to the last word, coming round, and read anew from what is not released."""

from __future__ import annotations

from engine.shm import ring

CAPACITY_BYTES = 512
#: Eight bytes less than a ring takes at most, so that four of them leave room for a small one.
FRAME = b"x" * (ring.largest_frame_bytes(CAPACITY_BYTES) - 8)
SPAN = len(FRAME) + ring.HEADER_BYTES


def fresh() -> tuple[ring.RingWriter, ring.RingReader, memoryview]:
    memory = memoryview(bytearray(ring.ring_bytes(CAPACITY_BYTES)))
    return ring.RingWriter(memory), ring.RingReader(memory), memory


def test_a_frame_that_lacks_one_word_of_room_is_not_written() -> None:
    writer, reader, _ = fresh()
    while writer.write(FRAME):
        pass
    assert writer.write(b"y" * (CAPACITY_BYTES - writer.used_bytes() - ring.HEADER_BYTES))
    assert writer.used_bytes() == CAPACITY_BYTES
    assert bytes(reader.read() or b"") == FRAME
    reader.release()  # as much room as one of these takes
    assert not writer.write(FRAME + b"and one more word"[:8])
    assert writer.write(FRAME)
    assert writer.used_bytes() == CAPACITY_BYTES


def test_frames_stay_what_they_are_lap_after_lap() -> None:
    writer, reader, _ = fresh()
    for lap in range(20):
        frame = bytes([lap]) * (len(FRAME) - lap)
        assert writer.write(frame)
        assert bytes(reader.read() or b"") == frame
        reader.release()
    assert writer.is_empty()


def test_a_new_reader_begins_with_what_is_not_released() -> None:
    writer, reader, memory = fresh()
    for value in (b"1", b"2", b"3"):
        writer.write(value)
    reader.read()
    reader.release()
    reader.read()
    again = ring.RingReader(memory)
    assert [again.read(), again.read(), again.read()] == [b"2", b"3", None]
