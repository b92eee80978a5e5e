"""A run with numbers from a generator through Kafka to a file, watched while the world around it fails.

    with Run(folder, kafka.users_bootstrap) as run:
        run.until_flowing()
        kafka.proxy.stall()
        run.until_waiting("numbers/0", "acknowledgements")
        kafka.proxy.flow()
        run.finish(restarts=0)        all there, in order, repeats and memory within their bounds

Used by: tests/faults/test_waits.py, tests/faults/test_credentials.py.
Not here: what fails (cluster.py, secure.py, proxy.py).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.shm.board import Board
from engine.shm.waits import waits_of
from tests.harness import wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.measure import pss_bytes

__all__ = ["PARTITIONS", "SINK", "SOURCE", "TOPIC", "Run"]

TOPIC = "numbers"
SOURCE, SINK = "numbers/0", "copy/0"
PARTITIONS = 4
#: At this rate a run takes 16 s, and fails in the middle of it.
RECORDS = 40_000
RATE = 2_500
SIZE = 500
FLOWING = 1_000
END_S = 90.0
#: What one process of a line may take, whatever it waits for.
CHILD_BYTES = 120 * 1024 * 1024
TEXT = "org.apache.kafka.connect.storage.StringConverter"
PLUGINS = Path(__file__).parents[1] / "faults" / "plugins"


class Run:
    """`millrace run` over one source and one sink in `folder`."""

    def __init__(
        self,
        folder: Path,
        kafka: str | Mapping[str, str],
        *,
        records: int = RECORDS,
        rate: float = RATE,
        store: Path | None = None,
        source: Mapping[str, object] | None = None,
        sink: Mapping[str, object] | None = None,
        sink_name: str = "copy",
    ) -> None:
        """kafka: servers, or all settings of a client; store: where offsets go; source, sink: keys beside the usual.

        sink_name: its group is named by it: one of its own on a broker that is not.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.records = records
        self.out = folder / "out.txt"
        self.store = store or folder / "offsets"
        client = {"bootstrap.servers": kafka} if isinstance(kafka, str) else dict(kafka)
        worker = {
            **client,
            **{f"{kind}.{key}": value for kind in ("producer", "consumer") for key, value in client.items()},
            "key.converter": TEXT,
            "value.converter": TEXT,
            "offset.flush.interval.ms": 300,
            "offset.storage.file.filename": self.store,
        }
        numbers = {
            "connector.class": "Generator",
            "topic": TOPIC,
            "records": records,
            "rate": rate,
            "format": "text",
            "size": SIZE,
            "partitions": PARTITIONS,
            **(source or {}),
        }
        copy = {"connector.class": "FileStreamSink", "topics": TOPIC, "file": self.out, **(sink or {})}
        (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"numbers": numbers, sink_name: copy}))
        plugins = {"PYTHONPATH": str(PLUGINS)}
        self.millrace = Millrace("run", "pipeline.toml", "--json", folder=folder, environment=plugins)
        self._board: Board | None = None
        self._largest_bytes: dict[str, int] = {}

    def lines(self) -> int:
        """How many records are in the file."""
        return self.out.stat().st_size // (SIZE + 1) if self.out.exists() else 0

    def waits(self, title: str) -> dict[str, float]:
        """What a task waits for now, and for how many seconds, as its row of the board has it."""
        self._look_at_memory()
        board = self._map()
        rows = () if board is None else board.rows()
        named = {f"{row.identity.connector}/{row.identity.task}": row for row in rows}
        now_ns = time.monotonic_ns()
        return {one.cause.label: one.seconds(now_ns) for one in waits_of(named[title])} if title in named else {}

    def until_flowing(self, more: int = FLOWING) -> None:
        """Return when so many more records have come through."""
        wanted = self.lines() + more
        self._until(lambda: self.lines() >= wanted, "records")

    def until_waiting(self, title: str, cause: str, seconds: float = 0.0) -> None:
        """Return when a task says that it waits for this, and has for so long."""
        self._until(lambda: self.waits(title).get(cause, -1.0) >= seconds, f"{title} that waits for {cause}")

    def until_going(self, title: str) -> None:
        """Return when a task waits for nothing."""
        self._until(lambda: not self.waits(title), f"{title} that goes on")

    def finish(self, *, restarts: int = 0) -> dict[str, Any]:
        """Let it come to its end, and look at all it has left; returns its report. restarts: so many at most."""
        assert self.millrace.wait(END_S) == 0, self.millrace.stderr
        report = self.millrace.report()
        print(f"{report['totals']}\n{self._largest_bytes}\n{self.millrace.stderr}")
        assert report["totals"]["restarts"] <= restarts, self.millrace.stderr
        self.check_complete(report["totals"]["repeated_at_most"])
        assert max(self._largest_bytes.values(), default=0) < CHILD_BYTES, self._largest_bytes
        assert all(not task["waits_for"] for connector in report["connectors"] for task in connector["tasks"])
        assert "Traceback" not in self.millrace.stderr
        return report

    def check_complete(self, bound: int) -> None:
        """All are there, first occurrences in order per partition, repeated no more often than the bound says."""
        seen = [int(line[:12]) for line in self.out.read_bytes().splitlines()]
        lost = set(range(self.records)).difference(seen)
        assert not lost, f"{len(lost)} lost, the first {sorted(lost)[:5]}"
        for partition in range(PARTITIONS):
            firsts = list(dict.fromkeys(number for number in seen if number % PARTITIONS == partition))
            assert firsts == sorted(firsts), f"partition {partition} is out of order"
        repeated = sum(count - 1 for count in Counter(seen).values())
        assert repeated <= bound, f"{repeated} repeated, the report says at most {bound}"

    def _until(self, condition: Any, what: str) -> None:
        def look() -> bool:
            assert self.millrace.is_running, f"the run has ended:\n{self.millrace.stderr}"
            return bool(condition())

        try:
            wait.until(look, what, timeout_s=60.0, look_every_s=0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.millrace.stderr}") from error

    def _look_at_memory(self) -> None:
        for role, pid in self.millrace.roles().items():
            self._largest_bytes[role] = max(self._largest_bytes.get(role, 0), pss_bytes([pid]))

    def _map(self) -> Board | None:
        path = self.store.with_name(f"{self.store.name}.millrace.board")
        if self._board is None and path.exists():
            descriptor = os.open(path, os.O_RDWR)
            board = Board(descriptor)
            os.close(descriptor)
            self._board = board if board.is_begun() else None
        return self._board

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.millrace.close()
