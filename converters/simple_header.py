"""SimpleHeaderConverter: headers as text; what a text looks like, it is read as.

    b"12"  ──►  12, INT8        b'["a","b"]'  ──►  ["a", "b"], ARRAY of STRING        b"12 34"  ──►  "12 34", STRING

The default for headers. The way back and forth changes values by design: "007" comes back as 7.

Source: the behaviour of Kafka Connect's SimpleHeaderConverter (its reference, section 7.5).
Not here: what a text stands for (engine.api.values), and the text of a value (engine.api.value_text).
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from engine.api.column import decode_utf8
from engine.api.converter import HeaderConverter
from engine.api.java_text import encode
from engine.api.record import Header
from engine.api.schema import BYTES
from engine.api.value_text import to_text
from engine.api.values import parse

__all__ = ["SimpleHeaderConverter"]

logger = logging.getLogger(__name__)


class SimpleHeaderConverter(HeaderConverter):
    """Values to text, and text to what it looks like."""

    can_fail: ClassVar[bool] = False

    def configure(self, config: Any) -> None:
        """There is nothing to configure."""

    def from_connect_header(self, topic: str, header: Header) -> bytes | None:
        text = to_text(header.value, header.schema)
        return None if text is None else encode(text)

    def to_connect_header(self, topic: str, key: str, payload: bytes | None) -> Header:
        try:
            value, schema = parse(decode_utf8(payload))
        except RecursionError as error:
            logger.debug("header %s of topic %s is kept as bytes: %s", key, topic, error)
            return Header(key, payload, BYTES)
        return Header(key, value, schema)
