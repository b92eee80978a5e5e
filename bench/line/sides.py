"""The sides that are measured, driven alike: begin a job, watch it, end it.

Millrace is driven as a user does it: a pipeline file and the command. Kafka Connect by its REST, in one JVM that has
done the same job before (warm); for the measure of a start each gets a fresh process.

Used by: the measurements (throughput, latency, start, tasks).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from tests.harness.connect import ConnectWorker
from tests.harness.engine import Millrace, pipeline_toml

__all__ = ["BARE", "CONNECT", "LOOP", "MILLRACE", "ConnectSide", "Job", "MillraceSide", "ProgramSide", "Side"]

CONNECT, MILLRACE, BARE, LOOP = "connect", "millrace", "bare", "loop"
END_S = 120.0
SIGNALLED = (0, 128 + signal.SIGTERM)  # what a run that was asked to stop may answer
TEXT_CONVERTER = "org.apache.kafka.connect.storage.StringConverter"


class Job(Struct, frozen=True):
    """One connector; the same name and configuration on both sides."""

    name: str
    config: dict[str, str]
    is_bounded: bool = False  # it comes to its end by itself, where the side knows ends

    @property
    def tasks(self) -> int:
        return int(self.config.get("tasks.max", "1"))


class Side(Protocol):
    """What a measurement needs of a side."""

    name: str

    def begin(self, job: Job) -> int:
        """Start the job; returns the pid at the root of the side's processes."""

    def end(self) -> None:
        """Stop the job and see that it stopped well. Raises RuntimeError otherwise."""

    def log_tail(self) -> str:
        """The last it said."""

    def close(self) -> None:
        """Give up all processes."""


class ConnectSide:
    """The real Kafka Connect; one worker for as long as this side is open."""

    name = CONNECT

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.worker = ConnectWorker(folder, bootstrap)
        self._job: Job | None = None

    def begin(self, job: Job) -> int:
        if not self.worker.is_running:
            self.worker.start()
        self.worker.create(job.name, job.config)
        self._job = job
        return self.worker.pid

    def end(self) -> None:
        assert self._job is not None
        self.worker.wait_running(self._job.name, tasks=self._job.tasks)  # raises when a task failed
        self.worker.delete(self._job.name)
        self._job = None

    def log_tail(self) -> str:
        return self.worker.log_tail()

    def close(self) -> None:
        self.worker.stop()


class MillraceSide:
    """The command `millrace`; a run for each job."""

    name = MILLRACE

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self._job: Job | None = None
        self._run: Millrace | None = None

    def begin(self, job: Job) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        pipeline = self._folder / f"{job.name}.toml"
        pipeline.write_text(pipeline_toml(self._worker(), {job.name: job.config}))
        forever = [] if job.is_bounded else ["--forever"]
        self._run = Millrace("run", str(pipeline), "--json", *forever, folder=self._folder)
        self._job = job
        return self._run.pid

    def end(self) -> None:
        assert self._run is not None
        assert self._job is not None
        if not self._job.is_bounded and self._run.is_running:
            self._run.signal(signal.SIGTERM)
        code = self._run.wait(END_S)
        if code not in ((0,) if self._job.is_bounded else SIGNALLED):
            raise RuntimeError(f"millrace ended with {code}; its log:\n{self._run.stderr}")
        self.close()

    def log_tail(self) -> str:
        return "" if self._run is None else self._run.stderr[-4_000:]

    def close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None

    def _worker(self) -> Mapping[str, str]:
        return {
            "bootstrap.servers": self._bootstrap,
            "key.converter": TEXT_CONVERTER,
            "value.converter": TEXT_CONVERTER,
            "offset.storage.file.filename": str(self._folder / "offsets"),
        }


class ProgramSide:
    """A program of this folder, as something to compare with; it is killed when the job ends.

    bare    a consumer alone (bare.py): what any sink's age is at least, on this machine and at this broker
    loop    a consumer and fastavro (loop.py): what a few lines do that read the same topic
    """

    def __init__(self, name: str, bootstrap: str, *keys: str) -> None:
        """keys: of a job's configuration; their values are the program's arguments, after the brokers."""
        self.name = name
        self._bootstrap = bootstrap
        self._keys = keys
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, job: Job) -> int:
        arguments = [job.config[key] for key in self._keys]
        command = [sys.executable, "-m", f"bench.line.{self.name}", self._bootstrap, *arguments]
        self._process = subprocess.Popen(command)
        return self._process.pid

    def end(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"bench.line.{self.name} ended with {self._process.returncode}")
        self.close()

    def log_tail(self) -> str:
        return ""

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
