"""REST under load: a steady number of requests a second from several clients, while task processes are killed.

    worker:   4 generators of 2 tasks each, 1,000 records a second each
    schedule: request k is due at k / rate; how late a client is counts as time it waited
    kinds:    the list with status and info, a connector, its status, its configuration, a task's status, the root
    faults:   each KILL_EVERY_S a task's process is killed
    warm-up:  before that the worker runs a while, since a fresh broker is busy compiling itself

A request has failed when there is no answer, or none of 200.

Used by: bench.many.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

from tests.harness import measure, wait
from tests.harness.asking import ask
from tests.harness.standalone import StandaloneMillrace

__all__ = ["Load", "Loaded", "told"]

RATE = 200
CLIENTS = 8
NAMES = ("one", "two", "three", "four")
RECORDS_RATE = 1000
KILL_EVERY_S = 2.0
ANSWER_S = 30.0
P99_MS_MAX = 50.0


class Loaded(Struct, frozen=True):
    """What came of it."""

    requests: int
    failures: Sequence[str]
    latencies_ms: Sequence[float]  # sorted; from the moment a request was due
    answers_ms: Sequence[float]  # sorted; from the moment it was sent, which a client short of processor time does late
    kills: int
    control_seconds: float  # of processor time, of the process that answers


class Load:
    """One load on one worker."""

    def __init__(self, worker: StandaloneMillrace, topic: str, seconds: float, warm_up_seconds: float) -> None:
        self._worker = worker
        self._topic = topic
        self._seconds = seconds
        self._warm_up_seconds = warm_up_seconds
        self._failures: list[str] = []
        self._latencies_ms: list[float] = []
        self._answers_ms: list[float] = []
        rests = ("", "/status", "/config", "/tasks/0/status", "/tasks/1/status")
        self._paths = ["/", "/connectors?expand=status&expand=info"]
        self._paths += [f"/connectors/{name}{rest}" for name in NAMES for rest in rests]
        self._begin = 0.0

    def run(self) -> Loaded:
        """Ask, kill, and return when all is answered."""
        self._make()
        time.sleep(self._warm_up_seconds)
        self._begin = time.monotonic() + 0.5
        over = threading.Event()
        kills: list[int] = []
        killer = threading.Thread(target=self._kill, args=(over, kills))
        clients = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]
        control = [self._worker.run.roles()["control"]]
        before = measure.cpu_seconds(control)
        for thread in (killer, *clients):
            thread.start()
        for thread in clients:
            thread.join()
        over.set()
        killer.join()
        seconds = measure.cpu_seconds(control) - before
        late, answers = sorted(self._latencies_ms), sorted(self._answers_ms)
        return Loaded(len(late), self._failures, late, answers, len(kills), seconds)

    def _make(self) -> None:
        config = {"connector.class": "Generator", "topic": self._topic, "rate": RECORDS_RATE, "tasks.max": 2}
        for name in NAMES:
            answer = ask(self._worker.url, "POST", "/connectors", {"name": name, "config": config})
            if answer.status != 201:
                raise RuntimeError(f"POST /connectors: {answer.status} {answer.body[:300]!r}")
        wait.until(lambda: _states(self._worker) == {"RUNNING"}, "RUNNING tasks", timeout_s=ANSWER_S)

    def _ask(self, number: int) -> None:
        place = urlsplit(self._worker.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_S)
        chance = random.Random(number)
        for turn in range(number, int(RATE * self._seconds), CLIENTS):
            due = self._begin + turn / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            path = chance.choice(self._paths)
            sent = time.monotonic()
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._failures.append(f"{path}: {error!r}")
                connection.close()
            else:
                if answer.status != 200:
                    self._failures.append(f"{path}: {answer.status}")
            now = time.monotonic()
            self._latencies_ms.append((now - due) * 1000)
            self._answers_ms.append((now - sent) * 1000)
        connection.close()

    def _kill(self, over: threading.Event, kills: list[int]) -> None:
        chance = random.Random(0)
        while not over.wait(KILL_EVERY_S):
            pids = [pid for role, pid in self._worker.run.roles().items() if "/" in role]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid := chance.choice(pids), signal.SIGKILL)
                kills.append(pid)


def _states(worker: StandaloneMillrace) -> set[str]:
    told = ask(worker.url, "GET", "/connectors?expand=status").json
    return {task["state"] for one in told.values() for task in one["status"]["tasks"]}


def told(loaded: Loaded, check: Callable[[str, float, float, str], None]) -> None:
    """Print what came of it. check: prints a figure beside its bound."""
    count = len(loaded.latencies_ms)
    check("REST under load: requests that failed", len(loaded.failures), 0, "")
    for what, times_ms in (("since it was due", loaded.latencies_ms), ("since it was sent", loaded.answers_ms)):
        for part in (50, 99):
            check(f"REST under load: p{part} {what}", times_ms[count * part // 100], P99_MS_MAX, "ms")
    print(
        f"{'REST under load: slowest, requests, kills':<40} {loaded.latencies_ms[-1]:>9.2f} ms, {count}, {loaded.kills}"
    )
    print(
        f"{'REST under load: control, CPU a request':<40} {loaded.control_seconds / count * 1000:>9.2f} ms", flush=True
    )
    for failure in loaded.failures[:5]:
        print(f"    {failure}")
