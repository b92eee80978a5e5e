"""Each example does what its README says, run by the README's one command.

Brokers, topics and the demo's length are the test's, but where the command's own servers are tested.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.harness import topics, wait
from tests.harness.engine import Millrace
from tests.harness.examples import example_command, replaced, run_examples
from tests.harness.kafka import KafkaServer, UserKafka
from tests.shape.tree import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
EXAMPLES = ROOT / "examples"
#: In place of the 4,000,000 of the demo.
ORDERS = 100_000


def example(name: str, folder: Path, texts: Mapping[str, str]) -> Path:
    """A copy of an example's folder, with some texts of its files replaced."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy)
    for path in copy.glob("*.properties"):
        for old, new in texts.items():
            path.write_text(path.read_text().replace(old, new))
    return copy


def test_a_toml_pipeline_moves_the_cities_and_then_only_what_is_new(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    texts = {'"cities"': f'"{topic}"'}
    shown = run_examples(tmp_path, "toml-pipeline", "--kafka", kafka.bootstrap, *replaced(texts))
    _, copy, _, _, longer_copy = shown.lines
    cities = (EXAMPLES / "toml-pipeline" / "cities.txt").read_text().split()
    assert sorted(copy.split()) == sorted(cities)
    assert sorted(longer_copy.split()) == sorted([*cities, "Istanbul"])


def test_kafka_connects_own_files_move_lines_there_and_back(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    texts = {
        "localhost:9092": kafka.bootstrap,
        "connect-test": topic,
        "/tmp/connect.offsets": str(tmp_path / "connect.offsets"),
        "offset.flush.interval.ms": "listeners=http://127.0.0.1:0\noffset.flush.interval.ms",
    }
    source = example("file-to-topic", tmp_path, texts)
    sink = example("topic-to-file", tmp_path, texts)
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


@pytest.mark.long  # `millrace demo` runs the same pipeline: tests/kafka/test_embedded_line.py
def test_the_demos_pipeline_moves_its_orders_and_then_has_nothing_to_do(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    texts = demo_texts(topic, ORDERS)
    shown = run_examples(tmp_path, "demo", "--kafka", kafka.bootstrap, *replaced(texts))
    for moved, report in zip((ORDERS, 0), shown.lines, strict=True):
        assert f"{moved:,} records in, {moved:,} records out" in report
    # What the sink says of its checks.
    assert set(re.findall(r"out of order: (\d+), gaps: (\d+)", shown.log)) == {("0", "0")}


def demo_texts(topic: str, orders: int) -> dict[str, str]:
    return {
        'topic = "orders"': f'topic = "{topic}"',
        'topics = "orders"': f'topics = "{topic}"',
        "connect-orders": f"connect-{topic}",
        "4000000": str(orders),
    }


def test_the_example_plugin_moves_files(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    texts = {'"documents"': f'"{topic}"'}
    shown = run_examples(tmp_path, "plugin", "--kafka", kafka.bootstrap, *replaced(texts))
    assert {"paid by ***", "paid in cash"} <= set(shown.lines[-1].splitlines())
    assert "4111" not in shown.lines[-1]


def test_what_a_server_lacks_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with example_command(tmp_path, "plugin") as run:
        assert run.wait() == 1
        assert re.fullmatch(r"a real Kafka needs the program `java`, .*\n", run.stderr), run.stderr


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command makes its folders; open to PostgreSQL's own user, as those of tests are not."""
    with tempfile.TemporaryDirectory(prefix="millrace-") as name:
        monkeypatch.setenv("TMPDIR", name)
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.long
@pytest.mark.parametrize(
    "names",
    [
        ["file-to-topic", "topic-to-file"],
        pytest.param(["postgres", "postgres-changes"], marks=pytest.mark.postgres),
        pytest.param(["kongo"], marks=pytest.mark.cassandra),
    ],
    ids=" ".join,
)
def test_one_command_starts_the_servers_and_leaves_nothing(names: list[str], tmp_path: Path, there: Path) -> None:
    shown = run_examples(tmp_path, *names)
    last = shown.lines[-1]
    assert {"topic-to-file": "foo\nbar", "postgres-changes": "858 |    858", "kongo": "readings: 3456"}[
        names[-1]
    ] in last
    assert [*there.iterdir()] == []


@pytest.mark.long
def test_ctrl_c_ends_an_example_with_its_server(tmp_path: Path, there: Path) -> None:
    with example_command(tmp_path, "demo") as run:
        run.wait_for("check/0 task")
        (folder,) = there.iterdir()
        run.interrupt()
        assert run.wait() == 130, run.stderr
        assert run.roles() == {}
    assert [*there.iterdir()] == []
    assert processes_naming(folder) == []


def processes_naming(folder: Path) -> list[int]:
    """Those in whose command line a folder stands."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            named = os.fsencode(folder) in (place / "cmdline").read_bytes()
        except OSError:
            continue
        found += [int(place.name)] * named
    return found
