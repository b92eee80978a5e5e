"""How long a record takes through the converters of numbers, in and out."""

from __future__ import annotations

from typing import Any

import pytest

from converters.numbers import BooleanConverter, DoubleConverter, IntegerConverter
from engine.api.column import Repeat

COLUMNS: list[tuple[Any, list[Any]]] = [
    (IntegerConverter, [number * 7919 % 2**31 for number in range(2000)]),
    (DoubleConverter, [number * 1.1 for number in range(2000)]),
    (BooleanConverter, [number % 3 == 0 for number in range(2000)]),
]
IDS = [kind.__name__ for kind, _ in COLUMNS]


@pytest.mark.parametrize(("kind", "column"), COLUMNS, ids=IDS)
def test_number_out(measure: Any, kind: Any, column: list[Any]) -> None:
    converter = kind()
    measure(lambda: converter.from_connect("numbers", column, Repeat(None, len(column))))


@pytest.mark.parametrize(("kind", "column"), COLUMNS, ids=IDS)
def test_number_in(measure: Any, kind: Any, column: list[Any]) -> None:
    converter = kind()
    payloads = converter.from_connect("numbers", column, Repeat(None, len(column))).payloads
    measure(lambda: converter.to_connect("numbers", payloads))
