"""Hundreds of idle connectors on one worker, and REST under load: what is asked of a worker beside throughput.

    python -m bench.many                         500 generators, task.processes=1; then a minute of load
    python -m bench.many --connectors 100
    python -m bench.many --connectors 0          only the load: 8 busy tasks, 200 requests a second, tasks are killed
    python -m bench.many --load 0                only the connectors
    python -m bench.many --bootstrap HOST:PORT   on brokers that run already

    made        from the first POST to the last connector RUNNING (8 clients)
    started     the worker is stopped and started again: from its start to the last connector RUNNING
    taken       processor time of all its processes for that, a connector
    private     memory that is a process's own (private pages), of one task process
    list        GET /connectors?expand=status&expand=info, answered
    stopped     from TERM to the end of the last process

Prints one line for each; ends with 1 when one of them is beyond its bound.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.many.load import Load, told
from tests.harness import measure, topics, wait
from tests.harness.asking import ask
from tests.harness.kafka import KafkaServer
from tests.harness.standalone import StandaloneMillrace

CLIENTS = 8
RUNNING_S = 300.0
#: What the issue asks for.
RUNNING_S_MAX = 30.0
PRIVATE_MB_MAX = 12.0
LIST_S_MAX = 1.0
STOP_S_MAX = 30.0
MB = 1_000_000
#: A worker that runs is looked at so often for who is RUNNING.
LOOK_S = 0.5
#: So long it is looked at what idle processes cost.
IDLE_S = 5.0


class Bounds:
    """What was measured beside what is asked for."""

    def __init__(self) -> None:
        self.all_hold = True

    def check(self, what: str, measured: float, bound: float, unit: str) -> None:
        """Print a line."""
        holds = measured <= bound
        self.all_hold = self.all_hold and holds
        print(f"{what:<40} {measured:>9.2f} {unit:<3} (at most {bound:g}){'' if holds else '  NOT HELD'}", flush=True)


def main() -> int:
    """Measure, and return the exit code."""
    options = _options()
    bounds = Bounds()
    with tempfile.TemporaryDirectory(prefix="millrace-many-") as name, _kafka(options, Path(name)) as bootstrap:
        topic = f"many-{uuid.uuid4().hex[:8]}"
        topics.create_topic(bootstrap, topic, partitions=1)
        try:
            if options.connectors:
                properties = {"task.processes": "1", "worker.tasks.max": str(options.connectors + 50)}
                with StandaloneMillrace(Path(name) / "many", bootstrap, properties) as worker:
                    _measure(worker, topic, options.connectors, bounds)
            if options.load:
                with StandaloneMillrace(Path(name) / "load", bootstrap, {"restart.max": "1000"}) as worker:
                    told(Load(worker, topic, options.load, options.warm_up).run(), bounds.check)
        finally:
            topics.delete_topic(bootstrap, topic)
    return 0 if bounds.all_hold else 1


def _measure(worker: StandaloneMillrace, topic: str, count: int, bounds: Bounds) -> None:
    made_s = _seconds(lambda: _make(worker, topic, count))
    bounds.check(f"{count} connectors made, all RUNNING", made_s, RUNNING_S_MAX, "s")
    _tell_of_time(worker, count)
    bounds.check("list with expand", _slowest_list(worker), LIST_S_MAX, "s")
    _tell_of_processes(worker, bounds)
    bounds.check("stopped", _seconds(worker.stop), STOP_S_MAX, "s")
    started_s = _seconds(lambda: _start(worker, count))
    bounds.check("started again, all RUNNING", started_s, RUNNING_S_MAX, "s")
    _tell_of_time(worker, count)
    bounds.check("stopped", _seconds(worker.stop), STOP_S_MAX, "s")


def _make(worker: StandaloneMillrace, topic: str, count: int) -> None:
    config = {"connector.class": "Generator", "topic": topic, "rate": "0.01", "format": "sequence"}

    def make(number: int) -> None:
        answer = ask(worker.url, "POST", "/connectors", {"name": f"idle-{number:03}", "config": config})
        if answer.status != 201:
            raise RuntimeError(f"POST /connectors: {answer.status} {answer.body[:300]!r}")

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(make, range(count)))
    _wait_running(worker, count)


def _start(worker: StandaloneMillrace, count: int) -> None:
    worker.start()
    _wait_running(worker, count)


def _wait_running(worker: StandaloneMillrace, count: int) -> None:
    def are_running() -> bool:
        told = ask(worker.url, "GET", "/connectors?expand=status").json
        states = [task["state"] for one in told.values() for task in one["status"]["tasks"]]
        return states == ["RUNNING"] * count

    wait.until(are_running, f"{count} RUNNING tasks", timeout_s=RUNNING_S, look_every_s=LOOK_S)


def _slowest_list(worker: StandaloneMillrace) -> float:
    path = "/connectors?expand=status&expand=info"
    return max(_seconds(lambda: ask(worker.url, "GET", path)) for _ in range(5))


def _tell_of_time(worker: StandaloneMillrace, count: int) -> None:
    seconds = measure.cpu_seconds([worker.run.pid, *worker.run.roles().values()])  # those that have ended as well
    print(f"{'taken, a connector':<40} {seconds / count * 1000:>9.1f} ms", flush=True)


def _tell_of_processes(worker: StandaloneMillrace, bounds: Bounds) -> None:
    roles = worker.run.roles()
    own = sorted(measure.private_bytes([pid]) / MB for role, pid in roles.items() if role.endswith("both"))
    bounds.check("private memory of a task, median", own[len(own) // 2], PRIVATE_MB_MAX, "MB")
    bounds.check("private memory of a task, most", own[-1], PRIVATE_MB_MAX, "MB")
    print(f"{'all processes together (PSS)':<40} {measure.pss_bytes(roles.values()) / MB:>9.0f} MB", flush=True)
    tasks = [pid for role, pid in roles.items() if "/" in role]
    for who, pids in {"supervisor": [worker.run.pid], "control": [roles["control"]], "all tasks": tasks}.items():
        before = measure.cpu_seconds(pids)
        time.sleep(IDLE_S)
        busy = (measure.cpu_seconds(pids) - before) / IDLE_S
        own_mb = measure.private_bytes(pids) / MB
        print(f"{f'{who}, idle: private memory, CPU':<40} {own_mb:>9.0f} MB, {busy:.0%} of a core", flush=True)


def _seconds(act: Callable[[], object]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


@contextmanager
def _kafka(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    if options.bootstrap:
        yield options.bootstrap
        return
    with KafkaServer(folder / "kafka", is_measured=True) as kafka:
        yield kafka.bootstrap


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.many", description=__doc__.partition("\n")[0])
    parser.add_argument("--connectors", type=int, default=500)
    parser.add_argument("--load", type=float, default=60, metavar="SECONDS", help="of REST under load, while tasks die")
    parser.add_argument("--warm-up", type=float, default=30, metavar="SECONDS", help="before that load")
    parser.add_argument("--bootstrap", help="brokers that run already; otherwise one is started")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
