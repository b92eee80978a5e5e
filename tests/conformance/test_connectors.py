"""Connectors that need no server, and those of the examples' plugin, keep what every connector keeps.

The suites are the contract's own (engine.api.testing). Connectors of a server inherit them beside it: tests/postgres,
tests/cassandra.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from millrace_folders.sink import FolderSinkConnector
from millrace_folders.source import FolderSourceConnector

from connectors.file.sink import FileStreamSinkConnector
from connectors.file.source import FileStreamSourceConnector
from connectors.generator.source import GeneratorSourceConnector
from connectors.null import NullSinkConnector
from engine.api.config import keys_of
from engine.api.testing import ConnectorSuite, SinkCase, SinkSuite, SourceCase, SourceSuite
from tests.shape.tree import ROOT

COUNT = 24
NUMBERED = re.compile(r"value (\d+)")


class TestFileStreamSource(SourceSuite):
    connector = FileStreamSourceConnector

    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        path = tmp_path / "lines.txt"
        ends = ("\n", "\r\n") * (COUNT // 2)
        path.write_text("".join(f"Zeile für {number}{end}" for number, end in enumerate(ends)))

        def more() -> None:
            with path.open("a") as file:
                file.write("one more\n")

        config = {"topic": "t", "file": str(path), "batch.size": "7"}
        return SourceCase(config=config, count=COUNT, more=more)


class TestGenerator(SourceSuite):
    connector = GeneratorSourceConnector

    @pytest.fixture
    def case(self) -> SourceCase:
        config = {"topic": "t", "records": str(COUNT), "batch.size": "7", "key": "sequence"}
        return SourceCase(config=config, count=COUNT, has_end=True, bad={"size.min": "1"})


class TestFolderSource(SourceSuite):
    connector = FolderSourceConnector

    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        for number in range(COUNT):
            (tmp_path / f"{number:04}.txt").write_text(f"file {number}")
        config = {"topic": "t", "folder": str(tmp_path), "batch.files": "7"}
        more = (tmp_path / f"{COUNT:04}.txt").touch
        return SourceCase(config=config, count=COUNT, more=more, bad={"folder": str(tmp_path / "none such")})


class TestFileStreamSink(SinkSuite):
    connector = FileStreamSinkConnector

    @pytest.fixture
    def case(self, tmp_path: Path) -> SinkCase:
        path = tmp_path / "out.txt"
        return SinkCase(config={"file": str(path)}, written=lambda: numbers_in(path.read_text()))


class TestNullSink(SinkSuite):
    connector = NullSinkConnector

    @pytest.fixture
    def case(self) -> SinkCase:
        return SinkCase(config={}, written=None)


class TestFolderSink(SinkSuite):
    connector = FolderSinkConnector

    @pytest.fixture
    def case(self, tmp_path: Path) -> SinkCase:
        def written() -> list[int]:
            return [number for path in tmp_path.iterdir() for number in numbers_in(path.read_text())]

        return SinkCase(config={"folder": str(tmp_path)}, written=written, is_once=True)


def numbers_in(text: str) -> list[int]:
    return [int(found[1]) for line in text.splitlines() if (found := NUMBERED.fullmatch(line))]


POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["millrace.connectors"]
PAGES = "".join(path.read_text() for path in (ROOT / "docs" / "connectors").glob("*.md"))


def test_every_connector_is_held_to_its_suite() -> None:
    places = (__name__, "tests.cassandra.test_conformance", "tests.postgres.test_conformance")
    suites = [kind for place in places for kind in vars(importlib.import_module(place)).values() if is_suite(kind)]
    held = {f"{suite.connector.__module__}:{suite.connector.__name__}" for suite in suites}
    assert {*POINTS.values()} <= held


@pytest.mark.parametrize("name", POINTS)
def test_every_key_of_a_connector_is_on_its_page(name: str) -> None:
    module, _, kind = POINTS[name].partition(":")
    keys = keys_of(getattr(importlib.import_module(module), kind).config)
    assert [key.name for key in keys if not re.search(f"`{re.escape(key.name)}[`=]", PAGES)] == []


def is_suite(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, ConnectorSuite) and hasattr(kind, "connector")
