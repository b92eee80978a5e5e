"""A TCP proxy of loopback with a bad day on request: it stalls, cuts, delays and slows what goes through it.

    with Proxy(folder, {proxy port: broker port}) as proxy:
        proxy.stall()          connections stay open, nothing moves
        proxy.cut()            connections are reset, new ones too
        proxy.delay(0.1)       each piece comes so many seconds later
        proxy.limit(100_000)   so many bytes a second and direction of a connection
        proxy.flow()           all is well again

A process of its own, because a thread of the tests would be as slow as the tests are. It is told what to do on its
control port, a line of JSON each.

Used by: cluster.py, and tests that put it before one broker by an `Entrance`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.harness.server import Server, answers, free_ports

__all__ = ["Proxy"]

ASK_S = 5.0
PIECE_BYTES = 65_536
ROOT = Path(__file__).parents[2]


class Weather(Struct, frozen=True):
    """What happens to all that goes through."""

    is_stalled: bool = False
    is_cut: bool = False
    delay_s: float = 0.0
    bytes_per_s: float = 0.0  # 0: no limit


class Proxy(Server):
    """The proxy as tests have it."""

    name = "proxy"
    ready_s = 20.0

    def __init__(self, folder: Path, routes: Mapping[int, int]) -> None:
        """routes: for each port that is listened on, the port of loopback that is meant."""
        super().__init__(folder)
        (self._control_port,) = free_ports(1)
        self.routes = dict(routes)

    def command(self) -> Sequence[str]:
        routes = [f"{here}:{there}" for here, there in self.routes.items()]
        run = "import sys; sys.path.append(sys.argv.pop(1)); from tests.harness import proxy; proxy.main()"
        return [sys.executable, "-c", run, str(ROOT), str(self._control_port), *routes]

    def is_ready(self) -> bool:
        return answers(self.flow, OSError)

    def flow(self) -> None:
        """Let everything through, at once."""
        self._become(Weather())

    def stall(self) -> None:
        """Hold back everything; nobody is told, and new connections are taken."""
        self._become(Weather(is_stalled=True))

    def cut(self) -> None:
        """Reset all connections, and each new one until `flow`."""
        self._become(Weather(is_cut=True))

    def delay(self, seconds: float) -> None:
        """Let each piece wait so long; a request and its answer are late by twice that."""
        self._become(Weather(delay_s=seconds))

    def limit(self, bytes_per_s: float) -> None:
        """Let so much through, of each connection in each direction."""
        self._become(Weather(bytes_per_s=bytes_per_s))

    def _become(self, weather: Weather) -> None:
        with socket.create_connection(("127.0.0.1", self._control_port), ASK_S) as asked:
            asked.sendall(msgspec.json.encode(weather) + b"\n")
            if asked.recv(1) != b"\n":
                raise ConnectionError("the proxy did not answer")


class Relay:
    """The proxy in its own process."""

    def __init__(self) -> None:
        self._weather = Weather()
        self._moves = asyncio.Event()
        self._moves.set()
        self._open: set[asyncio.StreamWriter] = set()

    async def obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one order."""
        self._weather = msgspec.json.decode(await reader.readline(), type=Weather)
        if self._weather.is_stalled:
            self._moves.clear()
        else:
            self._moves.set()
        if self._weather.is_cut:
            for one in list(self._open):
                one.transport.abort()
        writer.write(b"\n")
        writer.close()

    async def relay(self, there: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one connection with a new one to port `there`, until either ends."""
        self._open.add(writer)
        try:
            if self._weather.is_cut:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", there)
            self._open.add(far_writer)
            try:
                ways = (self._carry(reader, far_writer), self._carry(far_reader, writer))
                await asyncio.wait(map(asyncio.ensure_future, ways), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._open.discard(far_writer)
                far_writer.transport.abort()
        except OSError:
            pass  # the broker is away: this connection ends, as it would without us
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                await self._moves.wait()
                weather = self._weather
                wait_s = weather.delay_s + (len(piece) / weather.bytes_per_s if weather.bytes_per_s else 0.0)
                if wait_s:
                    await asyncio.sleep(wait_s)
                writer.write(piece)
                await writer.drain()


def main() -> None:
    """Serve: control port, then routes as `here:there`."""
    control, *routes = sys.argv[1:]
    asyncio.run(_serve(int(control), [tuple(map(int, route.split(":"))) for route in routes]))


async def _serve(control: int, routes: Sequence[Any]) -> None:
    relay = Relay()
    servers = [await asyncio.start_server(relay.obey, "127.0.0.1", control)]
    for here, there in routes:

        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: int = there) -> None:
            await relay.relay(there, reader, writer)

        servers.append(await asyncio.start_server(join, "127.0.0.1", here))
    await asyncio.gather(*(server.serve_forever() for server in servers))
