"""The benchmark refuses a result that is not whole, and its rate is that of the window it names."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import fastavro
import msgspec
import pytest

from bench.line.check import check_file, check_topic
from bench.line.records import (
    CHAINED_MAP,
    CHAINED_STRUCT,
    ENVELOPE,
    FIRST_ID,
    MAP,
    STRUCT,
    TEXT,
    Form,
    order_json,
    sum_of_ids,
)
from bench.line.registry import SCHEMA, SINK, avro_order
from bench.line.tally import Tally, read_tally
from bench.line.throughput import THREE_TRANSFORMS
from bench.line.watch import Curve
from engine.api import java_text
from engine.api.testing import FakeSinkContext, sink_batch
from engine.plugins.catalog import discover
from engine.plugins.loading import load

RECORDS, PARTITIONS = 40, 4


class Order(msgspec.Struct):
    """What is counted has an id."""

    id: int


def lines_of(form: Form) -> list[bytes]:
    return [form.write(number) for number in range(RECORDS)]


def write(file: Path, lines: list[bytes]) -> Path:
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


@pytest.mark.parametrize("form", [TEXT, MAP, STRUCT, ENVELOPE, CHAINED_MAP, CHAINED_STRUCT])
def test_every_record_of_a_form_has_the_same_size(form: Form) -> None:
    assert {len(form.write(number)) for number in (0, 1, 9_972, 1_999_999)} == {form.bytes_each}


def test_a_whole_file_passes_however_its_partitions_are_mixed(tmp_path: Path) -> None:
    by_partition = sorted(range(RECORDS), key=lambda number: number % PARTITIONS)
    check_file(write(tmp_path / "f", [TEXT.write(number) for number in by_partition]), TEXT, RECORDS, PARTITIONS)


def test_the_fields_of_a_printed_map_may_have_any_order(tmp_path: Path) -> None:
    turned = [b"{%s}" % b", ".join(reversed(line[1:-1].split(b", "))) for line in lines_of(MAP)]
    check_file(write(tmp_path / "f", turned), MAP, RECORDS, PARTITIONS)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda lines: lines[:-1], "missing"),
        (lambda lines: [*lines, lines[7]], "repeated"),
        (lambda lines: [lines[4], *lines[1:4], lines[0], *lines[5:]], "out of order"),
        (lambda lines: [lines[0].replace(b"ring", b"sing"), *lines[1:]], "content"),
    ],
)
def test_a_spoiled_file_is_refused(tmp_path: Path, spoil: Callable[[list[bytes]], list[bytes]], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_file(write(tmp_path / "f", spoil(lines_of(TEXT))), TEXT, RECORDS, PARTITIONS)


def test_a_topic_is_whole_wherever_its_records_went_and_refused_when_one_is_late() -> None:
    lines = lines_of(TEXT)
    check_topic({0: lines[:30], 1: lines[30:], 2: []}, TEXT, RECORDS)
    with pytest.raises(AssertionError, match="partition 0 is not in order"):
        check_topic({0: [*lines[1:], lines[0]]}, TEXT, RECORDS)


def test_the_three_transforms_leave_what_their_forms_say() -> None:
    order = {"id": 10_000_003, "customer": "c-1", "item": "item-0003", "quantity": 4, "price": 13.75, "note": "n"}
    steps = []
    for name in THREE_TRANSFORMS["transforms"].split(","):
        prefix = f"transforms.{name}."
        keys = {key.removeprefix(prefix): value for key, value in THREE_TRANSFORMS.items() if key.startswith(prefix)}
        made = discover().find("transform", keys.pop("type"))()
        made.configure(made.config.parse(keys))
        steps.append(made)
    record = sink_batch([order | {"express": True}])[0]
    for step in steps:
        record = step.apply(record)
    assert CHAINED_MAP.canonical is not None
    assert CHAINED_MAP.canonical(java_text.text(record.value).encode()) == CHAINED_MAP.write(3)


def test_a_tally_has_records_and_the_sum_of_their_ids(tmp_path: Path) -> None:
    file = tmp_path / "tally"
    assert read_tally(file) == (0, 0)
    task = load(SINK).task()
    task.initialize(FakeSinkContext())
    task.start({"file": str(file)})
    orders = [Order(FIRST_ID + number) for number in range(5)]
    task.put(sink_batch(orders[:3]))
    task.put(sink_batch(orders[3:]))
    task.stop()
    assert read_tally(file) == (5, sum_of_ids(5))
    Tally(file).close()
    assert read_tally(file) == (0, 0)


def test_an_order_in_avro_is_what_a_plain_loop_reads() -> None:
    written = avro_order(7)(5)
    assert written[:5] == b"\0\0\0\0\7"
    read = fastavro.schemaless_reader(io.BytesIO(written[5:]), fastavro.parse_schema(SCHEMA), None)
    assert read == msgspec.json.decode(order_json(5))


def test_a_slow_start_and_a_slow_end_are_outside_the_window() -> None:
    # 100 records: 5 in ten seconds, 92 in one, 3 in ten; a CPU second in every second.
    times = [0.0, 10.0, 11.0, 21.0]
    curve = Curve(100, times, [0, 5, 97, 100], times, times)
    assert curve.rate(100) == pytest.approx(92.0)
    assert curve.cpu_us(100) == pytest.approx(1e6 / 92)
