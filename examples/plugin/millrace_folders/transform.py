"""MaskValue: what a pattern matches in a text value reads `***` afterwards.

transforms=mask
transforms.mask.type=MaskValue
transforms.mask.pattern=[0-9]{12,19}
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.api.config import Config
from engine.api.errors import ConfigError, Problem
from engine.api.transform import AnyRecord, Transform

__all__ = ["MaskValue", "MaskValueConfig"]


class MaskValueConfig(Config, frozen=True, kw_only=True):
    """What is hidden."""

    pattern: Annotated[str, Meta(min_length=1, description="A regular expression, as Python reads it.")]
    mask: Annotated[str, Meta(description="What stands there instead.")] = "***"


class MaskValue(Transform):
    """Leaves values alone that are no text."""

    config = MaskValueConfig

    def configure(self, config: MaskValueConfig) -> None:
        try:
            self._pattern = re.compile(config.pattern)
        except re.error as error:
            raise ConfigError(
                [Problem("pattern", f"pattern={config.pattern}: expected a regular expression: {error}")]
            ) from error
        self._mask = config.mask

    def apply(self, record: AnyRecord) -> AnyRecord | None:
        if not isinstance(record.value, str):
            return record
        masked = self._pattern.sub(lambda _: self._mask, record.value)
        return msgspec.structs.replace(record, value=masked)
