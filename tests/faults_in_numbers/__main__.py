"""Every fault of one task, and what the other seven, REST and the status make of it, as a table.

python -m tests.faults_in_numbers                          all of them, some 6 minutes
python -m tests.faults_in_numbers --only lock --only pump  those whose names have one of these words
python -m tests.faults_in_numbers --json faults.json       all figures as well

Ends with 1 when a record is lost, a read fails, or a figure is beyond what is promised (docs/reliability.md).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.faults_in_numbers.bed import Bed
from tests.faults_in_numbers.faults import FAULTS, Seen, suffer
from tests.harness.kafka import KafkaServer, bootstrap_of_user

#: What is promised.
FELL_MAX = 0.02
READ_S_MAX = 0.1
TRUTH_S_MAX = 5.0
LATE_S_MAX = 2.0
HEAD = """\
| fault | of | others, at most | REST, slowest | before | told after | as | again after | beyond the policy's delay |
|---|---|---|---|---|---|---|---|---|"""


def main() -> int:
    """Do them in turn, and say what was seen."""
    options = _options()
    chosen = [one for one in FAULTS.values() if not options.only or any(word in one.name for word in options.only)]
    seen: list[Seen] = []
    with contextlib.ExitStack() as stack:
        folder = Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-faults-")))
        bootstrap = (
            bootstrap_of_user() or stack.enter_context(KafkaServer(folder / "kafka", is_measured=True)).bootstrap
        )
        bed = Bed(bootstrap, f"faults-{folder.name}", folder / "worker", options.rate, {})
        stack.callback(bed.close)
        bed.start()
        time.sleep(options.warm_up)
        gc.freeze()  # the clock of the reads is in this process: a full collection would be taken for a slow answer
        for fault in chosen:
            seen.append(suffer(bed, fault, settle_s=options.settle, window_s=options.window))
            print(_row(seen[-1]), file=sys.stderr, flush=True)
        lost = bed.lost()
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(seen)))
    print(as_text(seen))
    print(f"\nLost: {sum(lost.values())} records. {_beyond(seen)}")
    return 0 if not any(lost.values()) and not any(map(_is_beyond, seen)) else 1


def as_text(seen: Sequence[Seen]) -> str:
    """The table."""
    return "\n".join([HEAD, *map(_row, seen)])


def _row(one: Seen) -> str:
    cells = (
        one.fault,
        one.title,
        f"{max(0.0, one.fell):.1%} less",
        f"{one.read_s_max * 1000:.0f} ms of {one.reads}" + (f", {one.failed_reads} failed" if one.failed_reads else ""),
        f"{one.calm_read_s_max * 1000:.0f} ms",
        f"{one.truth_s:.1f} s",
        one.told.partition("\n")[0][:80],
        f"{one.back_s:.1f} s",
        f"{one.late_s:.1f} s",
    )
    return "| " + " | ".join(cells) + " |"


def _is_beyond(one: Seen) -> bool:
    return bool(
        one.fell > FELL_MAX
        or one.read_s_max > READ_S_MAX
        or one.truth_s > TRUTH_S_MAX
        or one.late_s > LATE_S_MAX
        or one.failed_reads
    )


def _beyond(seen: Sequence[Seen]) -> str:
    names = [one.fault for one in seen if _is_beyond(one)]
    return f"Beyond what is promised: {'; '.join(names)}." if names else "All within what is promised."


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults_in_numbers", description="Faults, in numbers.")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="faults whose names have this word")
    parser.add_argument("--rate", type=float, default=1000.0, help="records a second of each source")
    parser.add_argument("--window", type=float, default=10.0, metavar="S", help="over which rates are taken, at least")
    parser.add_argument("--settle", type=float, default=2.0, metavar="S", help="all must have run so long before")
    parser.add_argument(
        "--warm-up", type=float, default=60.0, metavar="S", help="before the first: a fresh broker compiles as it runs"
    )
    parser.add_argument("--folder", type=Path, help="work here, and leave it")
    parser.add_argument("--json", type=Path, help="write all figures here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
