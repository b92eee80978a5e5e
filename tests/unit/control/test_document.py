"""docs/rest.md is what the routes say."""

from __future__ import annotations

from pathlib import Path

from engine.control.rest.document import page

PAGE = Path(__file__).parents[3] / "docs" / "rest.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == page(), "run: python -m engine.control.rest.document > docs/rest.md"
