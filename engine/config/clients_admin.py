"""The settings of the client that makes topics of dead letters, as Kafka Connect layers them.

    security.*, sasl.*, ssl.* of the worker ──► admin.* of the worker ──► admin.override.* of the connector

Kafka Connect's reference, section 3.4. What none of them says is as the letters' producer has it, unless one of them
says `security.protocol`: then nothing of the producer's counts but the brokers of the worker.

Used by: engine.config.clients.
Not here: the layers themselves (clients_layers.py), the producer's (clients_producer.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from engine.config.clients_draft import ClientSettings, Draft, Setting, check_servers
from engine.config.clients_layers import layered
from engine.config.clients_security import take_security
from engine.config.problems import raise_all
from engine.config.worker import WorkerConfig

__all__ = ["admin_settings"]

_PROTOCOL = "security.protocol"
#: Of the worker's keys without a prefix, those that say how to reach the cluster.
_OF_WORKER = ("security.", "sasl.", "ssl.")
#: Kafka Connect's name, without what its others have behind it.
CLIENT_ID = "connector-dlq-adminclient-"


def admin_settings(
    worker: Mapping[str, str],
    connector: Mapping[str, str],
    *,
    worker_config: WorkerConfig,
    producer: Mapping[str, Setting],
    name: str,
    file: str,
    worker_file: str,
    secrets: Collection[str],
) -> ClientSettings:
    """The client of one connector.

    producer: settings of the client that writes letters. secrets: values that came from a provider.
    Raises ConfigError with every problem.
    """
    draft = Draft("admin", secrets)
    own = {key: value for key, value in worker.items() if not key.startswith("admin.listeners")}
    given = layered("admin", own, connector, name, file, worker_file)
    if _PROTOCOL in given or _PROTOCOL in worker:
        inherited = {f"admin.{key}": value for key, value in worker.items() if key.startswith(_OF_WORKER)}
        of_worker = layered("admin", inherited, {}, name, file, worker_file)
        given = {**{target: replace(one, key=one.name) for target, one in of_worker.items()}, **given}
    has_protocol = _PROTOCOL in given
    check_servers(given, draft)
    take_security(given, draft)
    for setting in given.values():
        draft.take(setting)
    raise_all(draft.problems)
    base = {"bootstrap.servers": ",".join(worker_config.bootstrap_servers)} if has_protocol else producer
    return ClientSettings(
        settings={**base, "client.id": CLIENT_ID, **draft.settings},
        warnings=tuple(draft.warnings),
        secrets=tuple(sorted(draft.secrets)),
    )
