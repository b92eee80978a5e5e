"""Each transform and converter of Kafka Connect beside Kafka Connect's own class, function by function.

    python -m bench.micro                       all of them, some 8 minutes
    python -m bench.micro --only Cast --only Json --seconds 1

Both sides get the same records, 2,000 of them again and again, and each tells its fastest turn in processor time of
the thread that works, so that neither is charged for what else runs. Java's collector and compiler have threads of
their own and are not counted; what Python frees is. Here they come as a batch, there one after the other: as each side
is used.

Prints a table in Markdown, in microseconds a record.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.line.records import envelope, order_json
from bench.micro.cases import CHAIN, KINDS, ONE, RECORDS, be_as_a_task, columns, made
from converters.json import JsonConfig, JsonConverter
from converters.string import StringConverter
from engine.plugins.java_names import OURS
from engine.stages.transform import Step, fused, transform
from tests.harness.jars import java_command

JAVA = Path(__file__).with_name("ConnectTimes.java")
JAVA_OF = {ours: java for java, ours in OURS.items()}
NS = 1_000_000_000


class Case(Struct, frozen=True):
    """One row."""

    title: str
    java: tuple[str, ...]  # as ConnectTimes.java reads it, behind the title
    run: Callable[[], object]  # a batch of RECORDS


def main() -> int:
    """Measure both sides, and print the table."""
    options = _options()
    be_as_a_task()
    with tempfile.TemporaryDirectory(prefix="millrace-micro-") as folder:
        cases = [case for case in _cases(Path(folder)) if _is_wanted(case, options.only)]
        beside = _of_java(cases, Path(folder), options.seconds)
        print("| function | Connect, us | Millrace, us | times as fast |\n| --- | --- | --- | --- |")
        for case in cases:
            theirs, ours = beside[case.title] / 1000, _us_each(case.run, options.seconds)
            print(f"| {case.title} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f} |", flush=True)
    return 0


def _is_wanted(case: Case, words: list[str]) -> bool:
    return not words or any(word in case.title for word in words)


def _us_each(run: Callable[[], object], seconds: float) -> float:
    run()
    best = float("inf")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.thread_time()
        run()
        # Now and then the kernel accounts for a turn with the next one, and tells none for it.
        best = min(best, (time.thread_time() - begun) or best)
    return best / RECORDS * 1e6


def _of_java(cases: list[Case], folder: Path, seconds: float) -> Mapping[str, float]:
    """Nanoseconds a record by title."""
    file = folder / "cases.tsv"
    file.write_text("".join("\t".join((case.title, *case.java)) + "\n" for case in cases))
    command = java_command(str(JAVA), str(file), str(int(seconds * NS)), str(int(seconds * NS)))
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {title: float(told) for title, told in (line.split("\t") for line in done.stdout.splitlines())}


def _cases(folder: Path) -> Iterator[Case]:
    yield from _converters(folder)
    files = {kind: _write(folder / f"{kind}.json", _lines(kind)) for kind in KINDS}
    for kind in KINDS:
        for name, (transform_class, config) in ONE.items():
            if transform_class.__name__ in JAVA_OF:
                yield _transform(f"{name}, {kind}", kind, files[kind], [(transform_class, config)])
        yield _transform(f"InsertField, ReplaceField, MaskField in a chain, {kind}", kind, files[kind], list(CHAIN))


def _transform(title: str, kind: str, file: Path, steps: list[tuple[type[Any], dict[str, str]]]) -> Case:
    told: list[str] = []
    for transform_class, config in steps:
        told += [JAVA_OF[transform_class.__name__], "|".join(f"{key}={value}" for key, value in config.items())]
    chain = fused(Step(made(*step)) for step in steps)
    batch = columns(kind)
    assert transform(chain, batch).failed is None
    has_schema = str(kind == "struct").lower()
    return Case(title, ("transform", has_schema, str(file), *told), lambda: transform(chain, batch))


def _converters(folder: Path) -> Iterator[Case]:
    java, text = "org.apache.kafka.connect.json.JsonConverter", "org.apache.kafka.connect.storage.StringConverter"
    for title, write, has_schema in (("schemaless", order_json, False), ("with envelope", envelope, True)):
        lines = [write(number) for number in range(RECORDS)]
        file = _write(folder / f"{title}.json", lines)
        converter = _json(has_schema=has_schema)
        decoded = converter.to_connect("orders", lines)
        told = f"{java} schemas.enable={str(has_schema).lower()}"
        rest = (str(has_schema).lower(), str(file), told)
        yield Case(f"JSON {title}, read", ("in", *rest), _call(converter.to_connect, "orders", lines))
        written = _call(converter.from_connect, "orders", decoded.values, decoded.schemas)
        yield Case(f"JSON {title}, written", ("out", *rest), written)
    lines = [order_json(number) for number in range(RECORDS)]
    file = _write(folder / "text.json", lines)
    strings = StringConverter()
    decoded = strings.to_connect("orders", lines)
    rest = ("false", str(file), text)
    yield Case("String, read", ("in", *rest), _call(strings.to_connect, "orders", lines))
    yield Case(
        "String, written", ("out", *rest), _call(strings.from_connect, "orders", decoded.values, decoded.schemas)
    )


def _call(function: Callable[..., object], *arguments: Any) -> Callable[[], object]:
    return lambda: function(*arguments)


def _lines(kind: str) -> list[bytes]:
    """The records of the transforms, as Java reads them."""
    batch = columns(kind)
    encoded = _json(has_schema=kind == "struct").from_connect("orders", batch.values, batch.value_schemas)
    assert not encoded.failures
    return [value or b"" for value in encoded.payloads]


def _json(*, has_schema: bool) -> JsonConverter:
    converter = JsonConverter()
    converter.configure(JsonConfig(schemas_enable=has_schema))
    return converter


def _write(file: Path, lines: list[bytes]) -> Path:
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="functions whose names have it")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each function and side, and as long to warm up")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
