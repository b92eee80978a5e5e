"""Each fault: who it is done to, how, what the status must say of it, and what delay the policy has for it.

Used by: tests.faults_in_numbers.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from engine.shm.board import Word
from tests.faults_in_numbers.bed import KILL_S, LEASE_S, Bed
from tests.harness import wait

__all__ = ["FAULTS", "Fault", "Seen", "suffer"]

SOURCE, SINK = "faulty-source/0", "faulty-sink/0"
STRIKE_S = 30.0
TRUTH_S = 30.0
BACK_S = 90.0
LOOK_S = 0.02

Status = Mapping[str, Any]
#: Does it to a task; returns when it is done.
Strike = Callable[[Bed, str], None]


class Fault(Struct, frozen=True):
    """One."""

    name: str
    title: str  # of the task
    strike: Strike
    tells: Callable[[Status], bool]  # whether a status tells of it
    delay_s: float = 0.0  # of the policy, beside the pause before the restart that the log tells
    counts: bool = True  # it ends in a restart that nobody has asked for
    takes_time: bool = False  # until it ends the task: how late it comes back is counted from when that is told


class Seen(Struct, frozen=True):
    """What came of it."""

    fault: str
    title: str
    fell: float  # the most that the rate of another task was lower than before: 0.02 is 2 %
    fell_title: str
    calm_read_s_max: float  # the slowest REST read before
    read_s_max: float  # and from the fault on
    reads: int
    failed_reads: int
    truth_s: float  # until the status told it
    back_s: float  # until records moved again
    delay_s: float  # what of that is the policy's, and what the fault itself takes
    told: str  # in the status

    @property
    def late_s(self) -> float:
        """How long after its policy's delay the task was back."""
        return max(0.0, self.back_s - self.delay_s)


def suffer(bed: Bed, fault: Fault, *, settle_s: float, window_s: float) -> Seen:
    """Do it to a worker that runs, and wait until all is well again.

    settle_s: how long all must have run well before; window_s: over which rates are taken, before and at least after.
    """
    wait.until(lambda: all(map(bed.is_running, bed.rows())), "all tasks running", timeout_s=BACK_S, steady_s=settle_s)
    before, began = bed.moved(), time.monotonic()
    with bed.reading() as calm:
        wait.until(lambda: time.monotonic() - began >= window_s, "the window before", timeout_s=2 * window_s)
    struck, moved = time.monotonic(), bed.moved()
    rates = {title: (moved[title] - before[title]) / (struck - began) for title in moved}
    logged, struck_ns = len(bed.millrace.stderr), time.monotonic_ns()
    with bed.reading() as reader:
        restarts = bed.restarts(fault.title)
        fault.strike(bed, fault.title)
        hit = time.monotonic()
        told = wait.until(partial(_told, bed, fault, restarts), f"the truth about {fault.name}", timeout_s=TRUTH_S)
        truth_s = time.monotonic() - hit
        wait.until(
            lambda: _is_back(bed, fault.title, struck_ns), f"end of {fault.name}", timeout_s=BACK_S, look_every_s=LOOK_S
        )
        back = time.monotonic()
        wait.until(lambda: time.monotonic() - struck >= window_s, "the window after", timeout_s=2 * window_s)
        after, ended = bed.moved(), time.monotonic()
    falls = {
        title: 1 - (after[title] - moved[title]) / (ended - struck) / rate
        for title, rate in rates.items()
        if title != fault.title and rate  # a short window may see no record
    }
    fell_title = max(falls, key=lambda title: falls[title], default="")
    return Seen(
        fault.name,
        fault.title,
        falls.get(fell_title, 0.0),
        fell_title,
        max(calm.seconds, default=0.0),
        max(reader.seconds, default=0.0),
        len(reader.seconds),
        len(reader.failures),
        truth_s,
        back - hit,
        fault.delay_s + bed.pause_s(fault.title, logged) + truth_s * fault.takes_time,
        told,
    )


