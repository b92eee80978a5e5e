"""Between two real processes the ring loses, repeats, mixes and tears nothing, and no bell is missed.

    this process                         a forked child
    frames(seed) ──► write, ring ──────► read, hold a group, compare each byte, release, ring back

Both make the same frames from the same seed. Frames are compared when they are released, not when they are read, so
what the writer puts over a frame in flight is seen. Waits have no short end: a bell that is missed is a failure.
"""

from __future__ import annotations

import os
import random
import signal
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from engine.exits import ExitCode
from engine.shm import segment
from engine.shm.channel import Channel, PumpSide, TaskSide
from engine.shm.ring import RingReader, largest_frame_bytes
from engine.supervisor.fork import Child, Say, fork
from tests.harness import wait

pytestmark = pytest.mark.slow

DATA_BYTES = 32 * 1024
LARGEST_BYTES = largest_frame_bytes(DATA_BYTES)
FRAMES = 6_000
GROUP_FRAMES_MAX = 7
#: Frames of one phase; the phases are: both fast, a slow writer, both fast, a slow reader.
PHASE_FRAMES = 250
SLOW_WRITER, SLOW_READER = 1, 3
PAUSE_S = 0.000_1
BELL_S = 10.0
END_S = 30.0
LIVES = 6
#: What a run must have seen to tell anything: the memory written over so often, and either side asleep so often.
LAPS_MIN = 250
WAITS_MIN = 10
#: Words that a reader leaves for the next one.
COMPARED, RELEASED = 0, 1


def frames(seed: int) -> Iterator[bytes]:
    """Numbered and checksummed, as far as there is room: a frame begins with the lowest byte of its number."""
    rng = random.Random(seed)
    noise = rng.randbytes(2 * LARGEST_BYTES)
    for number in range(FRAMES):
        size = rng.choice([1, 8, 9, 200, LARGEST_BYTES, rng.randint(1, 64), rng.randint(1, LARGEST_BYTES)])
        at = rng.randrange(LARGEST_BYTES)
        body = number.to_bytes(4, "little") + noise[at : at + size]
        yield (body[: size - 4] + zlib.crc32(body[: size - 4]).to_bytes(4, "little")) if size > 8 else body[:size]


def phase(number: int) -> int:
    return number // PHASE_FRAMES % 4


class Reader:
    """The child's bank: compares what it reads with what it makes, from the frame `number` on."""

    def __init__(self, seed: int, channel: Channel, words: segment.Words) -> None:
        self.side = PumpSide(channel)
        self.ring: RingReader = self.side.data_reader()
        self._words = words
        self._expected = frames(seed)
        self._rng = random.Random(seed + 1)
        self._held: deque[memoryview] = deque()
        self.number = 0  # of the next frame to be released
        self.waits = 0

    def skip_to(self, number: int) -> None:
        """Begin at a later frame."""
        for _ in range(number - self.number):
            next(self._expected)
        self.number = number

    def read_to_end(self) -> None:
        """Read, compare and release all that is still to come."""
        group = 1
        while self.number < FRAMES:
            frame = self.ring.read()
            if frame is not None:
                self._held.append(frame)
            if self._held and (frame is None or len(self._held) >= group):
                self._release()
                group = self._rng.randint(1, GROUP_FRAMES_MAX)
            elif frame is None:
                self.waits += 1
                assert self.side.bell.wait(BELL_S), f"no bell for the reader at frame {self.number}"

    def _release(self) -> None:
        if phase(self.number) == SLOW_READER:
            time.sleep(PAUSE_S * len(self._held))  # how slow it is, is what is tested
        count = len(self._held)
        while self._held:
            expected = next(self._expected)
            assert self._held.popleft() == expected, f"frame {self.number} of {len(expected)} bytes is another"
            self.number += 1
        self._words[COMPARED] = self.number
        self.ring.release(count)
        self._words[RELEASED] = self.number
        self.side.task_bell.ring()


