"""How far a side is whose records go nowhere: 16 bytes of a file say how many it has had and the sum of their ids.

    NullSink ──► Tally.add(2000, ...) ──► file ──► read_tally, from outside

Both sides of a line write it, once a batch, so both pay the same for being looked at; and a record that came twice or
never is in the sum.

Used by: registry.py, loop.py.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from connectors.null import NullSinkConfig, NullSinkConnector, NullSinkTask
from engine.api.batch import SinkBatch

__all__ = ["Tally", "TallySinkConfig", "TallySinkConnector", "TallySinkTask", "read_tally"]

_FORM = struct.Struct("<QQ")
_id_of = attrgetter("id")


class Tally:
    """One side's, in a new file."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC)
        self._records = self._ids = 0

    def add(self, records: int, ids: int) -> None:
        """Count so many more records. ids: the sum of theirs."""
        self._records += records
        self._ids += ids
        os.pwrite(self._descriptor, _FORM.pack(self._records, self._ids), 0)

    def close(self) -> None:
        """Let go of the file, which stays."""
        os.close(self._descriptor)


def read_tally(file: Path) -> tuple[int, int]:
    """Records so far and the sum of their ids; zeros while nobody has counted."""
    try:
        written = file.read_bytes()
    except FileNotFoundError:
        return 0, 0
    return _FORM.unpack(written) if written else (0, 0)


class TallySinkConfig(NullSinkConfig, frozen=True, kw_only=True):
    """NullSink's keys, and where the tally is kept."""

    file: Annotated[str, Meta(description="The file of the tally.")]


class TallySinkTask(NullSinkTask):
    """NullSink, which says how far it is."""

    def start(self, config: Mapping[str, str]) -> None:
        super().start(config)
        self._tally = Tally(Path(config["file"]))

    def put(self, batch: SinkBatch) -> None:
        super().put(batch)
        self._tally.add(len(batch), sum(map(_id_of, batch.values)))

    def stop(self) -> None:
        super().stop()
        self._tally.close()


class TallySinkConnector(NullSinkConnector):
    """The connector of such tasks."""

    config = TallySinkConfig  # type: ignore[assignment]  # one key more is asked for
    task = TallySinkTask
