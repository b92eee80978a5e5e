"""Mutated bytes through every converter for minutes: `tox -e fuzz`, or `python -m tests.fuzz --seconds 600`.

Prints how many were tried, read and refused, for docs/reliability.md. Ends at the first that breaks a promise, with
what repeats it.
"""

from __future__ import annotations

import argparse
import faulthandler

from tests.fuzz.fuzzing import fuzz
from tests.fuzz.targets import TARGETS

HANG_SECONDS = 60  # a batch of a dozen payloads takes milliseconds


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--seconds", type=float, default=600, help="for all together")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="", help="converters whose names begin so, with commas between")
    given = options.parse_args()
    names = [name for name in TARGETS if name.startswith(tuple(given.only.split(",")))]
    each = given.seconds / len(names)
    print("| converter | payloads tried | read | refused |\n|---|---|---|---|")
    total = 0
    for name in names:
        faulthandler.dump_traceback_later(each + HANG_SECONDS, exit=True)
        count = fuzz(TARGETS[name], given.seed, seconds=each)
        faulthandler.cancel_dump_traceback_later()
        total += count.tried
        print(f"| {name} | {count.tried:,} | {count.read:,} | {count.refused:,} |", flush=True)
    print(f"\n{total:,} payloads, seed {given.seed}")


if __name__ == "__main__":
    main()
