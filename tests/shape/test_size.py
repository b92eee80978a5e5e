"""What is read in one sitting stays small: no module over 500 lines, no function over 50."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shape.tree import ROOT, functions, modules

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 50

ALL = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in modules()]


@pytest.mark.parametrize("path", ALL)
def test_a_module_and_its_functions_are_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MODULE_LINES_MAX, f"{lines} lines: split it by who changes what"
    for function in functions(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= FUNCTION_LINES_MAX, f"{function.name} at line {function.lineno} has {length} lines"
