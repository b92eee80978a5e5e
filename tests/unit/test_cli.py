"""Whatever ends the command early, a signal or the wrong machine, it ends with a sentence and a code."""

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
    done = ran(script)
    assert done.returncode == CODES[number]
    assert done.stderr == f"millrace: stopped by {number.name}\n"


@pytest.mark.slow
@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_elsewhere_than_on_linux_the_command_says_at_once_what_is_missing(system: str) -> None:
    # What Python has not there is taken away here: Linux's modules from both, the signal of a terminal from Windows.
    gone = ["fcntl", "resource", "termios", "pwd", "grp", "uvloop"] if system == "win32" else ["uvloop"]
    script = (
        "import os, sys, signal\n"
        f"sys.platform = {system!r}\n"
        f"sys.modules.update(dict.fromkeys({gone}))\n"
        "if sys.platform == 'win32': del signal.SIGHUP, os.memfd_create, os.fork\n"
        "from engine import cli\n"
        "sys.argv = ['millrace', 'run', 'nothing.toml']\n"
        "cli.main()\n"
    )
    done = ran(script)
    assert done.returncode == ExitCode.UNSUPPORTED
    assert done.stderr == f"millrace: Millrace needs Linux (memfd, eventfd, prctl); this is {system}\n"


def ran(script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
