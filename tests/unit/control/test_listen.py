"""A listener is on all interfaces, and one that cannot be had is told of by key, port and way out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from engine.api.errors import ConfigError
from engine.control.listen import open_listener


def test_it_is_reached_on_every_interface() -> None:
    with open_listener(0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        if listener.family == socket.AF_INET6:
            socket.create_connection(("::1", port), timeout=5).close()


def test_it_is_reached_on_one_interface_if_that_is_asked_for() -> None:
    with open_listener(0, "127.0.0.1") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_child_of_another_program_does_not_inherit_it() -> None:
    with open_listener(0) as listener:
        assert not os.get_inheritable(listener.fileno())


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with open_listener(0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError) as refusal:
            open_listener(port)
    (problem,) = refusal.value.problems
    assert problem.key == "metrics.port"
    assert problem.message == (
        f"Invalid value {port} for configuration metrics.port: another program listens there; "
        "choose another port, or 0 for one that is free"
    )


def test_importing_it_imports_no_web_server() -> None:
    # The supervisor imports it; what a child needs alone is imported in the child.
    code = "import engine.control.listen, engine.control.main, sys; print({'asyncio', 'uvicorn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
