"""Why a partition takes nothing: what a cluster says of its replicas, and which of them can be reached at all.

Used by: engine.kafka.producer.
Not here: when it is asked (engine.pump.outside).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from engine.shm.waits import Cause, Trouble

__all__ = ["shortage_in", "unreachable"]

#: What closes a connection for want of a broker behind it does so sooner.
KEPT_SECONDS = 0.2


def shortage_in(topic: str, metadata: Any, wanted: int, away: Mapping[int, str]) -> Trouble | None:
    """The first partition of the topic that has no leader here, or fewer replicas in sync than it needs.

    metadata: a client's ClusterMetadata; wanted: the topic's `min.insync.replicas`; away: brokers that do not answer,
    each with its address and why. A cluster without controllers goes on calling those in sync that were so last.
    """
    for number, partition in sorted(metadata.topics[topic].partitions.items()):
        place, in_sync = f"topic {topic} partition {number}", len(partition.isrs)
        if partition.leader < 0:
            return Trouble(Cause.REPLICAS, f"{place} has no leader")
        if in_sync < wanted:
            return Trouble(Cause.REPLICAS, f"{place} has {in_sync} in sync of {wanted} that it needs")
        if partition.leader in away:
            which = f"broker {partition.leader} ({away[partition.leader]})"
            return Trouble(Cause.REPLICAS, f"{place} is led by {which}, which cannot be reached")
        lost = [broker for broker in partition.isrs if broker in away]
        if in_sync - len(lost) < wanted:
            which = ", ".join(f"broker {broker} ({away[broker]})" for broker in lost)
            why = f"{place} needs {wanted} in sync; of the {in_sync} last known these cannot be reached: "
            return Trouble(Cause.REPLICAS, why + which)
    return None


def unreachable(metadata: Any, seconds: float) -> dict[int, str]:
    """Brokers by id that refuse a connection or end it at once, each with its address and the reason.

    seconds: for all of them together. Of one that does not answer in its part of them nothing is said: it may be slow.
    """
    away = {}
    each = seconds / 2 / max(1, len(metadata.brokers))  # to connect, and to be kept
    for number, broker in metadata.brokers.items():
        try:
            with socket.create_connection((broker.host, broker.port), timeout=each) as connection:
                _be_kept(connection, min(KEPT_SECONDS, each))
        except TimeoutError:
            continue
        except OSError as error:
            away[number] = f"{broker.host}:{broker.port}, {error.strerror or error}"
    return away


def _be_kept(connection: socket.socket, seconds: float) -> None:
    """Raises OSError when the connection is closed at once, as by a proxy before a broker that is gone.

    A broker is silent until it is asked: then TimeoutError.
    """
    connection.settimeout(seconds)
    if not connection.recv(1):
        raise ConnectionError("it closes what is connected to it")
