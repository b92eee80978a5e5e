"""A file with values of a configuration that changes is due once; what is asked for anew replaces what was."""

from __future__ import annotations

from pathlib import Path

from engine.config.freshness import version_of
from engine.control.changes import Changes
from engine.herder.model import Due, RemindOnChange


def asked(path: Path, generation: int = 1) -> RemindOnChange:
    return RemindOnChange({str(path): version_of(str(path))}, Due("orders", generation))


def test_a_change_is_due_once(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old")
    changes = Changes()
    changes.add(asked(secret))
    assert changes.found() == []
    secret.write_text("newer")
    assert changes.found() == [Due("orders", 1)]
    assert changes.found() == []


def test_a_change_before_it_was_looked_at_is_seen(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    seen = asked(secret)
    secret.write_text("there now")
    changes = Changes()
    changes.add(seen)
    assert changes.found() == [Due("orders", 1)]


def test_what_is_asked_anew_replaces_what_was(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    changes = Changes()
    changes.add(asked(old))
    changes.add(asked(new, generation=2))
    old.write_text("changed")
    assert changes.found() == []
    new.write_text("changed")
    assert changes.found() == [Due("orders", 2)]
