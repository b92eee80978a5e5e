"""Patterns of Java match the same topics here, or are refused."""

from __future__ import annotations

import re

import pytest

from engine.config.topic_pattern import topic_pattern

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
        (r"\p{Lower}+", {"a", "b", "orders", "zz"}),
        (r"\P{Alpha}|[\p{Alpha}]\p{Digit}", {"A1", "x9", "]"}),
        (r"(?!orders).*", {"a", "b", "A1", "db1.t_2", "x9", "]", "a]", "zz"}),
        ("(?i)a1?", {"a", "A1"}),
        (r"[^\]a]", {"b"}),
        ("[]a]+", {"a", "]", "a]"}),
        (r"[\w.]++", {"a", "b", "A1", "orders", "orders.eu", "ordersXeu", "db1.t_2", "x9", "zz"}),
        (r"orders\z", {"orders"}),
    ],
)
def test_a_pattern_matches_what_java_says_it_matches(pattern: str, topics: set[str]) -> None:
    assert {topic for topic in TOPICS if re.fullmatch(topic_pattern(pattern), topic)} == topics


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[a-z&&[^b]]", "one simple class"),
        ("[a[bc]]", "one simple class"),
        (r"\p{IsGreek}", "not known"),
        ("a(", "no pattern"),
        ("*a", "no pattern"),
        (r"[\P{Lower}]", "within a class"),
    ],
)
def test_what_has_no_equal_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        topic_pattern(pattern)
