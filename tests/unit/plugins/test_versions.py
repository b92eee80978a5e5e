"""`plugin.version` keys take Maven's ranges, with its words for what is none."""

from __future__ import annotations

import pytest

from engine.plugins.versions import ranges_of, version_key


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("1.2", ["1.2", "1.2.0"], ["1.2.1", "1.1", ""]),
        ("[1.2]", ["1.2"], ["1.3"]),
        ("[1.0,2.0)", ["1.0", "1.9.9", "2.0.dev1"], ["2.0", "0.9"]),
        ("(1.0,2.0]", ["1.0.1", "2.0"], ["1.0", "2.0.1"]),
        ("[1.5,)", ["1.5", "99"], ["1.4"]),
        ("(,1.0]", ["0.1", "1.0"], ["1.1"]),
        ("(,1.0],[1.2,)", ["1.0", "1.2"], ["1.1"]),
        (" [1.0, 2.0) , [3.0] ", ["1.0", "3.0"], ["2.0"]),
        ("[,]", ["1.0"], []),
        ("latest", ["1.0", "odd"], []),
        ("", ["1.0"], []),
    ],
)
def test_a_range_holds_what_it_says(text: str, inside: list[str], outside: list[str]) -> None:
    ranges = ranges_of(text)
    assert all(ranges.hold(version) for version in inside)
    assert not any(ranges.hold(version) for version in outside)


def test_a_range_is_printed_as_maven_prints_it() -> None:
    assert [str(ranges_of(text)) for text in ("1.2", "[1.0, 2.0)", "(,1.0],[1.2,)")] == [
        "[1.2,1.2]",
        "[1.0,2.0)",
        "(,1.0],[1.2,)",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1.0", "Unbounded range: [1.0"),
        ("(1.0)", "Single version must be surrounded by []: (1.0)"),
        ("[1.0,1.0)", "Range cannot have identical boundaries: [1.0,1.0)"),
        ("[2.0,1.0]", "Range defies version ordering: [2.0,1.0]"),
        ("[1.0],2.0", "Only fully-qualified sets allowed in multiple set scenario: [1.0],2.0"),
        ("[1,2,3]", "Only fully-qualified sets allowed in multiple set scenario: [1,2,3]"),
        ("[]", "Single version must be surrounded by []: []"),
        (">=1.0", ">=1.0 is no version: expected numbers with dots, such as 1.2.0"),
    ],
)
def test_what_is_no_range_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ranges_of(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("key", "version"),
    [
        ("connector.class", "connector.plugin.version"),
        ("key.converter", "key.converter.plugin.version"),
        ("transforms.a.type", "transforms.a.plugin.version"),
    ],
)
def test_the_key_of_a_version_stands_beside_the_key_of_its_plugin(key: str, version: str) -> None:
    assert version_key(key) == version
