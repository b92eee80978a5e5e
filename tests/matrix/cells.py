"""Which cells the matrix has, and how each is called.

    fault/shape/tasks/form[/door]      pump-killed/both/3/json      store.before/source/1/string
                                       broker-killed/both/1/json/plain

A fault is one of faults.py, or a named step of points.py and which side of it. Shapes: a source into a topic, a sink
out of a topic that is full already, or both in one run. Door: how the engine comes to Kafka; none is plain text to
three brokers, `scram` and `plain` are TLS and a password to the one that asks for it.

Used by: cell.py, __main__.py, tests/matrix/test_matrix.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from msgspec import Struct

from tests.matrix.faults import FAULTS
from tests.matrix.points import POINTS

__all__ = ["Cell", "all_cells", "by_name", "short_cells"]

SHAPES = ("source", "sink", "both")
TASKS = (1, 3)
FORMS = ("string", "json")
#: What is tried on the broker that asks who comes: what makes a client connect anew, and what ends its process.
SECURE_FAULTS = ("stopped", "pump-killed", "all-killed", "broker-killed", "stalled", "cut")
#: Each password mechanism meets each form.
DOORS = (("scram", "string"), ("plain", "json"))
#: All killed at once, and a broker; who is killed alone, stopped or cut off is in tests/faults, and in the long run.
SHORT = (
    "all-killed/both/3/string",
    "broker-killed/both/1/json",
)


class Cell(Struct, frozen=True):
    """What is done to what."""

    fault: str
    shape: str
    tasks: int
    form: str
    door: str = ""

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return "/".join(filter(None, (self.fault, self.shape, str(self.tasks), self.form, self.door)))

    @property
    def has_source(self) -> bool:
        return self.shape != "sink"

    @property
    def has_sink(self) -> bool:
        return self.shape != "source"


def all_cells() -> Sequence[Cell]:
    """The whole matrix: every fault with every shape, number of tasks and form; every step; the door with a lock."""
    return [
        *(Cell(*of) for of in product(FAULTS, SHAPES, TASKS, FORMS)),
        *(Cell(name, point.shape, *of) for name, point in POINTS.items() for of in product(TASKS, FORMS)),
        *(
            Cell(fault, "both", tasks, form, door)
            for fault, tasks, (door, form) in product(SECURE_FAULTS, TASKS, DOORS)
        ),
    ]


def short_cells() -> Sequence[Cell]:
    """Those that a run of all tests has time for."""
    return by_name(SHORT)


def by_name(names: Iterable[str]) -> Sequence[Cell]:
    """Cells of the matrix. Raises KeyError for a name that is none."""
    known = {cell.name: cell for cell in all_cells()}
    return [known[name] for name in names]
