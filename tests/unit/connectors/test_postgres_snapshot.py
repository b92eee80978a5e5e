"""The ranges of a snapshot, and which connection reads which, whatever order they end in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import pytest

from connectors.postgres.session import PsycopgSession
from connectors.postgres.source import snapshot
from connectors.postgres.source.capturing import Origin
from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.snapshot import Place, Snapshot
from engine.api.batch import SourceBatch
from engine.api.testing import records_of

BEGINNING = Place("", 0)


class FakeStream:
    """A range: one row, the first of its pages, as soon as it is told."""

    socket = -1  # nobody waits here

    def __init__(self, statement: str) -> None:
        self.statement = statement
        self.start = int(found[1]) if (found := re.search(r"ctid >= '\((\d+),0\)'", statement)) else 0
        self.is_over = False
        self._rows: list[bytes] = []
        self._is_ending = False

    def tell(self) -> None:
        self._rows = [b"%d\n" % self.start]

    def end(self) -> None:
        self._is_ending = True

    def take_block(self, count: int, bytes_max: int, seconds: float) -> tuple[bytes, int]:
        taken = self._take(count, bytes_max, seconds)
        return b"".join(taken), len(taken)

    def _take(self, count: int, bytes_max: int, seconds: float) -> list[bytes]:
        rows, self._rows = self._rows, []
        self.is_over = self._is_ending
        return rows


class FakeSession:
    """A connection, which reads one range at a time."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._stream: FakeStream | None = None

    def run(self, statements: str) -> Sequence[int]:
        return [-1]

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return next(rows for word, rows in self._server.catalog.items() if word in statement)

    def stream(self, statement: str) -> FakeStream:
        assert self._stream is None or self._stream.is_over, "another command is already in progress"
        self._stream = FakeStream(statement)
        self._server.streams.append(self._stream)
        return self._stream

    def close(self) -> None:
        """There is nothing to give back."""


class FakeServer:
    """One table."""

    def __init__(self, pages: int, *, has_ranges: bool = True, is_leaf: bool = False) -> None:
        """has_ranges: whether it finds pages without reading the others. is_leaf: of a table with partitions."""
        self.streams: list[FakeStream] = []
        self.catalog: dict[str, list[tuple[Any, ...]]] = {
            "pg_publication_tables": [("public", "orders", None, None)],
            "pg_partition_tree": [("public", "orders")],
            "pg_relation_filenode": [(pages, 16385, True, False, has_ranges, is_leaf)],
            "pg_export_snapshot": [("00000003-1",)],
            "relreplident::text": [(16385, "d")],
            "attgenerated": [("id", True, 20, -1)],
            "WITH RECURSIVE base": [(0, "bigint")],
            "indisprimary": [("id", 20, -1, True, 1, False)],
        }

    def snapshot(self, threads: int = 1, place: Place = BEGINNING, skipped: str = "none") -> Snapshot:
        keys = {"connection.url": "postgresql://db/shop", "snapshot.max.threads": str(threads)}
        keys["skipped.operations"] = skipped
        settings = ChangesConfig.parse({**keys, "table.include.list": "public.orders"})
        return Snapshot(self._connect, settings, Origin("", "shop"), place)

    def _connect(self) -> PsycopgSession:
        return cast("PsycopgSession", FakeSession(self))


def taken(copied: Snapshot) -> SourceBatch | None:
    """What is there, without waiting."""
    return copied.take(10, 0, 0)


def test_a_connection_reads_one_range_at_a_time_though_ranges_end_before_those_ahead_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "RANGE_PAGES", 1)
    server = FakeServer(pages=9)
    copied = server.snapshot(threads=4)
    assert taken(copied) is None
    first, second, third, _ = streams = server.streams
    assert [stream.start for stream in streams] == [0, 1, 2, 3]
    starts: list[int] = []

    def tell(stream: FakeStream) -> None:
        stream.tell()
        starts.extend(record.key.id for record in records_of(taken(copied)))

    # The first and the third are over at once; the third, which is not first then, has its connection read the fifth.
    tell(first)
    tell(third)
    first.end()
    third.end()
    assert taken(copied) is None
    assert len(streams) == 5
    assert copied.place.page == 1
    # The third is over still, and gives nothing back.
    assert taken(copied) is None
    tell(second)
    second.end()
    assert taken(copied) is None
    assert copied.place.page == 3
    assert len(streams) == 7

    while not copied.is_over:
        for stream in [stream for stream in streams if not stream.is_over]:
            tell(stream)
            stream.end()
        taken(copied)
    assert sorted(starts) == [*range(9)]
    assert copied.place.page is None


def test_a_server_that_finds_no_pages_is_asked_for_a_table_as_a_whole() -> None:
    server = FakeServer(pages=10_000, has_ranges=False)
    copied = server.snapshot(threads=4)
    assert taken(copied) is None
    (only,) = server.streams
    assert "ctid" not in only.statement
    only.end()
    assert taken(copied) is None
    assert copied.is_over
    assert copied.place == Place("public.orders", None, 16385)


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_table_without_pages_is_not_asked_for(has_ranges: bool) -> None:
    server = FakeServer(pages=0, has_ranges=has_ranges)
    copied = server.snapshot()
    assert taken(copied) is None
    assert copied.is_over
    assert server.streams == []


@pytest.mark.parametrize(
    ("skipped", "is_leaf", "starts"),
    [
        ("none", False, [8192]),
        ("none", True, [8192]),
        ("d,t", True, [8192]),
        ("c", False, [8192]),
        ("c", True, [0, 4096, 8192]),
        ("u", False, [0, 4096, 8192]),
    ],
)
def test_what_was_begun_is_read_anew_where_nobody_tells_that_rows_have_moved(
    skipped: str, is_leaf: bool, starts: list[int]
) -> None:
    server = FakeServer(pages=10_000, is_leaf=is_leaf)
    copied = server.snapshot(threads=4, place=Place("public.orders", 8192, 16385), skipped=skipped)
    assert taken(copied) is None
    assert [stream.start for stream in server.streams] == starts


@pytest.mark.parametrize(("skipped", "is_leaf", "is_over"), [("u", True, True), ("c", False, True), ("c", True, False)])
def test_a_partition_that_was_read_is_read_anew_where_inserts_are_left_out(
    skipped: str, is_leaf: bool, is_over: bool
) -> None:
    server = FakeServer(pages=1, is_leaf=is_leaf)
    copied = server.snapshot(place=Place("public.orders", None, 16385), skipped=skipped)
    assert taken(copied) is None
    assert copied.is_over == is_over
