"""A machine on which the ring would not be safe is refused by name, before anything is started."""

from __future__ import annotations

import platform
import re

import pytest

from engine import cli
from engine.exits import ExitCode
from engine.shm.segment import require_supported_platform


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_linux_on_x86_64_is_supported(machine: str) -> None:
    require_supported_platform("linux", machine)


@pytest.mark.parametrize(
    ("system", "machine", "told"),
    [
        ("darwin", "x86_64", "needs Linux (memfd, eventfd, prctl); this is darwin"),
        ("win32", "AMD64", "needs Linux (memfd, eventfd, prctl); this is win32"),
        ("linux", "aarch64", "needs an x86-64 processor; this is aarch64"),
        ("linux", "riscv64", "needs an x86-64 processor; this is riscv64"),
    ],
)
def test_what_is_missing_is_named(system: str, machine: str, told: str) -> None:
    with pytest.raises(OSError, match=re.escape(told)):
        require_supported_platform(system, machine)


def test_the_command_refuses_such_a_machine_whatever_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == ExitCode.UNSUPPORTED
    printed = capsys.readouterr()
    assert printed.err.startswith("millrace: Millrace needs an x86-64 processor; this is aarch64")
    assert printed.out == ""
