"""The soak as one command; it prints what grows and ends with 1 when anything does, or cannot be told not to.

python -m tests.soak --minutes 60                      at 70 % of the most that this machine takes
python -m tests.soak --minutes 60 --rate-max 20000     with a bound on that, on a machine that others use too
python -m tests.soak --minutes 60 --json soak.json     all samples as well
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.soak.run import Settings, Soak, soak

UNITS = {"memory": (1e6, "MB"), "store": (1e6, "MB")}


def main() -> int:
    """Soak, and say what was seen."""
    options = _options()
    settings = Settings(
        minutes=options.minutes,
        strike_every_s=options.strike_every,
        look_every_s=options.look_every,
        load=options.load,
        rate_max=options.rate_max,
    )
    with contextlib.ExitStack() as stack:
        folder = options.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-soak-"))
        seen = soak(Path(folder), settings, lambda text: print(text, file=sys.stderr, flush=True))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(seen)))
    print(as_text(seen))
    return 0 if set(seen.with_verdict("nil")) == set(seen.slopes) else 1


def as_text(seen: Soak) -> str:
    """The run in a sentence, and a row of a table for each figure."""
    told = (
        f"{seen.seconds / 60:.1f} minutes at {seen.rate_per_s:,.0f} records a second (at most: "
        f"{seen.full_rate_per_s:,.0f}), {seen.restarts} restarts, the longest {seen.back_s_max:.2f} s; "
        f"{seen.records:,} records, all came, {seen.came_again:,} twice (told: at most "
        f"{seen.report['repeated_at_most']:,})."
    )
    lines = [
        told,
        "",
        "| figure | mean | slope an hour | its standard error | verdict |",
        "|---|---|---|---|---|",
    ]
    for name, line in seen.slopes.items():
        scale, unit = next((unit for begin, unit in UNITS.items() if name.startswith(begin)), (1.0, ""))
        mean, rise, error = (
            f"{value / scale:.2f} {unit}".strip() for value in (line.mean, line.per_hour, line.error_per_hour)
        )
        lines.append(f"| {name} | {mean} | {rise} | {error} | {line.verdict} |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A long run with restarts: what grows?")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--strike-every", type=float, default=60.0, metavar="S", help="seconds between restarts")
    parser.add_argument("--look-every", type=float, default=10.0, metavar="S", help="seconds between samples")
    parser.add_argument("--load", type=float, default=0.7, help="part of the most that was found")
    parser.add_argument("--rate-max", type=float, help="records a second at most, whatever that part is")
    parser.add_argument("--folder", type=Path, help="work here, and leave it: logs, store, topic")
    parser.add_argument("--json", type=Path, help="write all samples and slopes here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
