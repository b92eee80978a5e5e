"""Transforms and predicates: what may happen to a record between connector and converter.

The simple way is `apply`, a record at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

from engine.api.config import Config
from engine.api.record import SinkRecord, SourceRecord

__all__ = ["AnyRecord", "Predicate", "Transform"]

AnyRecord = TypeVar("AnyRecord", SourceRecord, SinkRecord)


class Transform(ABC):
    """Changes or drops records."""

    config: ClassVar[type[Config]] = Config

    def configure(self, config: Any) -> None:  # noqa: B027  some have nothing to configure
        """Take the parsed configuration, once."""

    @abstractmethod
    def apply(self, record: AnyRecord) -> AnyRecord | None:
        """The record as it goes on; None drops it. Raises DataError."""

    def close(self) -> None:  # noqa: B027  most hold nothing
        """Give back what `configure` took."""


class Predicate(ABC):
    """Says whether a transform applies to a record."""

    config: ClassVar[type[Config]] = Config

    def configure(self, config: Any) -> None:  # noqa: B027  some have nothing to configure
        """Take the parsed configuration, once."""

    @abstractmethod
    def test(self, record: SourceRecord | SinkRecord) -> bool:
        """Whether the record is meant."""
