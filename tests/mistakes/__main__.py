"""Plants mistakes and tells what caught them: all, or those that are named.

    python -m tests.mistakes [--list] [--write] [NAME ...]

Ends with 1 when one is not caught for a good reason. --write: put what was found into docs/mistakes.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mistakes import document
from tests.mistakes.catalog import MISTAKES
from tests.mistakes.planting import Caught, PlantingError, Tree


def main() -> int:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.mistakes", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--list", action="store_true", help="name all, and plant none")
    parser.add_argument("--write", action="store_true", help="write what was found into docs/mistakes.md")
    given = parser.parse_args()
    unknown = set(given.names) - set(MISTAKES)
    if unknown:
        parser.error(f"no such mistake: {', '.join(sorted(unknown))}; --list names all")
    if given.list:
        for mistake in MISTAKES.values():
            print(f"{mistake.name:40} {mistake.breaks}")
        return 0
    caught, missed = _plant(given.names or list(MISTAKES))
    if given.write:
        before = document.read(document.FILE.read_text()) if document.FILE.exists() else {}
        document.FILE.write_text(document.text(caught, before))
    print(f"{len(caught)} caught, {len(missed)} not")
    return 1 if missed else 0


def _plant(names: list[str]) -> tuple[dict[str, Caught], list[str]]:
    caught: dict[str, Caught] = {}
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mistakes-") as folder:
        tree = Tree(Path(folder))
        for name in names:
            try:
                found = caught[name] = tree.catch(MISTAKES[name])
            except PlantingError as error:
                missed.append(name)
                print(f"NOT CAUGHT  {error}", flush=True)
            else:
                what = document.by_what(MISTAKES[name])
                print(f"{name:40} {what} {found.at:8} {found.seconds:6.1f} s  {found.said[:100]}", flush=True)
    return caught, missed


if __name__ == "__main__":
    sys.exit(main())
