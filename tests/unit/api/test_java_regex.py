"""Patterns of Java match the same texts here and are replaced alike, or are refused."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.api.java_regex import compiled, replacement, translated

TOPICS = ("a", "b", "A1", "orders", "orders.eu", "orders-eu", "ordersXeu", "db1.t_2", "x9", "]", "a]", "zz")


@pytest.mark.parametrize(
    ("pattern", "topics"),
    [
        ("orders.*", {"orders", "orders.eu", "orders-eu", "ordersXeu"}),
        (r"orders\.eu", {"orders.eu"}),
        (r"\Qorders.eu\E", {"orders.eu"}),
        (r"\Qorders.\Eeu|\Qx9", {"orders.eu", "x9"}),
        (r"(?<base>orders)(?:-|\.)eu", {"orders.eu", "orders-eu"}),
        (r"(?<l>z)\k<l>", {"zz"}),
        (r"(z)\1", {"zz"}),
        (r"\p{Lower}+", {"a", "b", "orders", "zz"}),
        (r"\p{L}\p{Nd}|\pL\p{IsDigit}", {"A1", "x9"}),
        (r"\p{IsAlphabetic}{2}", {"zz"}),
        (r"\P{Alpha}|[\p{Alpha}]\p{Digit}", {"A1", "x9", "]"}),
        (r"[\P{Lower}a]+", {"a", "A1", "]", "a]"}),
        (r"(?!orders).*", {"a", "b", "A1", "db1.t_2", "x9", "]", "a]", "zz"}),
        ("(?i)a1?", {"a", "A1"}),
        ("x9|(?i:ORDERS)", {"orders", "x9"}),
        ("x(?i)9|ORDERS", {"orders", "x9"}),
        ("(?x) x 9 # the ninth\n| z z", {"x9", "zz"}),
        (r"[^\]a]", {"b"}),
        ("[]a]+", {"a", "]", "a]"}),
        ("[a-z&&[^b-y]]+", {"a", "zz"}),
        ("[z[ab]]+", {"a", "b", "zz"}),
        ("[^a-y&&[^z]]+", {"A1", "]", "zz"}),
        (r"[\w.]++", {"a", "b", "A1", "orders", "orders.eu", "ordersXeu", "db1.t_2", "x9", "zz"}),
        (r"[a-z]*+[.]?\w{2}", {"A1", "orders.eu"}),
        ("(?>orders|ordersXeu)", {"orders"}),
        (r"orders\z", {"orders"}),
        (r"\x41\u0031|\0141|\x{62}", {"a", "b", "A1"}),
    ],
)
def test_a_pattern_matches_what_java_says_it_matches(pattern: str, topics: set[str]) -> None:
    assert {topic for topic in TOPICS if re.fullmatch(translated(pattern), topic)} == topics


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a.", "a\n a\r a\x85 a\u2028 ab", (12, 14)),  # all of these end a line
        ("(?d)a.", "a\n a\r", (3, 5)),
        ("(?s)a.", "a\n", (0, 2)),
        ("b$", "ab\r\n", (1, 2)),
        ("b$", "b\n\n", None),
        ("(?m)^b$", "a\rb\u2029c", (2, 3)),
        ("(?m)^", "", None),
        (r"b\Z", "ab\x85", (1, 2)),
        (r"b\z", "ab\n", None),
        (r"\R", "a\r\nb", (1, 3)),
        (r"\h\v", "\u3000\x0b", (0, 2)),
        (r"\d", "\u0663", None),  # digits are ASCII's
        ("(?i)É", "é", None),  # so are the cases of letters
        ("(?iu)É", "é", (0, 1)),
    ],
)
def test_a_line_ends_and_a_letter_has_cases_as_in_java(pattern: str, text: str, found: tuple[int, int] | None) -> None:
    match = compiled(pattern).search(text)
    assert (match and match.span()) == found


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"\p{IsGreek}", "not known"),
        (r"\p{InGreek}", "not known"),
        ("a(", "Unclosed group"),
        ("a)", "Unmatched"),
        ("*a", "Dangling"),
        ("a{,2}", "Illegal repetition"),
        ("{", "Illegal repetition"),
        ("[b-a]", "Illegal character range"),
        ("[a", "Unclosed character class"),
        ("[a&&]", "nothing stands beside &&"),
        ("[a&&&b]", "three &"),
        (r"[\b]", "stands for nothing"),
        (r"\G", "stands for nothing"),
        (r"\X", "stands for nothing"),
        (r"\y", "stands for nothing"),
        (r"\b{g}", r"expected \\b"),
        ("(?U)a", "expected classes"),
        ("(?P<a>b)", "Unknown group type"),
        ("(?<a>b)(?<a>c)", "already defined"),
        (r"\k<a>", "does not exist"),
        (r"\1(a)", "does not begin before it"),
        ("(?<=a+)b", "fixed width"),
        ("^*a", "has no width"),
        (r"\x4", "ends too early"),
        (r"\N{no such name}", "no character"),
    ],
)
def test_what_has_no_equal_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        translated(pattern)


@pytest.mark.parametrize(
    ("pattern", "template", "text", "expected"),
    [
        ("(.*)-(\\d+)", "$2.$1", "a-12", "12.a"),
        ("(?<all>o.*)", "${all}!", "orders", "orders!"),
        ("o", r"\$\\x", "orders", r"$\xrders"),
        ("(o)", "$10", "orders", "o0rders"),
        ("(o)|(x)", "[$2]", "orders", "[]rders"),
        ("a|ab", "x", "ab", "xb"),
    ],
)
def test_a_match_is_replaced_as_in_java(pattern: str, template: str, text: str, expected: str) -> None:
    found = compiled(pattern)
    assert found.sub(replacement(template, found), text, count=1) == expected


@pytest.mark.parametrize("template", ["$", "\\", "$x", "$2", "${a", "${}", "${no}"])
def test_a_template_that_names_no_group_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"group|escaped"):
        replacement(template, compiled("(a)"))


@given(st.text())
def test_what_is_quoted_matches_itself_alone(text: str) -> None:
    quoted = "\\Q" + text.replace("\\E", "") + "\\E"
    found = compiled(quoted)
    assert found.fullmatch(text.replace("\\E", ""))
    assert not found.fullmatch(text + "x")


@given(st.text())
def test_any_text_is_translated_or_refused_with_a_sentence(text: str) -> None:
    with suppress(ValueError):
        assert re.compile(translated(text)).flags == re.UNICODE
