"""Which keys of configurations nobody should see on a screen: by their names, and by what their plugins say.

Used by: engine.commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.api.config import HIDDEN
from engine.commands.errors import RefusedError
from engine.config.masking import is_secret

if TYPE_CHECKING:
    from engine.commands.client import Client

__all__ = ["masked", "secret_keys"]

_CLASS = "connector.class"


def secret_keys(client: Client, configs: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Keys of these connectors that hold secrets; from now on the client's errors do not show their values.

    A worker that cannot tell the keys of its plugins leaves the names to judge by.
    """
    many = list(configs)
    found = {key for config in many for key in config if is_secret(key)}
    for plugin in sorted({config[_CLASS] for config in many if config.get(_CLASS)}):
        try:
            told = client.ask("GET", "connector-plugins", plugin, "config")
        except RefusedError:
            continue
        found |= {one["name"] for one in told if one.get("type") == "PASSWORD"}
    client.hide({str(config[key]) for config in many for key in found if config.get(key) is not None})
    return frozenset(found)


def masked(config: Mapping[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
    """The configuration as it may be shown."""
    return {key: HIDDEN if key in secrets else value for key, value in config.items()}
