"""`millrace password` prints a hash that fits, and nothing for what is no password."""

from __future__ import annotations

import io
import sys

import pytest

from engine import launch
from engine.config.passwords import read_hash
from engine.exits import ExitCode


def test_a_line_becomes_a_hash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("two words\n"))
    assert launch.hash_password() == ExitCode.OK
    assert read_hash(capsys.readouterr().out.strip()).fits("two words")


def test_nothing_is_no_password(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert launch.hash_password() == ExitCode.USAGE
    assert "expected one line" in capsys.readouterr().err
