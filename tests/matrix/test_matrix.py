"""Whatever happens to a run, nothing is lost, order is kept, and what comes twice is within what the report says.

Some cells of the matrix, on three brokers; all of them are run by `tox -e matrix`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.server import UnavailableError
from tests.matrix.cell import run_cell
from tests.matrix.cells import Cell, all_cells, short_cells
from tests.matrix.faults import FAULTS
from tests.matrix.rig import Rig

SEED = 1


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("matrix")) as made:
        try:
            made.place("")
        except UnavailableError as error:
            pytest.skip(f"no real Kafka: {error}")
        yield made


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("cell", short_cells(), ids=lambda cell: cell.name)
def test_a_cell_of_the_matrix_comes_out_whole(cell: Cell, rig: Rig, tmp_path: Path) -> None:
    fault = FAULTS.get(cell.fault)
    # One strike at a broker will do here, which is no shorter for a longer run.
    pace = 0.5 if fault is not None and fault.takes_time else 1.0
    result = run_cell(cell, SEED, rig, tmp_path, pace)
    assert not result.error, result.error
    print(f"{result.told}: {result.repeated} repeated of at most {result.bound}")


def test_a_name_belongs_to_one_cell() -> None:
    names = [cell.name for cell in all_cells()]
    assert len(names) == len(set(names))
