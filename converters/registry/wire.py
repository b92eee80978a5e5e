"""Magic byte and id before every payload.

    00 │ 00 00 00 07 │ body          the schema 7

Columns are grouped, so that everything of one schema is read or written together: usually that is all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from engine.api.errors import DataError

__all__ = ["HEADER_BYTES", "by_id", "header"]

HEADER_BYTES = 5
_ID_MAX = 2**32 - 1


def header(number: int) -> bytes:
    """What stands before each payload of the schema with this id."""
    if not 0 <= number <= _ID_MAX:
        raise DataError(f"the schema id {number} does not fit into the four bytes that it has")
    return b"\0" + number.to_bytes(4, "big")


def by_id(payloads: Sequence[bytes | None]) -> tuple[dict[int, list[int] | None], list[tuple[int, DataError]]]:
    """Where the payloads of each id are (None: everywhere), and what is wrong with those that have none.

    Nulls are in neither.
    """
    if isinstance(payloads, list) and payloads and None not in payloads:
        start = payloads[0][:HEADER_BYTES]
        # bench/micro/test_registry.py::registry_in: one look at all is a tenth of a look at each
        if len(start) == HEADER_BYTES and start[0] == 0 and all(map(bytes.startswith, payloads, repeat(start))):
            return {int.from_bytes(start[1:], "big"): None}, []
    groups: dict[int, list[int] | None] = {}
    bad = []
    for index, payload in enumerate(payloads):
        if payload is None:
            continue
        if len(payload) < HEADER_BYTES or payload[0] != 0:
            bad.append((index, _no_header(payload)))
            continue
        places = groups.setdefault(int.from_bytes(payload[1:HEADER_BYTES], "big"), [])
        assert places is not None
        places.append(index)
    return groups, bad


def _no_header(payload: bytes) -> DataError:
    if len(payload) < HEADER_BYTES:
        return DataError(f"{len(payload)} bytes: expected the magic byte 0 and a schema id of four bytes at least")
    return DataError(
        f"Unknown magic byte! The first byte is {payload[0]}, expected 0: this was not written with a schema registry"
    )
