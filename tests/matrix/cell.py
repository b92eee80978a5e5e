"""One cell: start its pipeline, strike it, start again what does not come back by itself, and count what came out.

    run_cell(cell, seed, rig, folder) ─► Result           its error is empty, or says what is wrong and how to repeat it

Used by: __main__.py, tests/matrix/test_matrix.py.
Not here: what a fault does (faults.py), what must come out (verify.py).
"""

from __future__ import annotations

import random
import time
import traceback
import uuid
from pathlib import Path

from msgspec import Struct

from tests.harness import topics
from tests.matrix import launched, pipeline, verify
from tests.matrix.cells import Cell
from tests.matrix.faults import FAULTS, Fault
from tests.matrix.points import POINTS
from tests.matrix.rig import Place, Rig
from tests.matrix.scene import Scene

__all__ = ["RECORDS", "Result", "repeat_command", "run_cell"]

RECORDS = 6000
#: Strikes of a cell at a named step, each in a later life than the one before.
POINT_STRIKES = 2
POINT_SECONDS = 4.0
POINT_FLUSH_MS = 100
FLUSH_MS = (100, 200, 300, 500)


class Result(Struct, kw_only=True):
    """What became of a cell."""

    cell: str
    seed: int
    pace: float = 1.0
    strikes: int = 0
    kills: int = 0  # of these, kill -9 of processes of the engine
    runs: int = 0
    restarts: int = 0
    records: int = 0
    repeated: int = 0
    bound: int = 0  # of the repeated ones, as the reports say
    seconds: float = 0.0
    told: str = ""  # what was struck
    error: str = ""  # empty: as it should be


def repeat_command(result: Result) -> str:
    """What to type to have the same cell struck in the same way."""
    pace = f" --pace {result.pace:g}" if result.pace != 1 else ""
    return f"python -m tests.matrix --seed {result.seed}{pace} --cells {result.cell}"


def run_cell(cell: Cell, seed: int, rig: Rig, folder: Path, pace: float = 1.0) -> Result:
    """Run it in an empty folder, which keeps what the runs have left. The brokers are well afterwards.

    pace: so many times longer a run lasts than on an idle machine, where brokers start in seconds.
    """
    result = Result(cell=cell.name, seed=seed, pace=pace)
    begun_at = time.monotonic()
    place = rig.place(cell.door)
    try:
        topic = f"matrix-{uuid.uuid4().hex[:12]}" if cell.has_source else rig.full_topic(cell.form, RECORDS)
        if cell.has_source:
            place.create_topic(topic)
        try:
            _run(cell, result, place, topic, folder)
        finally:
            place.heal(topic)
    except Exception as error:  # whatever it is, the other cells are run
        trace = "".join(traceback.format_exception(error)[-2:])
        result.error = f"{error}\n{trace}\nrepeat it: {repeat_command(result)}"
    result.seconds = round(time.monotonic() - begun_at, 1)
    return result


def _run(cell: Cell, result: Result, place: Place, topic: str, folder: Path) -> None:
    rng = random.Random(f"{result.seed} {cell.name}")
    group = f"matrix-{uuid.uuid4().hex[:12]}"
    fault, point = FAULTS.get(cell.fault), POINTS.get(cell.fault)
    settings = place.worker(through_proxy=fault is not None and fault.is_of_network)
    seconds = result.pace * (fault.seconds if fault else POINT_SECONDS)
    flush_ms = rng.choice(FLUSH_MS) if fault else POINT_FLUSH_MS
    pipeline.write(folder, cell, settings, topic, group, records=RECORDS, seconds=seconds, flush_ms=flush_ms)
    marks, command = folder / "marks", []
    if point is not None:
        nths = [rng.randint(1, point.nth_max) for _ in range(POINT_STRIKES)]
        command = launched.command(cell.fault, nths, marks)
        result.told = f"calls {nths}"
    connectors = [pipeline.NUMBERS] * cell.has_source + [pipeline.COPY] * cell.has_sink
    with Scene(folder, place, topic, connectors, cell.tasks, rng, command) as scene:
        scene.start()
        if fault is not None:
            _strike(scene, fault, result)
        scene.finish()
        if point is not None:
            result.strikes = result.kills = launched.marks(marks)
            assert result.strikes == POINT_STRIKES, f"{cell.fault} was reached {result.strikes} times; {scene.log()}"
        result.runs = scene.runs
        result.restarts = sum(report["totals"]["restarts"] for report in scene.reports)
        bound = verify.check_reports(scene.reports)
        _check_what_came(cell, result, place, topic, group, folder, bound, scene)


def _strike(scene: Scene, fault: Fault, result: Result) -> None:
    """As often as the fault says; one that takes its time may find the run over, but for the first."""
    while result.strikes < fault.times:
        if not scene.wait_for_moment():
            assert fault.takes_time and result.strikes, f"over before strike {result.strikes + 1}; {scene.log()}"
            return
        result.told = "; ".join(filter(None, (result.told, fault.strike(scene))))
        scene.struck()
        result.strikes = scene.strikes
        result.kills = scene.strikes * fault.kills


def _check_what_came(
    cell: Cell, result: Result, place: Place, topic: str, group: str, folder: Path, bound: int, scene: Scene
) -> None:
    if cell.fault == "stopped":
        bound = min(bound, 0)  # whoever stops in order does nothing twice
    numbers = _numbers_of_file(folder) if cell.has_sink else _numbers_of_topic(place, topic)
    try:
        came = verify.check(numbers, RECORDS, bound)
        if cell.has_sink:
            committed = topics.group_offsets(place.bootstrap, group)
            ends = {(topic, partition): end for partition, end in topics.end_offsets(place.bootstrap, topic).items()}
            assert committed == ends, f"committed {committed}, ends {ends}"
    except AssertionError as error:
        raise AssertionError(f"{error}\nstruck: {result.told}; reports: {scene.reports}\n{scene.log()}") from error
    result.records, result.repeated, result.bound = came


def _numbers_of_file(folder: Path) -> list[int]:
    return verify.numbers_of((folder / pipeline.OUT).read_bytes().splitlines())


def _numbers_of_topic(place: Place, topic: str) -> list[int]:
    """Of all partitions, one after the other."""
    found: list[int] = []
    for partition, stored in topics.consume_all(place.bootstrap, topic).items():
        numbers = verify.numbers_of([record.value or b"" for record in stored])
        foreign = [number for number in numbers if number % verify.PARTITIONS != partition]
        assert not foreign, f"{foreign[:5]} stand in partition {partition}"
        found += numbers
    return found
