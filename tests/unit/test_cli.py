"""A signal ends the command with a sentence and a code, however early it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from engine.exits import ExitCode

CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.TERMINATED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "where"),
    [
        (signal.SIGTERM, "typer"),
        (signal.SIGINT, "engine.launch"),
        (signal.SIGINT, "typer"),
        (signal.SIGHUP, "engine.plan"),
    ],
)
def test_a_signal_while_the_command_is_still_being_imported_is_no_traceback(number: signal.Signals, where: str) -> None:
    # The moment is chosen by a finder of modules that sends the signal when that one is asked for.
    script = (
        "import os, sys, signal\n"
        "for number in (signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.default_int_handler)\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {where!r}: os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from engine import cli\n"
        "sys.argv = ['millrace', 'run', 'nothing.toml']\n"
        "cli.main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == CODES[number]
    assert done.stderr == f"millrace: stopped by {number.name}\n"
