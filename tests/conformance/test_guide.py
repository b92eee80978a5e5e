"""The connectors of the plugin guide keep what it tells of: they pass the suites, as they stand on the page."""

from __future__ import annotations

import sqlite3
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.api.testing import SinkCase, SinkSuite, SourceCase, SourceSuite
from tests.shape.tree import ROOT

GUIDE = ROOT / "docs" / "plugin-guide.md"
COUNT = 40


def example(suite: str) -> types.ModuleType:
    """The block of code behind a mark, as a module."""
    mark = f"<!-- tests/conformance/test_guide.py holds this to the suite of {suite}. -->"
    module = types.ModuleType(f"guide_{suite}")
    sys.modules[module.__name__] = module  # where types look up their annotations
    exec(GUIDE.read_text().partition(mark)[2].partition("```python\n")[2].partition("```")[0], module.__dict__)
    return module


def asked(path: Path, statement: str, rows: list[tuple[Any, ...]] | None = None) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    with connection:
        found = connection.execute(statement) if rows is None else connection.executemany(statement, rows)
        answer = found.fetchall()
    connection.close()
    return answer


class TestNotes(SourceSuite):
    connector = example("sources").NotesConnector

    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        path = tmp_path / "notes.db"
        asked(path, "CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)")
        add = "INSERT INTO notes (note) VALUES (?)"
        asked(path, add, [(f"note {number}",) for number in range(COUNT)])
        more: Callable[[], object] = lambda: asked(path, add, [("one more",)])  # noqa: E731
        return SourceCase(config={"topic": "t", "database": str(path), "batch.size": "7"}, count=COUNT, more=more)


class TestNotesSink(SinkSuite):
    connector = example("sinks").NotesSinkConnector

    @pytest.fixture
    def case(self, tmp_path: Path) -> SinkCase:
        path = tmp_path / "notes.db"

        def written() -> list[int]:
            notes = asked(path, "SELECT note FROM notes WHERE note LIKE 'value %'")
            return [int(note.partition(" ")[2]) for (note,) in notes]

        return SinkCase(config={"database": str(path)}, written=written, bad_values=[7, None], is_once=True)
