"""Decimals are as long as they are: Python's own limit of an int's digits is not theirs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from converters.json.logical import decimal_from, decimal_of
from engine.api.schema import Schema


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("digits", [1, 30, 4300, 4301, 20_000])
@pytest.mark.parametrize("scale", [0, 2, -3])
def test_bytes_come_back_as_they_were(sign: int, digits: int, scale: int) -> None:
    number = sign * (10**digits - 7)
    unscaled = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    decimal = decimal_of(unscaled, scale)
    assert decimal.as_tuple() == Decimal(number).as_tuple()._replace(exponent=-scale)
    assert decimal_from(Schema.decimal(scale), decimal) == unscaled
