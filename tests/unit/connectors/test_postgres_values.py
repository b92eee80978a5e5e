"""PostgreSQL's text becomes the value that Connect has for it, whatever the type."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest

from connectors.postgres.source.values import columns_of_copy, reading_of, unescaped
from engine.api.schema import DATE, FLOAT32, INT32, INT64, STRING, TIMESTAMP, Schema

UTC = datetime.UTC
DAY_MS = 86_400_000


def read(type_name: str, *cells: bytes | None, zone: str = "UTC") -> list[Any]:
    return list(reading_of(type_name, zone).read(cells))


@pytest.mark.parametrize(
    ("type_name", "cell", "expected"),
    [
        ("smallint", b"-32768", -32768),
        ("bigint", b"9223372036854775807", 2**63 - 1),
        ("double precision", b"1e+300", 1e300),
        ("double precision", b"-Infinity", -math.inf),
        ("boolean", b"t", True),
        ("boolean", b"f", False),
        ("text", "schön\n".encode(), "schön\n"),
        ("character varying(3)", b"abc", "abc"),
        ("uuid", b"0b0f7f2a-0000-0000-0000-000000000000", "0b0f7f2a-0000-0000-0000-000000000000"),
        ("jsonb", b'{"a": 1}', '{"a": 1}'),
        ("numeric", b"1234567890.12345678901234567890", "1234567890.12345678901234567890"),
        ("numeric(10,2)", b"-9.50", Decimal("-9.50")),
        ("numeric(5,-2)", b"1200", Decimal("12E+2")),
        ("bytea", b"\\x00ff", b"\0\xff"),
        ("bytea", b"\\x", b""),
        ("date", b"2024-02-29", datetime.date(2024, 2, 29)),
        ("date", b"10000-01-01", 2_932_897),
        ("date", b"0001-12-31 BC", -719_163),
        ("date", b"infinity", 2**31 - 1),
        ("time without time zone", b"12:34:56.789", datetime.time(12, 34, 56, 789_000)),
        ("time without time zone", b"12:34:56.7891", datetime.time(12, 34, 56, 789_000)),
        ("time(0) without time zone", b"24:00:00", DAY_MS),
        ("timestamp without time zone", b"2024-01-31 10:00:00", datetime.datetime(2024, 1, 31, 10, tzinfo=UTC)),
        ("timestamp with time zone", b"2024-01-31 10:00:00.1+00",
         datetime.datetime(2024, 1, 31, 10, 0, 0, 100_000, tzinfo=UTC)),
        ("timestamp with time zone", b"2024-01-31 10:00:00.123999+00",
         datetime.datetime(2024, 1, 31, 10, 0, 0, 123_000, tzinfo=UTC)),
        ("timestamp with time zone", b"10000-01-01 00:00:00.5+00", 2_932_897 * DAY_MS + 500),
        ("timestamp without time zone", b"0001-12-31 23:59:59.123456 BC", -719_162 * DAY_MS - 877),
        ("timestamp with time zone", b"-infinity", -9_223_372_036_832_400_000),
        ("integer[]", b"{1,NULL,3}", [1, None, 3]),
        ("integer[]", b"{}", []),
        ("integer[]", b"[0:1]={1,2}", [1, 2]),
        ("text[]", b'{a,"b,c","NULL",NULL,"\\"q\\\\",""}', ["a", "b,c", "NULL", None, '"q\\', ""]),
        ("bytea[]", b'{"\\\\x6162",NULL}', [b"ab", None]),
        ("integer[]", b"{{1,2},{3,4}}", [[1, 2], [3, 4]]),
        ("box[]", b"{(1,1),(0,0);(2,2),(0,0)}", ["(1,1),(0,0)", "(2,2),(0,0)"]),
        ("date[]", b"{2024-01-31}", [datetime.date(2024, 1, 31)]),
    ],
)  # fmt: skip
def test_a_cell_is_read(type_name: str, cell: bytes, expected: Any) -> None:
    assert read(type_name, cell, None) == [expected, None]
    assert read(type_name, cell) == [expected]


@pytest.mark.parametrize(
    ("type_name", "cells"),
    [
        ("bigint", [b"1", b"-9223372036854775808", b"0"]),
        ("double precision", [b"1", b"-0", b"0.1", b"1e-07", b"5e-324", b"-1.7976931348623157e+308", b"NaN"]),
        ("boolean", [b"t", b"f"]),
        ("date", [b"2024-02-29", b"0001-01-01", b"9999-12-31", b"infinity", b"0001-12-31 BC"]),
        ("timestamp with time zone", [b"2024-01-31 10:00:00+00", b"2024-01-31 10:00:00.1+00",
            b"9999-12-31 23:59:59.999999+00", b"10000-01-01 00:00:00+00", b"0001-12-31 23:59:59.123456+00 BC"]),
        ("timestamp without time zone", [b"2024-01-31 10:00:00.123456", b"2024-01-31 10:00:00.12", b"infinity"]),
    ],
)  # fmt: skip
def test_a_column_is_read_as_each_of_its_cells_is(type_name: str, cells: list[bytes]) -> None:
    for end in range(1, len(cells) + 1):  # the first ones are plain, the last one is read in another way
        alone = [repr(read(type_name, cell)[0]) for cell in cells[:end]]
        assert [repr(value) for value in read(type_name, *cells[:end])] == alone
        assert [repr(value) for value in read(type_name, None, *cells[:end])] == ["None", *alone]
    assert repr(read("double precision", b"-0")) == "[-0.0]"


@pytest.mark.parametrize("cell", [b"", b"1,2", b"1.5", b"x", b"[1]"])
def test_what_is_no_number_is_refused(cell: bytes) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        read("integer", cell, b"1")


def test_rows_of_copy_are_columns() -> None:
    assert columns_of_copy([b"1\tone\n"]) == [[b"1"], [b"one"]]
    rows = [b"1\t\\N\ta\\tb\n", b"2\t\\\\N\t\n", b"\\N\tx\tc\n"]
    assert columns_of_copy(rows) == [[b"1", b"2", None], [None, b"\\N", b"x"], [b"a\tb", b"", b"c"]]
    assert columns_of_copy([b"\n", b"a\n"]) == [[b"", b"a"]]


def test_a_date_before_christ_is_a_day_in_the_same_calendar() -> None:
    # PostgreSQL: SELECT date '0044-03-15 BC' - date '1970-01-01'
    assert read("date", b"0044-03-15 BC") == [-735_160]


def test_a_real_is_the_nearest_of_32_bits() -> None:
    assert read("real", b"0.1") == [0.10000000149011612]
    assert math.isnan(read("real", b"NaN")[0])


def test_what_no_decimal_can_be_is_left_to_the_converter() -> None:
    assert read("numeric(4,1)", b"NaN")[0].is_nan()


def test_a_timestamp_without_zone_is_of_the_zone_that_is_given() -> None:
    found = read("timestamp without time zone", b"2024-07-01 12:00:00", zone="Europe/Berlin")
    assert found == [datetime.datetime(2024, 7, 1, 10, tzinfo=UTC)]
    assert read("timestamp with time zone", b"2024-07-01 12:00:00+00", zone="Europe/Berlin") == [
        datetime.datetime(2024, 7, 1, 12, tzinfo=UTC)
    ]


@pytest.mark.parametrize(
    ("type_name", "schema"),
    [
        ("integer", INT32),
        ("bigint", INT64),
        ("real", FLOAT32),
        ("date", DATE),
        ("timestamp(3) with time zone", TIMESTAMP),
        ("numeric(10,2)", Schema.decimal(2)),
        ("numeric", STRING),
        ("shop.mood", STRING),
        ("integer[]", Schema.array(INT32.as_optional())),
    ],
)
def test_a_type_has_a_schema(type_name: str, schema: Schema) -> None:
    assert reading_of(type_name).schema == schema


def test_what_copy_has_escaped_is_as_it_was() -> None:
    assert unescaped([rb"a\tb\nc\\d\re", None, b"plain", b"\\\\N"]) == [b"a\tb\nc\\d\re", None, b"plain", b"\\N"]
