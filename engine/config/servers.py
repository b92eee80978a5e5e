"""Lists of brokers, checked before anybody waits for one of them.

Used by: the readers of worker keys and client settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["bad_servers"]

# As Kafka reads an address: a protocol, which is ignored, a host or an IPv6 address in brackets, a port.
_ADDRESS = re.compile(r"(?:[A-Za-z_0-9]+://)?(?P<host>\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]+)\Z")
_PORT_MAX = 65_535


def bad_servers(text: str) -> Iterator[tuple[str, str]]:
    """Each element of a list of servers that is none, and what was expected."""
    for part in filter(None, (part.strip() for part in text.split(","))):
        address = _ADDRESS.match(part)
        if address is None:
            yield part, "expected HOST:PORT"
        elif not 0 < int(address["port"]) <= _PORT_MAX:
            yield part, f"its port is {address['port']}; expected 1 to {_PORT_MAX}"
