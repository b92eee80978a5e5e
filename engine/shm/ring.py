"""One writer, one reader, one line of frames between two processes.

    writer's bank                              reader's bank
    write(frame) ──► bytes ──► tail ─────────► read() ──► frame
    room_bytes() ◄───────────── head ◄──────── release(frames)

Both cursors count bytes since the ring was made; they only grow, and each has one
writer. Invariant, checked on both banks: 0 <= tail - head <= capacity. A frame lies
in one piece: what is left at the end of the memory and too small for it is padded.

The reader may look at many frames before it releases the first: between head and the
reader's own position stand the frames in flight. A reader that is forked anew begins
at head, a writer at tail; so nothing that was published is lost with either.

Used by: engine.shm.channel; the task process and the pump stand on opposite banks.
Not here: what a frame means (frame.py), how long to wait (engine/bank.py), where the
bytes live (channel.py).
Source: cursor rules after LMAX Disruptor; framing after Agrona's one-to-one ring
(both Apache-2.0). Read for ideas, written anew.
"""

from __future__ import annotations

from collections import deque

from xxhash import xxh3_64_intdigest

from engine.shm import segment

__all__ = ["CorruptFrameError", "FrameTooLargeError", "RingReader", "RingWriter", "largest_frame_bytes", "ring_bytes"]

CONTROL_BYTES = 4096
HEADER_BYTES = 8
ALIGNMENT_BYTES = 8
#: A ring holds at least this many of its largest frames, so that both banks can work at once.
FRAMES_MIN = 4
# The cursors lie on cache lines of their own: each is stored by another process.
TAIL = 0
HEAD = 16
#: Set in a frame's header where the rest of the memory is padding.
PADDING_BIT = 1 << 63
#: Above a frame's size its header has 31 bits of the sum of its bytes, where they are checked: 0.001 us a record.
SUM_SHIFT = 32
SUM_MASK = (1 << 31) - 1
SIZE_MASK = (1 << SUM_SHIFT) - 1


class FrameTooLargeError(ValueError):
    """A frame that could never fit; waiting for room would be waiting for ever."""


class CorruptFrameError(RuntimeError):
    """A frame is not what was written."""


def ring_bytes(capacity_bytes: int) -> int:
    """Size of the shared memory for a ring of `capacity_bytes` (a multiple of 8)."""
    return CONTROL_BYTES + capacity_bytes


def largest_frame_bytes(capacity_bytes: int) -> int:
    """The largest frame, in bytes of payload, that a ring of `capacity_bytes` takes."""
    return capacity_bytes // FRAMES_MIN - HEADER_BYTES


def _span(frame_bytes: int) -> int:
    return HEADER_BYTES + (frame_bytes + ALIGNMENT_BYTES - 1 & -ALIGNMENT_BYTES)


class _Bank:
    """What both banks know of a ring's memory; neither is used but through its own class below."""

    def __init__(self, memory: memoryview) -> None:
        self._control = segment.words(memory[:CONTROL_BYTES])
        self._data = memory[CONTROL_BYTES:]
        self._headers = segment.words(self._data)
        self.capacity_bytes = len(self._data)
        self.frame_bytes_max = largest_frame_bytes(self.capacity_bytes)

    def used_bytes(self) -> int:
        """Bytes between head and tail now, padding included; 0 to capacity_bytes."""
        # Head first: it can only have grown since, so the difference is never negative.
        head = self._control[HEAD]
        used = self._control[TAIL] - head
        assert 0 <= used <= self.capacity_bytes, f"{used} of {self.capacity_bytes} bytes used"
        return used


