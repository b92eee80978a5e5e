"""Messages between two processes, whole and in order: between the supervisor and control, which neither may wait for.

    send ──► up to INLINE_BYTES in the packet itself ──────────────► receive
         └─► more: in a memfd, whose descriptor the packet carries ─►

A message that cannot be sent now is the sender's to keep. Whoever is dead leaves an end of file.

Used by: engine.supervisor.orders, engine.control.herding.
Not here: what messages say (engine.herder.model).
"""

from __future__ import annotations

import array
import os
import socket
from typing import Self

__all__ = ["Link", "LinkClosedError"]

INLINE_BYTES = 16 * 1024
#: Specifications of thousands of tasks are less.
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
_INLINE, _IN_MEMORY = b"i", b"m"


class LinkClosedError(Exception):
    """The other end is gone."""


class Link:
    """One end, never waiting."""

    def __init__(self, end: socket.socket) -> None:
        """end: of `pair`; owned from now on."""
        end.setblocking(False)
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """One end, and the socket of the other, for a process to be forked."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def fileno(self) -> int:
        """To wait for."""
        return self._end.fileno()

    def close(self) -> None:
        """Leave; the other end finds it closed."""
        self._end.close()

    def send(self, message: bytes) -> bool:
        """Send a message of 1 to MESSAGE_BYTES_MAX bytes; False: not now. Raises LinkClosedError."""
        assert 0 < len(message) <= MESSAGE_BYTES_MAX, f"{len(message)} bytes in a message"
        try:
            if len(message) <= INLINE_BYTES:
                self._end.send(_INLINE + message)
                return True
            return self._send_in_memory(message)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LinkClosedError(str(error)) from error

    def receive(self) -> bytes | None:
        """The next message; None: there is none now. Raises LinkClosedError."""
        descriptors: list[int] = []
        try:
            room = socket.CMSG_SPACE(array.array("i", [0]).itemsize)
            packet, ancillary, _, _ = self._end.recvmsg(INLINE_BYTES + 1, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            raise LinkClosedError(str(error)) from error
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors += array.array("i", data)
        try:
            if not packet:
                raise LinkClosedError("the other process is gone")
            return packet[1:] if packet[:1] == _INLINE else _read(descriptors[0])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _send_in_memory(self, message: bytes) -> bool:
        descriptor = os.memfd_create("millrace-message", os.MFD_CLOEXEC)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(message)
            socket.send_fds(self._end, [_IN_MEMORY], [descriptor])
        finally:
            os.close(descriptor)
        return True


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > MESSAGE_BYTES_MAX:
        raise LinkClosedError(f"a message of {size} bytes; at most {MESSAGE_BYTES_MAX} are taken")
    return os.pread(descriptor, size, 0)
