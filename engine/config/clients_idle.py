"""What is wrong with settings of a client that nobody has now, as a worker of sinks alone may well set up producers.

A value that cannot be read is a mistake whoever has it: a number, a choice, true or false, an address. Texts are left
alone: names of Java's classes, keystores and logins are refused where a client is to be made of them, and a file that
has them for Kafka Connect runs as long as none is.

Used by: engine.plan (the worker's), engine.connector_lines (a connector's).
Not here: settings of clients that are made (clients.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace

from engine.api.errors import ConfigError, Problem
from engine.config.clients_admin import admin_settings
from engine.config.clients_consumer import consumer_settings
from engine.config.clients_layers import Given, layered
from engine.config.clients_producer import producer_settings
from engine.config.clients_table import NATIVE
from engine.config.worker import WorkerConfig

__all__ = ["CLIENT_PREFIXES", "idle_problems", "worker_problems"]

CLIENTS = ("producer", "consumer", "admin")
#: How the worker's keys for them begin.
CLIENT_PREFIXES = tuple(f"{client}." for client in CLIENTS)
_SERVERS = "bootstrap.servers"


def worker_problems(
    worker: Mapping[str, str], *, worker_config: WorkerConfig, file: str, secrets: Collection[str]
) -> list[Problem]:
    """What cannot be read of the worker's settings, whoever has such a client. secrets: values of providers."""
    where: dict[str, Any] = {"worker_config": worker_config, "name": "worker", "file": file, "secrets": secrets}
    return [one for client in CLIENTS for one in _problems(client, worker, {}, worker_file=file, **where)]


def idle_problems(
    connector: Mapping[str, str], clients: Collection[str], *, worker_config: WorkerConfig, **where: Any
) -> list[Problem]:
    """What cannot be read of a connector's overrides for clients that it has not. clients: those that it has.

    where: its `name` and `file`, and `secrets`: values of providers.
    """
    idle = [client for client in CLIENTS if client not in clients]
    where |= {"worker_config": worker_config, "worker_file": ""}
    return [one for client in idle for one in _problems(client, {}, connector, **where)]


def _problems(
    client: str,
    worker: Mapping[str, str],
    connector: Mapping[str, str],
    *,
    worker_config: WorkerConfig,
    name: str,
    file: str,
    worker_file: str,
    secrets: Collection[str],
) -> list[Problem]:
    read = {one.key for one in layered(client, worker, connector, name, file, worker_file).values() if _is_read(one)}
    of_worker = {key: value for key, value in worker.items() if key in read}
    of_connector = {key: value for key, value in connector.items() if key in read}
    where: dict[str, Any] = {
        # What a connector may override is told by the client that it has.
        "worker_config": replace(worker_config, override_policy="All"),
        "name": name,
        "file": file,
        "worker_file": worker_file,
        "secrets": secrets,
    }
    try:
        if client == "producer":
            producer_settings(of_worker, of_connector, task=0, **where)
        elif client == "consumer":
            consumer_settings(of_worker, of_connector, task=0, worker_id="idle", **where)
        else:
            admin_settings(of_worker, of_connector, producer={}, **where)
    except ConfigError as error:
        return list(error.problems)
    return []


def _is_read(given: Given) -> bool:
    native = NATIVE.get(given.target)
    return given.target == _SERVERS or (native is not None and native.kind != "text")
