"""The ring behaves like a bounded queue of bytes, whatever the order of calls and whoever is forked anew."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.shm import ring

CAPACITY_BYTES = 512


class RingIsAQueue(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.memory = memoryview(bytearray(ring.ring_bytes(CAPACITY_BYTES)))
        self.writer = ring.RingWriter(self.memory)
        self.reader = ring.RingReader(self.memory)
        self.unread: deque[bytes] = deque()
        self.unreleased: deque[bytes] = deque()

    # By size, not as `st.binary`, whose examples are mostly small: the ring must come round, and be full to the word.
    @rule(size=st.integers(1, ring.largest_frame_bytes(CAPACITY_BYTES)), fill=st.binary(min_size=1, max_size=1))
    def write(self, size: int, fill: bytes) -> None:
        frame = fill * size
        had_room = self.writer.has_room(len(frame))
        assert self.writer.write(frame) is had_room
        if had_room:
            self.unread.append(frame)

    @rule()
    def read(self) -> None:
        frame = self.reader.read()
        if self.unread:
            assert frame is not None
            assert bytes(frame) == self.unread[0]
            self.unreleased.append(self.unread.popleft())
        else:
            assert frame is None

    @precondition(lambda self: self.unreleased)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        frames = data.draw(st.integers(1, len(self.unreleased)))
        self.reader.release(frames)
        for _ in range(frames):
            self.unreleased.popleft()

    @rule()
    def reader_is_forked_anew(self) -> None:
        self.reader = ring.RingReader(self.memory)
        self.unread.extendleft(reversed(self.unreleased))
        self.unreleased.clear()

    @rule()
    def writer_is_forked_anew(self) -> None:
        self.writer = ring.RingWriter(self.memory)

    @invariant()
    def an_empty_ring_always_takes_the_largest_frame(self) -> None:
        if not self.unread and not self.unreleased:
            assert self.writer.is_empty()
            assert self.writer.has_room(self.writer.frame_bytes_max)

    @invariant()
    def used_bytes_stay_within_capacity(self) -> None:
        assert self.writer.used_bytes() == self.reader.used_bytes()
        assert sum(map(len, self.unread)) + sum(map(len, self.unreleased)) <= self.reader.used_bytes()


TestRingIsAQueue = RingIsAQueue.TestCase
TestRingIsAQueue.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize("size", [0, ring.largest_frame_bytes(CAPACITY_BYTES) + 1])
def test_a_frame_that_never_fits_is_an_error_not_a_wait(size: int) -> None:
    writer = ring.RingWriter(memoryview(bytearray(ring.ring_bytes(CAPACITY_BYTES))))
    with pytest.raises(ring.FrameTooLargeError, match=f"{size} bytes"):
        writer.write(bytes(size))