class RingWriter(_Bank):
    """The writing bank; at most one process at a time has one."""

    def __init__(self, memory: memoryview, *, is_checked: bool = False) -> None:
        """is_checked: write the sum of each frame's bytes beside it; both banks do, or neither."""
        super().__init__(memory)
        self._is_checked = is_checked
        self._tail = self._control[TAIL]
        self._head_seen = self._control[HEAD]

    def write(self, frame: bytes | bytearray | memoryview) -> bool:
        """Append one frame; the reader sees all of it or none of it.

        frame: 1 to frame_bytes_max bytes; copied once.
        Returns False when the ring has no room now; the caller decides how to wait.
        Raises FrameTooLargeError for a frame that could never fit.
        """
        size = len(frame)
        if not 0 < size <= self.frame_bytes_max:
            raise FrameTooLargeError(f"a frame of {size} bytes; this ring takes 1 to {self.frame_bytes_max}")
        span = _span(size)
        tail = self._tail
        at = tail % self.capacity_bytes
        padding = self.capacity_bytes - at if at + span > self.capacity_bytes else 0
        needed = tail + padding + span - self.capacity_bytes
        if self._head_seen < needed:
            self._head_seen = self._control[HEAD]
            if self._head_seen < needed:
                return False
        if padding:
            self._headers[at // HEADER_BYTES] = PADDING_BIT | padding
            at = 0
        total = (xxh3_64_intdigest(frame) & SUM_MASK) << SUM_SHIFT if self._is_checked else 0
        self._headers[at // HEADER_BYTES] = total | size
        begin = at + HEADER_BYTES
        self._data[begin : begin + size] = frame
        self._tail = tail + padding + span
        self._control[TAIL] = self._tail  # published last: SYNC POINT with RingReader.read
        return True

    def has_room(self, frame_bytes: int) -> bool:
        """Whether a frame of `frame_bytes` fits now, wherever in the memory it would come to lie."""
        span = _span(frame_bytes)
        at = self._tail % self.capacity_bytes
        padding = self.capacity_bytes - at if at + span > self.capacity_bytes else 0
        self._head_seen = self._control[HEAD]
        return self._tail + padding + span - self._head_seen <= self.capacity_bytes

    def is_empty(self) -> bool:
        """Whether the reader has released all that was ever written."""
        return self._control[HEAD] == self._tail


class RingReader(_Bank):
    """The reading bank; at most one process at a time has one."""

    def __init__(self, memory: memoryview, *, is_checked: bool = False) -> None:
        """is_checked: as for the writer."""
        super().__init__(memory)
        self._is_checked = is_checked
        self._position = self._control[HEAD]
        self._in_flight: deque[int] = deque()  # position after each frame that was read and not released

    def read(self) -> memoryview | None:
        """The next frame, borrowed until it is released; None when there is none now. Raises CorruptFrameError."""
        tail = self._control[TAIL]  # SYNC POINT with RingWriter.write
        position = self._position
        assert position <= tail <= self._control[HEAD] + self.capacity_bytes, f"tail {tail}, position {position}"
        if position == tail:
            return None
        at = position % self.capacity_bytes
        header = self._headers[at // HEADER_BYTES]
        if header & PADDING_BIT:
            position += header & ~PADDING_BIT
            at = 0
            header = self._headers[0]
        size = header & SIZE_MASK
        self._position = position + _span(size)
        self._in_flight.append(self._position)
        begin = at + HEADER_BYTES
        frame = self._data[begin : begin + size]
        if self._is_checked and xxh3_64_intdigest(frame) & SUM_MASK != header >> SUM_SHIFT:
            raise CorruptFrameError(f"a frame of {size} bytes at byte {position} of a ring is not what was written")
        return frame

    def release(self, frames: int = 1) -> None:
        """Give the oldest `frames` frames that were read back to the writer; their memory is not to be read again."""
        for _ in range(frames):
            head = self._in_flight.popleft()
        if frames:
            self._control[HEAD] = head

    def rewind(self) -> None:
        """Read again from the oldest frame that is not released."""
        self._in_flight.clear()
        self._position = self._control[HEAD]

    def in_flight(self) -> int:
        """Frames that were read and not released."""
        return len(self._in_flight)

    def is_drained(self) -> bool:
        """Whether every frame published so far has been read (not: released)."""
        return self._position == self._control[TAIL]
