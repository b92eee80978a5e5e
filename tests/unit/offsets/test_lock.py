"""A store belongs to one worker at a time: the next one waits for it, and is refused in the end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.exits import ExitCode, LockedError, code_of_error
from engine.offsets.store import lock


def test_a_store_that_another_worker_has_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "offsets"
    held = lock(path, 0.0)
    with pytest.raises(LockedError, match="another Millrace worker uses the store") as refused:
        lock(path, 0.1)
    assert str(path) in str(refused.value)
    assert code_of_error(refused.value) == ExitCode.LOCKED
    os.close(held)
    os.close(lock(path, 0.0))


def test_a_worker_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "offsets"
    held = lock(path, 0.0)
    ending = threading.Timer(0.2, os.close, [held])
    ending.start()
    os.close(lock(path, 30.0))
    ending.join()
