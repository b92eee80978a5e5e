"""Every fault of the matrix: a small function over a running cell, which does it once and tells what it did.

What ends with its supervisor is started again, as a service manager does; what the engine should get over by itself is
left to it. The moment, the victim and the length are what the cell's seed picks.

Used by: cell.py, cells.py.
Not here: a kill at a step of the engine (points.py), when a fault strikes (scene.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from tests.harness import wait
from tests.matrix.rig import ClusterPlace
from tests.matrix.scene import Scene

__all__ = ["FAULTS", "Fault"]

#: A frozen process sleeps through the session of its group, or is back long before its end.
SESSION_MS = 6000
FROZEN_S = {"shortly": (0.3, 2.0), "for longer than its session": (7.0, 8.5)}
BROKER_AWAY_S = (0.5, 3.0)
STALLED_S = (1.0, 4.0)
CUT_S = (0.2, 3.0)


class Fault(Struct, frozen=True):
    """What is done, how often in a cell, and how long a run must be at work for it."""

    strike: Callable[[Scene], str]
    times: int
    seconds: float
    kills: bool = False  # each strike is a kill -9 of processes of the engine
    takes_time: bool = False  # of brokers: on a slow machine the run may be over before the last strike
    is_of_network: bool = False


def stop(scene: Scene) -> str:
    """Ask the run to end, as a service manager or a terminal does, and start the next."""
    how = scene.rng.choice((signal.SIGTERM, signal.SIGINT))
    scene.wait_for_work()  # who is asked before it has begun to listen dies of it, and has done nothing yet
    if how == signal.SIGINT:
        scene.run.interrupt()
    else:
        scene.run.signal(how)
    code = scene.run.wait()
    assert code == 128 + how, f"exit code {code} after {how.name}; its log:\n{scene.run.stderr}"
    scene.keep_report()
    scene.start()
    return how.name


def kill_task(scene: Scene) -> str:
    return _kill(scene, scene.victim("task"))


def kill_pump(scene: Scene) -> str:
    return _kill(scene, scene.victim("pump"))


def kill_supervisor(scene: Scene) -> str:
    """The children are left to notice; the next run starts at once, and waits for them."""
    scene.run.kill9_supervisor()
    scene.start()
    return "supervisor"


def kill_all(scene: Scene) -> str:
    scene.run.close()
    scene.start()
    return "all"


def freeze(scene: Scene) -> str:
    """Stop processes in the middle of whatever they do, and let them wake: shortly, then for longer than a session."""
    how = list(FROZEN_S)[scene.strikes % len(FROZEN_S)]
    seconds = scene.rng.uniform(*FROZEN_S[how])
    task, pump = scene.victim("task"), scene.victim("pump")
    whose = scene.rng.choice(([task], [pump], [task, pump], []))
    pids = [scene.run.wait_for(role) for role in whose] or scene.run.pids()
    _send(pids, signal.SIGSTOP)
    try:
        time.sleep(seconds)  # the length of the fault is what the seed picks
    finally:
        _send(pids, signal.SIGCONT)
    return f"{' and '.join(whose) or 'all'} {how}"


def restart_broker(scene: Scene) -> str:
    """In order, the next when the one before it has caught up, as an upgrade does."""
    number = scene.strikes % len(scene.place.brokers)
    scene.place.brokers[number].restart()
    scene.place.wait_in_sync(scene.topic)
    return f"broker {number + 1}"


def kill_broker(scene: Scene) -> str:
    number = scene.rng.randrange(len(scene.place.brokers))
    broker = scene.place.brokers[number]
    broker.kill9()
    time.sleep(scene.rng.uniform(*BROKER_AWAY_S))  # the length of the fault is what the seed picks
    broker.start()
    scene.place.wait_in_sync(scene.topic)
    return f"broker {number + 1}"


def move_leaders(scene: Scene) -> str:
    assert isinstance(scene.place, ClusterPlace)
    scene.place.cluster.move_leaders(scene.topic)
    return "all leaders"


def stall(scene: Scene) -> str:
    seconds = scene.rng.uniform(*STALLED_S)
    scene.place.proxy.stall()
    time.sleep(seconds)  # the length of the fault is what the seed picks
    scene.place.proxy.flow()
    return f"{seconds:.1f} s"


def cut(scene: Scene) -> str:
    seconds = scene.rng.uniform(*CUT_S)
    scene.place.proxy.cut()
    time.sleep(seconds)  # the length of the fault is what the seed picks
    scene.place.proxy.flow()
    return f"{seconds:.1f} s"


FAULTS = {
    "stopped": Fault(stop, 2, 4.0),
    "task-killed": Fault(kill_task, 3, 4.0, kills=True),
    "pump-killed": Fault(kill_pump, 3, 4.0, kills=True),
    "supervisor-killed": Fault(kill_supervisor, 2, 5.0, kills=True),
    "all-killed": Fault(kill_all, 3, 4.0, kills=True),
    "frozen": Fault(freeze, 2, 8.0),
    "brokers-restarted": Fault(restart_broker, 3, 36.0, takes_time=True),
    "broker-killed": Fault(kill_broker, 2, 20.0, takes_time=True),
    "leader-moved": Fault(move_leaders, 2, 12.0, takes_time=True),
    "stalled": Fault(stall, 2, 8.0, is_of_network=True),
    "cut": Fault(cut, 2, 7.0, is_of_network=True),
}


def _kill(scene: Scene, role: str) -> str:
    pid = scene.run.kill9(role)
    wait.until(lambda: scene.run.roles().get(role) != pid, f"end of {role}")
    return role


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