class Writer:
    """This process's bank."""

    def __init__(self, seed: int, channel: Channel, is_alive: Callable[[], bool]) -> None:
        self.side = TaskSide(channel)
        self.ring = self.side.data_writer()
        self._frames = frames(seed)
        self._is_alive = is_alive
        self.number = 0
        self.bytes = 0
        self.waits = 0

    def write(self, count: int) -> None:
        """Write the next frames."""
        for _ in range(count):
            frame = next(self._frames)
            while not self.ring.write(frame):
                self.waits += 1
                assert self._is_alive(), f"the reader has ended at frame {self.number}"
                assert self.side.bell.wait(BELL_S), f"no bell for the writer at frame {self.number}"
            self.side.pump_bell.ring()
            self.number += 1
            self.bytes += len(frame)
            if phase(self.number) == SLOW_WRITER:
                time.sleep(PAUSE_S)


class Readers:
    """The child over one channel, and those that come after it; what one leaves is seen by the next."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.channel = Channel.create("stress", DATA_BYTES)
        self._memory = segment.create("words", 4096)
        self.words = segment.words(memoryview(segment.map_shared(self._memory)))
        self._child: Child | None = None

    def start(self) -> None:
        """Fork one that begins where the ring's head is."""

        def main(say: Say) -> int:
            reader = Reader(self._seed, self.channel, self.words)
            reader.skip_to(self._first(reader.ring))
            reader.read_to_end()
            assert reader.ring.is_drained()
            say(f"{reader.waits}")
            return ExitCode.OK

        self._child = fork("reader", main, (*self.channel.descriptors(), self._memory))

    def is_alive(self) -> bool:
        """Whether it has not ended; it is not reaped by this."""
        assert self._child is not None
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def kill(self) -> None:
        """End it at once."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGKILL)
        assert self.ended()[0] == -signal.SIGKILL

    def ended(self) -> tuple[int, str]:
        """Its exit code and last words, once it has ended."""
        assert self._child is not None
        child = self._child
        wait.until(lambda: not self.is_alive(), "end of the reader", timeout_s=END_S)
        _, status = os.waitpid(child.pid, 0)
        self._child = None
        return os.waitstatus_to_exitcode(status), child.last_words()

    def close(self) -> None:
        """End all, give all back."""
        if self._child is not None:
            if self.is_alive():
                os.kill(self._child.pid, signal.SIGKILL)
            self.ended()
        self.channel.close()
        os.close(self._memory)

    def _first(self, ring: RingReader) -> int:
        """The number of the frame at head: the last reader may have died before it wrote down that it released."""
        candidates = {self.words[RELEASED], self.words[COMPARED]}
        frame = ring.read()
        ring.rewind()
        if frame is None:
            return max(candidates)
        (first,) = [number for number in candidates if number % 256 == frame[0]]
        return first


@pytest.fixture(params=[1, 2])
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def readers(seed: int) -> Iterator[Readers]:
    made = Readers(seed)
    yield made
    made.close()


def test_millions_of_bytes_arrive_as_they_were_sent(seed: int, readers: Readers) -> None:
    readers.start()
    writer = Writer(seed, readers.channel, readers.is_alive)
    writer.write(FRAMES)
    code, words = readers.ended()
    assert code == ExitCode.OK, f"seed {seed}: {words}"
    assert writer.ring.is_empty()
    assert writer.bytes > LAPS_MIN * DATA_BYTES
    assert writer.waits > WAITS_MIN
    assert int(words) > WAITS_MIN


def test_a_reader_that_is_killed_is_followed_by_one_that_goes_on_at_head(seed: int, readers: Readers) -> None:
    rng = random.Random(seed)
    readers.start()
    writer = Writer(seed, readers.channel, readers.is_alive)
    unread = 0
    for life in range(1, LIVES):
        writer.write(life * FRAMES // LIVES - writer.number - rng.randrange(PHASE_FRAMES))
        readers.kill()
        unread += writer.ring.used_bytes()
        readers.start()
    writer.write(FRAMES - writer.number)
    code, words = readers.ended()
    assert code == ExitCode.OK, f"seed {seed}: {words}"
    assert writer.ring.is_empty()
    assert readers.words[RELEASED] == FRAMES
    assert unread, "no reader was killed with frames before it"
