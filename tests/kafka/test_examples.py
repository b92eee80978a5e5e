"""Each example does what its README says: brokers, topics, the store's place and the demo's length are the test's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.shape.tree import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
#: In place of the 4,000,000 of the demo.
ORDERS = 100_000
SUFFIXES = (".toml", ".properties", ".json")


def example(name: str, folder: Path, replaced: Mapping[str, str]) -> Path:
    """A copy of an example's folder, with some texts of its files replaced; each of them must be there."""
    copy = folder / name
    shutil.copytree(ROOT / "examples" / name, copy)
    files = [path for path in copy.iterdir() if path.suffix in SUFFIXES]
    for old, new in replaced.items():
        assert any(old in path.read_text() for path in files), f"{old} is nowhere in {name}"
        for path in files:
            path.write_text(path.read_text().replace(old, new))
    return copy


def test_a_toml_pipeline_moves_the_cities_and_then_only_what_is_new(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    folder = example("toml-pipeline", tmp_path, {"localhost:9092": kafka.bootstrap, '"cities"': f'"{topic}"'})
    cities = (folder / "cities.txt").read_text().splitlines()
    for more in ([], ["Istanbul"]):
        cities += more
        (folder / "cities.txt").write_text("".join(f"{city}\n" for city in cities))
        with Millrace("run", "pipeline.toml", folder=folder) as millrace:
            assert millrace.wait() == 0, millrace.stderr
        assert sorted((folder / "copy.txt").read_text().splitlines()) == sorted(cities)


def test_kafka_connects_own_files_move_lines_there_and_back(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    replaced = {
        "localhost:9092": kafka.bootstrap,
        "connect-test": topic,
        "/tmp/connect.offsets": str(tmp_path / "connect.offsets"),
    }
    source = example("file-to-topic", tmp_path, replaced)
    sink = example("topic-to-file", tmp_path, replaced)
    with Millrace("standalone", "worker.properties", "connect-file-source.properties", folder=source) as millrace:
        wait.until(lambda: sum(topics.end_offsets(kafka.bootstrap, topic).values()) == 2, "two records", timeout_s=30)
        with (source / "test.txt").open("a") as file:
            file.write("baz\n")
        wait.until(
            lambda: sum(topics.end_offsets(kafka.bootstrap, topic).values()) == 3,
            "the line that was added",
            timeout_s=30,
        )
        millrace.interrupt()
        assert millrace.wait() == 130, millrace.stderr
    assert not (tmp_path / "connect.offsets").exists()
    with Millrace("run", "worker.properties", "connect-file-sink.properties", folder=sink) as millrace:
        assert millrace.wait() == 0, millrace.stderr
    assert sorted((sink / "test.sink.txt").read_text().splitlines()) == ["bar", "baz", "foo"]


def test_the_demos_pipeline_moves_its_orders_and_then_has_nothing_to_do(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    replaced = {
        "localhost:9092": kafka.bootstrap,
        'topic = "orders"': f'topic = "{topic}"',
        'topics = "orders"': f'topics = "{topic}"',
        "connect-orders": f"connect-{topic}",
        "4000000": str(ORDERS),
    }
    folder = example("demo", tmp_path, replaced)
    for moved in (ORDERS, 0):
        with Millrace("run", "pipeline.toml", folder=folder) as millrace:
            assert millrace.wait() == 0, millrace.stderr
            assert f"{moved:,} records in, {moved:,} records out" in millrace.stdout
        # What the sink says of its checks.
        assert set(re.findall(r"out of order: (\d+), gaps: (\d+)", millrace.stderr)) == {("0", "0")}


def test_the_example_plugin_moves_files(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    folder = example("plugin", tmp_path, {"localhost:9092": kafka.bootstrap, '"documents"': f'"{topic}"'})
    with Millrace("run", "pipeline.toml", folder=folder, environment={"PYTHONPATH": "."}) as millrace:
        assert millrace.wait() == 0, millrace.stderr
    texts = [path.read_text().strip() for path in (folder / "outbox").iterdir()]
    assert sorted(texts) == ["paid by ***", "paid in cash"]
