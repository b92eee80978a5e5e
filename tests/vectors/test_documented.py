"""Every recorded case that does not come out as recorded is told, one by one, in the compatibility page."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.vector

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"


def listed() -> set[str]:
    """The ids that the tests of all kinds leave out."""
    modules = [importlib.import_module(f"tests.vectors.{path.stem}") for path in sorted(HERE.glob("test_*.py"))]
    return {key for module in modules for key in getattr(module, "NOT_APPLICABLE", {})}


def test_every_vector_that_differs_is_told_in_the_compatibility_page() -> None:
    assert set(re.findall(r"^\| `([0-9a-f]{12})` \|", PAGE.read_text(), re.MULTILINE)) == listed()
