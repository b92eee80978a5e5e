"""What is wrong with settings of a client that nobody has now, as a worker of sinks alone may well set up producers.

A value that cannot be read is a mistake whoever has it: a word where a number belongs, a word that is none of a
choice's, what is neither true nor false, no address. Nothing more is told. What the client would refuse of a value that
can be read (a range, one setting against another, what is the engine's to set) matters once it is made: Java's clients
take much that librdkafka does not, and a file that has it for Kafka Connect runs as long as none is. So are texts left
alone: names of Java's classes, keystores and logins.

Used by: engine.plan (the worker's), engine.connector_lines (a connector's).
Not here: settings of clients that are made (clients.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from engine.api.errors import Problem
from engine.config.clients_consumer import why_no_start
from engine.config.clients_draft import Draft, check_servers, why_misread
from engine.config.clients_java import IGNORED
from engine.config.clients_layers import Given, layered
from engine.config.clients_producer import why_no_acks
from engine.config.clients_table import NATIVE, OWNED

__all__ = ["CLIENT_PREFIXES", "idle_problems", "worker_problems"]

CLIENTS = ("producer", "consumer", "admin")
#: How the worker's keys for them begin.
CLIENT_PREFIXES = tuple(f"{client}." for client in CLIENTS)


def worker_problems(worker: Mapping[str, str], *, file: str, secrets: Collection[str]) -> list[Problem]:
    """What cannot be read of the worker's settings, whoever has such a client. secrets: values of providers."""
    found = []
    for client in CLIENTS:
        found += _problems(client, layered(client, worker, {}, "worker", file, file), secrets)
    return found


def idle_problems(
    connector: Mapping[str, str], clients: Collection[str], *, name: str, file: str, secrets: Collection[str]
) -> list[Problem]:
    """What cannot be read of a connector's overrides for clients that it has not. clients: those that it has.

    secrets: values of providers.
    """
    found = []
    for client in CLIENTS:
        if client not in clients:
            found += _problems(client, layered(client, {}, connector, name, file, ""), secrets)
    return found


def _problems(client: str, given: Mapping[str, Given], secrets: Collection[str]) -> list[Problem]:
    draft = Draft(client, secrets)
    check_servers(given, draft)
    for one in given.values():
        reason = _why_misread(client, one)
        if reason:
            draft.blame(one, reason)
    return draft.problems


def _why_misread(client: str, given: Given) -> str:
    """Why one value is not of the kind that belongs there; empty: it is, or nobody here reads it."""
    target = given.target
    if target == "acks":
        return why_no_acks(given.value) if client == "producer" else ""
    if target == "auto.offset.reset":
        # In Kafka since 4.0: whoever makes a consumer says that it is not built.
        is_duration = given.value.lower().startswith("by_duration:")
        return "" if is_duration or client != "consumer" else why_no_start(given.value)
    native = NATIVE.get(target)
    if native is None or native.client not in ("both", client) or target in OWNED or given.name in IGNORED:
        return ""
    if target == "ssl.endpoint.identification.algorithm" and not given.value:
        return ""  # as Java's clients say none
    return why_misread(native, given.value)
