"""Properties files are read as java.util.Properties reads them."""

from __future__ import annotations

import pytest

from engine.config.properties import PropertiesSyntaxError, parse_properties


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("a=1\nb:2\nc 3\n", {"a": "1", "b": "2", "c": "3"}),
        ("  a  =  1  \n", {"a": "1  "}),
        ("# a=1\n! b=2\n\nc=3", {"c": "3"}),
        ("a=x # y\n", {"a": "x # y"}),
        ("a=1,\\\n   2,\\\n# 3\nb=4", {"a": "1,2,# 3", "b": "4"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        (r"a\=b\:c\ d=e", {"a=b:c d": "e"}),
        (r"a=\t\n\r\f\q\"", {"a": '\t\n\r\fq"'}),
        (r"a=\u00e9\uD83D\uDE00", {"a": "é😀"}),
        (r"path=C:\\tmp", {"path": r"C:\tmp"}),
        ("a=1\na=2", {"a": "2"}),
        ("key\nempty=\n=value", {"key": "", "empty": "", "": "value"}),
        ("a==b", {"a": "=b"}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("", {}),
    ],
)
def test_text_becomes_the_keys_and_values_that_java_reads(text: str, properties: dict[str, str]) -> None:
    assert parse_properties(text) == properties


def test_an_escape_without_its_digits_is_told_by_line_and_column() -> None:
    with pytest.raises(PropertiesSyntaxError, match="line 2, column 3: expected four hexadecimal digits"):
        parse_properties("a=1\nb=\\u12")
