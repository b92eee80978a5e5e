"""The command leaves with the code that says how it went."""

from __future__ import annotations

import pytest

from engine import command_line
from engine.exits import ExitCode


def test_an_error_of_millrace_itself_has_a_code_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    def act() -> ExitCode:
        raise ZeroDivisionError("nobody thought of this")

    with pytest.raises(SystemExit) as left:
        command_line._leave(act)
    assert left.value.code == ExitCode.BUG
    assert "ZeroDivisionError: nobody thought of this" in caplog.text


def test_any_other_code_is_what_the_command_answers() -> None:
    with pytest.raises(SystemExit) as left:
        command_line._leave(lambda: ExitCode.LOCKED)
    assert left.value.code == ExitCode.LOCKED
