"""Messages of any size cross a ring whole and in order, however little room there is."""

from __future__ import annotations

import random

import pytest

from engine.shm import ring
from engine.shm.parcels import ParcelReader, ParcelWriter


def ends(capacity_bytes: int) -> tuple[ParcelWriter, ParcelReader]:
    memory = memoryview(bytearray(ring.ring_bytes(capacity_bytes)))
    return (
        ParcelWriter(ring.RingWriter(memory, is_checked=True)),
        ParcelReader(ring.RingReader(memory, is_checked=True)),
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_is_put_is_got_whatever_its_size(seed: int) -> None:
    rng = random.Random(seed)
    writer, reader = ends(4096)
    sizes = [rng.choice((0, 1, 100, 1015, 1016, 1017, 5000, 20_000)) for _ in range(60)]
    sent = [rng.randbytes(size) for size in sizes]
    got: list[tuple[int, int, bytes]] = []
    waiting = list(enumerate(sent))
    while len(got) < len(sent):
        if waiting and rng.random() < 0.5:
            number, payload = waiting.pop(0)
            writer.put(number, len(payload), payload)
        writer.flush()
        if rng.random() < 0.7 and (parcel := reader.get()) is not None:
            assert reader.get() is not None  # the same one, until it is released
            got.append((parcel.number, parcel.records, bytes(parcel.payload)))
            del parcel
            reader.release()
    assert got == [(number, len(payload), payload) for number, payload in enumerate(sent)]
    assert writer.flush()


def test_who_writes_a_message_larger_than_the_ring_goes_on_when_it_is_read() -> None:
    writer, reader = ends(4096)
    writer.put(7, 1, b"x" * 10_000)
    assert not writer.flush()
    assert reader.get() is None
    while not writer.flush():
        assert (parcel := reader.get()) is None or len(parcel.payload) == 10_000
    parcel = reader.get()
    assert parcel is not None
    assert (parcel.number, bytes(parcel.payload)) == (7, b"x" * 10_000)


def test_memory_of_a_small_message_is_borrowed_until_it_is_released() -> None:
    writer, reader = ends(4096)
    for number in range(8):
        writer.put(number, 1, bytes([number]) * 900)
    assert not writer.flush()
    first = reader.get()
    assert first is not None
    before = bytes(first.payload)
    writer.flush()
    assert bytes(first.payload) == before == bytes(900)
    del first
    reader.release()
    writer.flush()
    second = reader.get()
    assert second is not None
    assert second.payload[0] == 1
