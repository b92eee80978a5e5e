"""CsvRow: a list of texts as one line of CSV, and back.

    ["1", "two, or more"]   ◄──►   1,"two, or more"

The simple way to write a converter: a value at a time. For one that has to be fast, subclass `Converter` and
work on the column.
"""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

from msgspec import Meta

from engine.api.config import Config
from engine.api.converter import RecordConverter
from engine.api.errors import DataError
from engine.api.schema import Schema

__all__ = ["CsvRowConfig", "CsvRowConverter"]


class CsvRowConfig(Config, frozen=True, kw_only=True):
    """How rows are written."""

    delimiter: Annotated[str, Meta(min_length=1, max_length=1, description="Between two fields.")] = ","


class CsvRowConverter(RecordConverter):
    """Rows without a schema; null stays null."""

    config = CsvRowConfig

    def configure(self, config: CsvRowConfig, *, is_key: bool) -> None:
        self._delimiter = config.delimiter

    def from_connect_value(self, topic: str, value: Any, schema: Schema | None) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, list):
            raise DataError(f"a row is a list of fields, not {type(value).__name__}")
        line = io.StringIO()
        # With an end of line, so that fields with a line break in them are quoted.
        csv.writer(line, delimiter=self._delimiter, lineterminator="\r\n").writerow(value)
        return line.getvalue().removesuffix("\r\n").encode()

    def to_connect_value(self, topic: str, payload: bytes | None) -> tuple[Any, Schema | None]:
        if payload is None:
            return None, None
        try:
            rows = list(csv.reader(io.StringIO(payload.decode(), newline=""), delimiter=self._delimiter, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"no row of CSV: {error}") from error
        if len(rows) > 1:
            raise DataError(f"{len(rows)} rows of CSV in one value")
        return (rows[0] if rows else []), None
