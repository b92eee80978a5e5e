"""The worker's keys: Kafka Connect's, with its defaults, and ours.

Used by: engine.boot, engine.config.document.
Not here: settings of the Kafka clients among them (clients.py), variables (providers.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta, field

from engine.api.config import Config, keys_of
from engine.api.errors import ConfigError, Problem
from engine.config.clients_table import is_client_key
from engine.config.files import Pipeline
from engine.config.line import Timing
from engine.config.problems import did_you_mean, place, raise_all

__all__ = ["ACCEPTED", "WorkerConfig", "read_worker", "unknown_keys", "worker_warnings"]

Milliseconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]


def _ms(name: str, default: int, description: str, least: int = 0) -> Any:
    raise NotImplementedError
