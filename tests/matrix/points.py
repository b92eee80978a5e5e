"""The named steps of a record's way at which a process kills itself, before the step or after it.

    source   poll ─► publish │ produce ─► acknowledge ─► release ─► store │ told
    sink     consume │ put ─► release ─► flush │ heard ─► commit ─► answered

A step is a method of the engine by its name. One that is not there any more is an error, not a step that is never
reached (`resolve`).

Used by: launched.py (wraps them), cells.py.
"""

from __future__ import annotations

import importlib
from types import FunctionType

from msgspec import Struct

__all__ = ["POINTS", "Point", "resolve"]


class Point(Struct, frozen=True):
    """A step, and one side of it."""

    shape: str  # of the pipeline that has it
    bank: str  # whose process is killed
    target: str  # module:Class.method
    is_after: bool
    nth_max: int  # the strike comes at one of so many calls of a process's life


#: Step, bank, method, and how many calls are sure to come in a second of a life.
_SOURCE = (
    ("poll", "task", "connectors.generator.source:GeneratorSourceTask.poll", 20),
    ("publish", "task", "engine.shm.ring:RingWriter.write", 20),
    ("produce", "pump", "engine.pump.delivery:Delivery.send", 20),
    ("acknowledge", "pump", "engine.pump.delivery:Sent.arrived", 40),
    ("release", "pump", "engine.shm.ring:RingReader.release", 8),
    ("store", "pump", "engine.offsets.store:OffsetStore.write", 4),
    ("told", "task", "engine.task.source:SourceTaskBank._tell", 4),
)
_SINK = (
    ("consume", "pump", "engine.pump.sink:SinkPumpBank._frame", 8),
    ("put", "task", "connectors.file.sink:FileStreamSinkTask.put", 8),
    ("handed-on", "task", "engine.task.sink:SinkTaskBank._release", 8),
    ("flush", "task", "engine.task.sink:SinkTaskBank._flush", 4),
    ("heard", "pump", "engine.pump.commits:Commits.heard", 4),
    ("commit", "pump", "engine.kafka.consumer:GroupConsumer.commit", 3),
    ("answered", "pump", "engine.pump.commits:Commits.answered", 3),
)
#: By the name that a cell has: `store.before`.
POINTS = {
    f"{step}.{side}": Point(shape, bank, target, side == "after", nth_max)
    for shape, steps in (("source", _SOURCE), ("sink", _SINK))
    for step, bank, target, nth_max in steps
    for side in ("before", "after")
}


def resolve(target: str) -> tuple[type, str, FunctionType]:
    """The class that has the method, its name, and the method. Raises LookupError or ImportError without one."""
    module, _, path = target.partition(":")
    class_name, _, name = path.partition(".")
    owner = getattr(importlib.import_module(module), class_name, None)
    found = vars(owner).get(name) if owner is not None else None
    if owner is None or type(found) is not FunctionType:
        raise LookupError(f"the engine has no method {target}: name the step anew in tests/matrix/points.py")
    return owner, name, found
