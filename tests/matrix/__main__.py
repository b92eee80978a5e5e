"""The matrix on real Kafka, whole or in part; what was struck and what came out, cell by cell.

    python -m tests.matrix                                  every cell, seed 1
    python -m tests.matrix --seed 7 --cells 'pump-killed/*' 'store.*'
    python -m tests.matrix --list
    python -m tests.matrix --csv results.csv --keep folder  figures, and the folders of cells that failed

It ends with 1 when a cell failed, and prints the command that repeats it.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.matrix.cell import Result, repeat_command, run_cell
from tests.matrix.cells import Cell, all_cells
from tests.matrix.rig import Rig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns how it went."""
    options = _options(arguments)
    cells = [cell for cell in all_cells() if any(fnmatch.fnmatch(cell.name, like) for like in options.cells)]
    if options.list or not cells:
        print("\n".join(cell.name for cell in cells) or f"no cell is called {' or '.join(options.cells)}")
        return 0 if cells else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # brokers and runs are ended on the way out
    begun_at = time.monotonic()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="millrace-matrix-") as name, Rig(Path(name) / "kafka") as rig:
        for number, cell in enumerate(cells, 1):
            result = _run(cell, options, rig, Path(name) / "cells" / str(number))
            results.append(result)
            print(f"{number}/{len(cells)} {_told(result)}", flush=True)
            if options.csv:
                _write_csv(results, options.csv)
    return _summary(results, time.monotonic() - begun_at)


def _run(cell: Cell, options: argparse.Namespace, rig: Rig, folder: Path) -> Result:
    folder.mkdir(parents=True)
    result = run_cell(cell, options.seed, rig, folder, options.pace)
    if result.error and options.keep is not None:
        shutil.copytree(folder, options.keep / cell.name.replace("/", "_"), dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _told(result: Result) -> str:
    if result.error:
        return f"{result.cell}: FAILED\n{result.error}"
    return (
        f"{result.cell}: {result.records} records, {result.repeated} repeated of at most {result.bound}, "
        f"{result.restarts} restarts, {result.runs} runs, {result.seconds} s; {result.told}"
    )


def _summary(results: Sequence[Result], seconds: float) -> int:
    failed = [result for result in results if result.error]
    done = [result for result in results if not result.error]
    print(
        f"{len(results)} cells in {seconds / 60:.0f} min: {sum(result.strikes for result in results)} strikes, "
        f"{sum(result.kills for result in results)} of them kills; {sum(result.records for result in done):,} records, "
        f"none lost, {sum(result.repeated for result in done):,} repeated of at most "
        f"{sum(result.bound for result in done):,}; {len(failed)} cells failed"
    )
    if done:
        worst = max(done, key=lambda result: result.repeated)
        print(f"most repeated: {worst.repeated} of at most {worst.bound}, {worst.cell}")
    for result in failed:
        print(f"{result.error.splitlines()[0][:200]}\n    {repeat_command(result)}")
    return 1 if failed else 0


def _write_csv(results: Sequence[Result], file: Path) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(Result.__struct_fields__)
        writer.writerows(map(msgspec.structs.astuple, results))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description="Every fault on a real Kafka.")
    parser.add_argument("--seed", type=int, default=1, help="picks moments, victims and lengths")
    parser.add_argument("--pace", type=float, default=1.0, help="a slow machine: runs last so many times longer")
    parser.add_argument("--cells", nargs="+", default=["*"], metavar="NAME", help="names, with * for any part of one")
    parser.add_argument("--list", action="store_true", help="only print the names")
    parser.add_argument("--csv", type=Path, help="write a line for each cell, as they come")
    parser.add_argument("--keep", type=Path, help="where folders of failed cells are left")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
