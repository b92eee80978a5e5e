"""The listening socket: opened by the supervisor, so that a restarted control process refuses nobody.

Used by: engine.boot (opens); the control process serves.
Not here: HTTP (app.py).
"""

from __future__ import annotations

import errno
import socket

from engine.api.errors import ConfigError, Problem

__all__ = ["open_listener"]

KEY = "metrics.port"
#: Connections that may wait while control is started again.
BACKLOG = 128
_REASONS = {
    errno.EADDRINUSE: "another program listens there; choose another port, or 0 for one that is free",
    errno.EACCES: "only root may listen below 1024; choose a higher port",
}


def open_listener(port: int, host: str = "", key: str = KEY) -> socket.socket:
    """Listen on a port; what connects from now on waits until somebody accepts.

    port: 0: one that is free. host: empty: all interfaces, as Prometheus' exporters do. key: that names the port.
    Raises ConfigError that says why it cannot be had.
    """
    try:
        return _listen(port, host)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        message = f"Invalid value {port} for configuration {key}: {reason}"
        raise ConfigError([Problem(key, message)]) from error


def _listen(port: int, host: str) -> socket.socket:
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # IPv6 is known here, but switched off
                raise
    return socket.create_server(("", port), backlog=BACKLOG)
