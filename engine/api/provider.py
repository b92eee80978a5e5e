"""Config providers: where the values of `${provider:path:key}` come from, so that files need not hold secrets.

config.providers=vault                              in the worker's configuration
config.providers.vault.class=my_package:Vault
config.providers.vault.param.address=...            given to `configure`, without the prefix
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

__all__ = ["ConfigProvider"]


class ConfigProvider(ABC):
    """Looks up values, by path and key."""

    def configure(self, parameters: Mapping[str, str]) -> None:  # noqa: B027  most have nothing to configure
        """Take the `param.` keys, once. Raises ConfigError."""

    @abstractmethod
    def get(self, path: str, keys: Collection[str]) -> Mapping[str, str]:
        """The values of those of `keys` that exist at `path` (empty: none was given). Raises ConfigError."""

    def ttl_ms(self, path: str) -> int | None:
        """For how many milliseconds the values of a path are good; then they are asked for again. None: for ever."""
        return None

    def files(self, path: str, keys: Collection[str]) -> Collection[str]:
        """Files that hold these values: when one of them changes, they are asked for again."""
        return ()
