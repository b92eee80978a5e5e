"""The `millrace` command as a user runs it: a process of its own, its output in files, its children by their titles.

    with Millrace("run", "pipeline.toml", "--json", folder=folder) as millrace:
        millrace.kill9("orders/0 task")
        assert millrace.wait() == 0
        millrace.report()["records_out"]

The command gets a session of its own, so that a whole run can be signalled as a terminal does it, and ended for sure.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from tests.harness import wait

__all__ = ["Millrace", "millrace_command", "pipeline_toml"]

WAIT_S = 60.0
PACKAGES = ("engine", "converters", "connectors")
TITLE = "millrace: "

Table = Mapping[str, object]


def pipeline_toml(worker: Table, connectors: Mapping[str, Table]) -> str:
    """The text of a pipeline file; keys are written quoted, values as TOML strings."""
    tables = {"worker": worker, **{f"connectors.{_quoted(name)}": config for name, config in connectors.items()}}
    return "\n".join(
        f"[{name}]\n" + "".join(f"{_quoted(key)} = {_quoted(str(value))}\n" for key, value in table.items())
        for name, table in tables.items()
    )


class Millrace:
    """One run of the command in `folder`, started at once."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        ignored: Sequence[signal.Signals] = (),
        command: Sequence[str] = (),
        open_files: tuple[int, int] | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        """environment: variables beside those of the tests; its PYTHONPATH comes before the engine's place.

        ignored: signals that whoever starts it has ignored, as `nohup` does; the others are as a terminal has them.
        command: what is started with the arguments instead of `millrace`.
        open_files: soft and hard limit, as `ulimit -n` sets them; None: those of the tests.
        inherited: descriptors that it gets beside standard input, output and error.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        given = environment or {}
        path = os.pathsep.join(filter(None, (given.get("PYTHONPATH"), _where_engine_is())))
        run = len(list(folder.glob("millrace-*.out")))
        self._out = folder / f"millrace-{run}.out"
        self._err = folder / f"millrace-{run}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*(command or millrace_command()), *arguments],
                cwd=folder,
                env={**os.environ, **given, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                pass_fds=inherited,
                preexec_fn=lambda: _as_from_a_terminal(ignored, open_files),  # noqa: PLW1509  tests have one thread
            )

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return self._err.read_text(errors="replace")

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Its exit code, negative for the signal that ended it. Raises TimeoutError with its log."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"millrace still runs after {timeout_s:g} s; its log:\n{self.stderr}") from error

    def signal_group(self, number: signal.Signals) -> None:
        """Send to the whole group, as a terminal does."""
        os.killpg(self.pid, number)

    def signal(self, number: signal.Signals) -> None:
        """Send to the supervisor alone, as a service manager does."""
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Send INT to the whole group, as Ctrl-C at a terminal does."""
        self.signal_group(signal.SIGINT)

    def roles(self) -> dict[str, int]:
        """The pid of each living process of the run by its role: "orders/0 task", "orders/0 pump", "control"."""
        titles = {pid: _title(pid) for pid in self.pids()}
        return {title.removeprefix(TITLE): pid for pid, title in titles.items() if title.startswith(TITLE)}

    def pids(self) -> list[int]:
        """All processes of the run, with those that have ended and were not reaped.

        By session, not by parent: what outlives a killed supervisor belongs to it as well.
        """
        pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        return [pid for pid in pids if _session_of(pid) == self._process.pid]

    def wait_for(self, role: str, *, other_than: int | None = None, timeout_s: float = WAIT_S) -> int:
        """The pid of the process in a role once there is one, or one with another pid than the given."""

        def look() -> int | None:
            assert self.is_running, f"millrace ended with {self._process.returncode}; its log:\n{self.stderr}"
            pid = self.roles().get(role)
            return None if pid == other_than else pid

        return wait.until(look, f"process {role!r}", timeout_s=timeout_s) or 0

    def kill9(self, role: str) -> int:
        """End the process in a role at once; returns the pid it had."""
        pid = self.wait_for(role)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill9_supervisor(self) -> None:
        """End the supervisor at once; its children are left to notice."""
        self._process.kill()
        self._process.wait(WAIT_S)

    def report(self) -> dict[str, Any]:
        """What `--json` printed. Raises AssertionError with the log when it is no JSON."""
        try:
            report: dict[str, Any] = json.loads(self.stdout)
        except json.JSONDecodeError as error:
            raise AssertionError(f"no report on stdout: {self.stdout!r}; its log:\n{self.stderr}") from error
        return report

    def close(self) -> None:
        """End all that is left of the run."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(WAIT_S)
        wait.until(lambda: not self.roles(), "end of all processes of the run")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_from_a_terminal(ignored: Sequence[signal.Signals], open_files: tuple[int, int] | None) -> None:
    if open_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
    # The tests themselves may run in the background or under nohup, and a child inherits what they ignore.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)


def _quoted(text: str) -> str:
    # What JSON writes is a TOML string too, as long as it does not escape by pairs of surrogates.
    return json.dumps(text, ensure_ascii=False)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _title(pid: int) -> str:
    """What `ps` shows; empty for a process that has ended."""
    try:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return shown.replace(b"\0", b" ").decode(errors="replace").strip()


def millrace_command() -> list[str]:
    """What is typed to run the command."""
    # The script that pip has made: unlike `python -m` it does not find modules in the folder it is started in.
    script = Path(sys.executable).with_name("millrace")
    return [str(script)] if script.exists() else [sys.executable, "-m", "engine.cli"]


@cache
def _where_engine_is() -> str:
    # The same engine that the tests import, be it this tree or an installed wheel, from whatever folder it is started.
    found = importlib.util.find_spec("engine")
    assert found is not None
    assert found.origin is not None
    place = Path(found.origin).parent.parent
    # Its bytecode is there, as pip leaves it: else each of hundreds of processes compiles 350 files, for half a second,
    # wherever PYTHONDONTWRITEBYTECODE is set.
    for package in PACKAGES:
        compileall.compile_dir(place / package, quiet=1)
    return str(place)
