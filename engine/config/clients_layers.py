"""Which settings a client is given, by whom: the worker's for all clients of a kind, over them the connector's own.

    producer.linger.ms=5                    the worker's: for the producers of all sources
    producer.override.linger.ms=20          a connector's: for its own, if the worker's policy lets it

Kafka Connect's reference, section 3.4. The worker's keys without a prefix reach neither producers nor consumers.

Used by: clients_consumer.py, clients_producer.py, clients_draft.py, clients_security.py, clients_idle.py.
Not here: what a setting means.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from engine.api.errors import Problem
from engine.config.clients_java import RENAMED, RENAMED_OF
from engine.config.clients_table import ALIASES

__all__ = ["Given", "idle_overrides", "layered", "override_problems"]

_POLICY_PACKAGE = "org.apache.kafka.connect.connector.policy."
_POLICY_ENDING = "ConnectorClientConfigOverridePolicy"
#: What each policy lets a connector override; None: everything.
_POLICIES: Mapping[str, frozenset[str] | None] = {
    "All": None,
    "None": frozenset(),
    "Principal": frozenset({"security.protocol", "sasl.jaas.config", "sasl.mechanism"}),
}
_OVERRIDES = ("producer.override.", "consumer.override.", "admin.override.")


class Given(Struct, frozen=True):
    """One setting as a file gives it."""

    key: str  # as written
    name: str  # without its prefix
    target: str  # librdkafka's name for it, where it has one; else `name`
    value: str  # trimmed
    connector: str = ""  # empty: the worker's
    file: str = ""


def layered(
    client: str, worker: Mapping[str, str], connector: Mapping[str, str], name: str, file: str, worker_file: str
) -> dict[str, Given]:
    """What the files say, by librdkafka's name where it has one; of one setting said twice, the connector's."""
    given: dict[str, Given] = {}
    for properties, prefix, owner, source in (
        (worker, f"{client}.", "", worker_file),
        (connector, f"{client}.override.", name, file),
    ):
        for key, value in properties.items():
            if key.startswith(prefix) and len(key) > len(prefix):
                setting = key[len(prefix) :]
                target = _target(client, setting)
                given[target] = Given(key, setting, target, value.strip(), owner, source)
    return given


def override_problems(policy: str, connector: Mapping[str, str], name: str, file: str) -> list[Problem]:
    """What the worker's policy forbids of a connector's overrides, for all its clients."""
    alias = policy.removeprefix(_POLICY_PACKAGE).removesuffix(_POLICY_ENDING)
    if alias not in _POLICIES:
        key = "connector.client.config.override.policy"
        message = f"Invalid value {policy} for configuration {key}: expected one of {', '.join(_POLICIES)}"
        return [Problem(key, message)]
    permitted = _POLICIES[alias]
    if permitted is None:
        return []
    return [
        Problem(
            key,
            f"{key}: the worker's connector.client.config.override.policy, {alias}, does not let connectors override it"
            + (f"; it permits {', '.join(sorted(permitted))}" if permitted else ""),
            name,
            file,
        )
        for key in connector
        if key.startswith(_OVERRIDES) and key.split(".override.", 1)[1] not in permitted
    ]


def idle_overrides(connector: Mapping[str, str], clients: Collection[str]) -> list[str]:
    """Warnings of overrides for clients that a connector has not. clients: it has these."""
    return [
        f"{key} has no effect: this connector has no {client}"
        for key in connector
        for client in ("producer", "consumer", "admin")
        if client not in clients and key.startswith(f"{client}.override.")
    ]


def _target(client: str, setting: str) -> str:
    own = RENAMED_OF[client].get(setting) or RENAMED.get(setting, setting)
    return ALIASES.get(own, own)
