"""The connectors of the plugin guide keep what it tells of: they pass the suites, by the tests that stand there."""

from __future__ import annotations

import sqlite3
import sys
import types
from pathlib import Path

import pytest

from engine.api.errors import RetriableError
from engine.api.testing import FakeSourceContext
from tests.shape.tree import ROOT

GUIDE = ROOT / "docs" / "plugin-guide.md"
#: What the guide's tests call the module with its connectors.
NOTES = types.ModuleType("notes")


def run(sentence: str, module: types.ModuleType) -> types.ModuleType:
    """The block of code behind a mark, in a module."""
    mark = f"<!-- tests/conformance/test_guide.py {sentence}. -->"
    sys.modules[module.__name__] = module  # where types look up their annotations
    exec(GUIDE.read_text().partition(mark)[2].partition("```python\n")[2].partition("```")[0], module.__dict__)
    return module


for kind in ("sources", "sinks"):
    run(f"holds this to the suite of {kind}", NOTES)
TESTS = run("runs this", types.ModuleType("test_notes"))
TestNotes = TESTS.TestNotes
TestNotesSink = TESTS.TestNotesSink


def test_a_database_that_cannot_be_opened_may_come_and_a_wrong_statement_does_not_pass(tmp_path: Path) -> None:
    source = NOTES.NotesTask()
    source.initialize(FakeSourceContext())
    source.start({"topic": "t", "database": str(tmp_path)})
    with pytest.raises(RetriableError, match="cannot be read"):
        source.poll()
    source.start({"topic": "t", "database": str(tmp_path / "empty.db")})
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        source.poll()
    sink = NOTES.NotesSinkTask()
    sink.start({"database": str(tmp_path)})
    with pytest.raises(RetriableError, match="cannot be written"):
        sink.run(lambda: None)
    sink.start({"database": str(tmp_path / "empty.db")})
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        sink.run(lambda: sink.connection.execute("SELECT * FROM absent"))


def test_the_sink_reads_what_is_stored_within_its_transaction(tmp_path: Path) -> None:
    sink = NOTES.NotesSinkTask()
    sink.start({"database": str(tmp_path / "notes.db")})
    states: list[bool] = []
    sink.run(lambda: states.append(sink.connection.in_transaction))
    states.append(sink.connection.in_transaction)
    sink.stop()
    assert states == [True, False]
