"""Messages of any size over a ring: what a task process deals to a stage process, and what comes back.

    ParcelWriter.put ──► head (number, records, bytes) │ piece │ piece ... ──► ParcelReader.get

A piece is a frame of the ring, so a message may be larger than the ring: its reader takes the pieces as they come.
Numbers are the sender's own; who reads knows which must come next, so nothing is lost, doubled or exchanged unseen.

Used by: engine.shm.channel, engine.task.crew.
Not here: what a message says (engine.stages.crossing), which ring is whose turn (engine.task.crew).
"""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

from engine.shm.ring import RingReader, RingWriter

__all__ = ["Parcel", "ParcelReader", "ParcelWriter"]

_HEAD = struct.Struct("<QQQ")


class Parcel(NamedTuple):
    """One message."""

    number: int
    records: int  # in the batch that it is about, as its sender counts them
    payload: memoryview  # borrowed until the reader's `release`


class ParcelWriter:
    """The sender's end of a ring."""

    def __init__(self, ring: RingWriter) -> None:
        self._ring = ring
        self._waiting: deque[bytes | memoryview] = deque()

    def put(self, number: int, records: int, payload: bytes | memoryview) -> None:
        """Send a message, as soon as there is room. payload: kept as it is until `flush` has returned True."""
        self._waiting.append(_HEAD.pack(number, records, len(payload)))
        size = self._ring.frame_bytes_max
        whole = memoryview(payload)
        self._waiting.extend(whole[at : at + size] for at in range(0, len(payload), size))

    def flush(self) -> bool:
        """Write what waits, as far as there is room; returns whether nothing waits any more."""
        while self._waiting and self._ring.write(self._waiting[0]):
            self._waiting.popleft()
        return not self._waiting


class ParcelReader:
    """The receiver's end of a ring."""

    def __init__(self, ring: RingReader) -> None:
        self._ring = ring
        self._head: tuple[int, int, int] | None = None
        self._pieces: bytearray | None = None  # of a message of several, as far as they have come
        self._parcel: Parcel | None = None  # that is all there
        self._borrowed = 0  # frames of the ring

    def get(self) -> Parcel | None:
        """The next message once all of it is there; it stays the next one until it is released."""
        if self._parcel is None:
            if self._head is None:
                raw = self._ring.read()
                if raw is None:
                    return None
                self._head = _HEAD.unpack(raw)
                self._ring.release()
            number, records, size = self._head
            payload = self._payload(size)
            if payload is not None:
                self._parcel = Parcel(number, records, payload)
        return self._parcel

    def release(self) -> None:
        """Give the last message's memory back to the sender."""
        self._head = self._pieces = self._parcel = None
        self._ring.release(self._borrowed)
        self._borrowed = 0

    def _payload(self, size: int) -> memoryview | None:
        """So many bytes, once they are there: of the ring itself, unless they are in several pieces."""
        if not size:
            return memoryview(b"")
        if size <= self._ring.frame_bytes_max:
            piece = self._ring.read()
            self._borrowed = int(piece is not None)
            return piece
        pieces = self._pieces = bytearray() if self._pieces is None else self._pieces
        while len(pieces) < size:
            piece = self._ring.read()
            if piece is None:
                return None
            pieces += piece
            self._ring.release()
        return memoryview(pieces)