def _told(bed: Bed, fault: Fault, restarts: int) -> str:
    """What the status says of it; empty: nothing yet, or of a restart before it."""
    status = bed.status(fault.title)
    if not fault.tells(status):
        return ""
    more = status["millrace"]
    if stalled := more.get("stalled"):
        return f"stalled: {stalled['reason']}"
    if fault.counts and more["restarts"] == restarts:
        return ""
    return str(more["last_cause"] or "") if fault.counts else str(status["state"])


def _is_back(bed: Bed, title: str, since_ns: int) -> bool:
    """Whether a life that began since then runs, and records move."""
    if not bed.is_running(title) or bed.rows()[title].get(Word.STATE_SINCE_NS) < since_ns:
        return False
    before = bed.moved()[title]
    try:
        wait.until(lambda: bed.moved()[title] > before, "a record", timeout_s=1.0, look_every_s=0.005)
    except TimeoutError:
        return False
    return bed.is_running(title)


def _signal(number: signal.Signals, bank: str) -> Strike:
    def strike(bed: Bed, title: str) -> None:
        os.kill(bed.millrace.roles()[f"{title} {bank}"], number)

    return strike


def _plugin(place: str, fault: str, *, restarts: bool = False) -> Strike:
    """The task does it itself. restarts: it comes to that place by a restart only."""

    def strike(bed: Bed, title: str) -> None:
        file = bed.faults / title.replace("/", "-")
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{place} {fault}")
        fresh.rename(file)
        if restarts:
            bed.restart(title)
        wait.until(lambda: not file.exists(), f"{fault} in {place}", timeout_s=STRIKE_S, look_every_s=0.002)

    return strike


def _dies(by: str) -> Callable[[Status], bool]:
    return lambda status: by in str(status["millrace"]["last_cause"])


def _runs(status: Status) -> bool:
    return bool(status["state"] == "RUNNING")


def _stalls(stage: str, reason: str = "has not returned") -> Callable[[Status], bool]:
    def tells(status: Status) -> bool:
        stalled = status["millrace"].get("stalled")
        return stalled is not None and reason in stalled["reason"] and stage in ("", stalled["stage"])

    return tells


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("killed (-9), source's task", SOURCE, _signal(signal.SIGKILL, "task"), _dies("SIGKILL")),
        Fault("killed (-9), sink's task", SINK, _signal(signal.SIGKILL, "task"), _dies("SIGKILL")),
        Fault("killed (-9), source's pump", SOURCE, _signal(signal.SIGKILL, "pump"), _dies("SIGKILL")),
        Fault("killed (-9), sink's pump", SINK, _signal(signal.SIGKILL, "pump"), _dies("SIGKILL")),
        Fault("stopped (-STOP)", SINK, _signal(signal.SIGSTOP, "task"), _stalls("", "a signal has stopped"), LEASE_S),
        Fault("out of memory in put", SINK, _plugin("put", "eat"), _dies("emory"), takes_time=True),
        Fault("spinning in poll", SOURCE, _plugin("poll", "spin"), _stalls("poll"), KILL_S),
        Fault("blocked in a lock in put", SINK, _plugin("put", "lock"), _stalls("put"), KILL_S),
        Fault("blocked in a socket in poll", SOURCE, _plugin("poll", "socket"), _stalls("poll"), KILL_S),
        Fault("hanging in C in put", SINK, _plugin("put", "c"), _stalls("put"), KILL_S),
        Fault("segmentation fault in poll", SOURCE, _plugin("poll", "crash"), _dies("SIGSEGV")),
        Fault("failing in start", SOURCE, _plugin("start", "fail", restarts=True), _dies("told to fail")),
        Fault("failing in poll", SOURCE, _plugin("poll", "fail"), _dies("told to fail")),
        Fault("failing in put", SINK, _plugin("put", "fail"), _dies("told to fail")),
        Fault("failing in stop", SINK, _plugin("stop", "fail", restarts=True), _runs, counts=False),
    )
}
