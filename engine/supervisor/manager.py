"""What a service manager hears of the worker: that it is ready, that it stops, and that its loop turns.

    READY=1      all lines that the worker begins with are started, and its listeners take connections
    WATCHDOG=1   twice in the time after which the manager (`WatchdogSec=`) takes it for hung
    STOPPING=1   it was asked to stop

systemd's protocol, a datagram of text for each. Who does not listen is not waited for. A manager may hold listening
sockets for the worker (`.socket` units), so that no client is refused while one life follows another.

Used by: engine.supervisor.loop; engine.launch reads the environment; engine.boot takes the sockets.
Source: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping, Sequence

from engine.clock import Clock, SystemClock

__all__ = ["Manager"]


#: Of the sockets that it hands on.
FIRST_DESCRIPTOR = 3


class Manager:
    """The one who has started the worker, or nobody."""

    def __init__(
        self,
        address: str = "",
        watchdog_ns: int = 0,
        clock: Clock | None = None,
        listeners: Sequence[socket.socket] = (),
    ) -> None:
        """address: of its socket; empty: nobody listens. watchdog_ns: 0: it does not watch. listeners: held by it."""
        self._listeners = {one.getsockname()[1]: one for one in listeners if one.family != socket.AF_UNIX}
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._pause_ns = watchdog_ns // 2
        self._clock = clock or SystemClock()
        self._next_ns = 0
        self._socket: socket.socket | None = None

    @classmethod
    def of(cls, environment: MutableMapping[str, str], first_descriptor: int = FIRST_DESCRIPTOR) -> Manager:
        """Who the variables say; they are taken out, since they are meant for this process and no child of it."""
        own = str(os.getpid())
        environment.pop("LISTEN_FDNAMES", None)
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us, watched = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", own)
        count, listening = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
        numbers = range(int(count)) if count.isdecimal() and listening == own else range(0)
        return cls(
            address,
            int(watchdog_us) * 1000 if watchdog_us.isdecimal() and watched == own else 0,
            listeners=[socket.socket(fileno=first_descriptor + number) for number in numbers],
        )

    def listener(self, port: int) -> socket.socket | None:
        """The socket of this port that it holds; None: the worker opens one of its own."""
        return self._listeners.get(port)

    def ready(self, text: str) -> None:
        """The worker works. text: for `systemctl status`."""
        self._tell(f"READY=1\nSTATUS={text}")

    def stopping(self, text: str) -> None:
        """It was asked to end."""
        self._tell(f"STOPPING=1\nSTATUS={text}")

    def alive(self) -> None:
        """The loop turns; told as often as the watchdog wants it. Call it in each turn."""
        if not self._pause_ns:
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + self._pause_ns
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError):  # it is gone, or its queue is full: the work goes on
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.sendto(message.encode(), self._address)
