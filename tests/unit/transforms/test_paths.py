"""Paths lead to fields, nested ones too, in structs and in maps; what is on the way is copied, never changed."""

from __future__ import annotations

from typing import Any

import pytest

from engine.api.errors import ConfigError, DataError
from engine.api.schema import INT32, STRING, Schema
from engine.transforms.paths import FieldPath, map_editor

ADDRESS = Schema.struct({"zip": INT32, "a.b": STRING})
ORDER = Schema.struct({"address": ADDRESS, "address.zip": STRING})


def path(text: str, syntax: str = "V2") -> FieldPath:
    return FieldPath.parse(text, syntax, "field")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a..b", ("a", "", "b")),
        (".a", ("", "a")),
        ("a.", ("a", "")),
        (".", ("", "")),
        ("`a.b`.c", ("a.b", "c")),
        ("`a`b`.c", ("a`b", "c")),
        (r"`a\`.b`.c", ("a`.b", "c")),
        (r"`a\`b`", (r"a\`b",)),  # nothing was to be escaped
        ("a`.b", ("a`", "b")),
        ("``", ("",)),
        ("`a.`.", ("a.", "")),
    ],
)
def test_a_path_falls_into_steps(text: str, steps: tuple[str, ...]) -> None:
    assert path(text).steps == steps
    assert path(text, "V1").steps == (text,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("`a", r"Incomplete backtick pair in path: \[`a\], .* at position 0 to escape it"),
        ("a.`b.c", "at position 2"),
        (r"`a\`", "at position 0"),
        ("", "a path has a step at least"),
    ],
)
def test_a_path_that_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        path(text)


def test_a_path_finds_the_field_of_a_struct() -> None:
    found = path("address.zip").field_of(ORDER)
    assert found is not None
    assert found.schema is INT32
    found = path("address.zip", "V1").field_of(ORDER)
    assert found is not None
    assert found.schema is STRING
    assert path("address.no").field_of(ORDER) is None
    assert path("no.zip").field_of(ORDER) is None
    with pytest.raises(DataError, match="Cannot look up fields on non-struct type"):
        path("address.zip.no").field_of(ORDER)


def test_a_path_finds_the_value_in_a_map() -> None:
    order = {"address": {"zip": 8000}, "address.zip": "x", "none": None}
    assert path("address.zip").value_of(order) == 8000
    assert path("address.zip", "V1").value_of(order) == "x"
    assert path("address.no").value_of(order) is None
    assert path("none.zip").value_of(order) is None
    with pytest.raises(DataError, match=r"\[nested field access\], found: java.lang.Long"):
        path("address.zip.no").value_of(order)


def test_a_map_that_is_changed_is_a_copy_down_to_the_field() -> None:
    order: dict[str, Any] = {"a": {"b": {"c": 1}, "d": {}}, "e": None}
    changed: dict[str, Any] = {**order}
    map_editor({path("a.b.c"): lambda value: value + 1, path("x"): str, path("e.f"): str}).act([changed])
    assert changed == {"a": {"b": {"c": 2}, "d": {}}, "e": None, "x": "None"}
    assert order == {"a": {"b": {"c": 1}, "d": {}}, "e": None}
    assert changed["a"]["d"] is order["a"]["d"]
