"""Files of all kinds become the same text by dotted key, and everything wrong in all of them is told at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.config.files import Pipeline, load, load_standalone


def written(folder: Path, **files: str) -> list[Path]:
    """Files of these names, with two underscores for the dot."""
    paths = []
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(text, "utf-8")
        paths.append(path)
    return paths


def problems_of(paths: list[Path]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(paths)
    return str(caught.value)


def loaded(folder: Path, text: str) -> Pipeline:
    return load(written(folder, p__toml=text))


def test_quoted_and_nested_keys_of_toml_mean_the_same(tmp_path: Path) -> None:
    pipeline = loaded(
        tmp_path,
        """
        [worker]
        "bootstrap.servers" = "kafka:9092"
        offset.flush.interval.ms = 1_000
        [worker.key]
        converter = "K"
        [connectors.copy]
        "connector.class" = "FileStreamSource"
        file = "a.txt"
        tasks.max = 1
        rate = 1.50
        big = inf
        on = true
        topics = ["a", "b"]
        [connectors.copy.producer.override]
        linger.ms = 5
        """,
    )
    assert pipeline.worker == {
        "bootstrap.servers": "kafka:9092",
        "offset.flush.interval.ms": "1000",
        "key.converter": "K",
    }
    (connector,) = pipeline.connectors
    assert connector.name == "copy"
    assert connector.properties == {
        "name": "copy",
        "connector.class": "FileStreamSource",
        "file": "a.txt",
        "tasks.max": "1",
        "rate": "1.50",
        "big": "Infinity",
        "on": "true",
        "topics": "a,b",
        "producer.override.linger.ms": "5",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[worker]\na = 1\na.b = 2\n", 'must be written in quotes, as "key.converter"'),
        ('[worker]\n"a.b" = 1\na.b = 2\n', '"a.b" is given twice'),
        ("[connector.x]\na = 1\n", 'unknown table or key "connector"; did you mean "connectors"?'),
        ("[connectors]\nx = 1\n", '"connectors.x" is not a table'),
        ("worker = 1\n", '"worker" is not a table'),
        ("[connectors.x]\nwhen = 2024-01-01\n", "is a date or time; expected it in quotes"),
        ('[connectors.x]\nl = ["a,b"]\n', "holds a comma"),
        ("[connectors.x]\nl = [[1]]\n", "a list within a list"),
        ("[connectors.x\n", "line 1"),
    ],
)
def test_mistakes_in_toml_are_told(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in problems_of(written(tmp_path, p__toml=text))


@pytest.mark.parametrize(
    "document",
    [
        {"name": "s", "connector.class": "C", "tasks.max": 2, "deep": True},
        {"name": "s", "config": {"connector.class": "C", "tasks.max": 2, "deep": True}},
        {"config": {"name": "s", "connector.class": "C", "tasks.max": "2", "deep": "true"}},
    ],
    ids=["flat", "create request", "name within"],
)
def test_json_has_the_forms_that_connect_standalone_takes(tmp_path: Path, document: dict[str, object]) -> None:
    (connector,) = load(written(tmp_path, c__json=json.dumps(document))).connectors
    assert connector.properties == {"name": "s", "connector.class": "C", "tasks.max": "2", "deep": "true"}
    assert connector.initial_state == "RUNNING"


def test_numbers_in_json_stay_the_text_they_are(tmp_path: Path) -> None:
    (connector,) = load(written(tmp_path, c__json='{"name": "s", "a": 1.50, "b": 1e3}')).connectors
    assert (connector.properties["a"], connector.properties["b"]) == ("1.50", "1e3")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "expected a JSON object"),
        ('{"name": "s",}', "line 1, column 14"),
        ('{"connector.class": "C"}', 'Missing required configuration "name"'),
        ('{"name": "s", "a": {}}', '"a" is an object'),
        ('{"name": "s", "a": [], "b": null}', '"b" is null'),
        ('{"name": "s", "config": {"name": "t"}}', "expected the same name in both"),
        ('{"name": "s", "config": {}, "initial_state": "ASLEEP"}', "expected one of RUNNING, PAUSED, STOPPED"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_mistakes_in_json_are_told(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in problems_of(written(tmp_path, c__json=text))


def test_properties_are_a_connectors_if_they_name_its_class(tmp_path: Path) -> None:
    pipeline = load(
        written(tmp_path, w__properties="bootstrap.servers=k:1\n", c__properties="name=c\nconnector.class=C\n")
    )
    assert pipeline.worker_file.endswith("w.properties")
    assert [connector.name for connector in pipeline.connectors] == ["c"]


def test_the_arguments_of_connect_standalone_say_which_file_is_the_workers(tmp_path: Path) -> None:
    worker, connector = written(tmp_path, worker="connector.class=misplaced\n", c="name=c\n")
    pipeline = load_standalone(worker, [connector])
    assert pipeline.worker == {"connector.class": "misplaced"}
    assert pipeline.connectors[0].name == "c"


def test_mistakes_in_several_files_are_told_together_each_with_its_file(tmp_path: Path) -> None:
    paths = written(
        tmp_path,
        a__toml="[workers]\n",
        b__json="{",
        c__properties="name=c\nconnector.class=C\nx=\\u1",
        d__yaml="a: b",
        e__properties="w=1",
        f__properties="w=2",
    )
    (tmp_path / "g.json").write_bytes(b'{"a":\n"\xff"}')
    text = problems_of([*paths, tmp_path / "g.json", tmp_path / "missing.toml"])
    for name, reason in (
        ("a.toml", 'did you mean "worker"?'),
        ("b.json", "expected JSON"),
        ("c.properties", "line 3, column 3"),
        ("d.yaml", "expected .toml, .properties or .json"),
        ("f.properties", "a second definition of the worker"),
        ("g.json", "line 2: byte 0xff is not UTF-8"),
        ("missing.toml", "cannot be read: No such file or directory"),
    ):
        assert any(name in line and reason in line for line in text.splitlines()), name


def test_two_connectors_of_one_name_are_refused_and_none_at_all_too(tmp_path: Path) -> None:
    paths = written(tmp_path, a__json='{"name": "x"}', b__json='{"name": "x"}')
    assert "a second connector of this name; the first is in" in problems_of(paths)
    assert "no connectors" in problems_of(written(tmp_path, w__properties="a=1"))
