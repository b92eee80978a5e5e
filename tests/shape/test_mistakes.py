"""Every planted mistake can still be planted, and what caught it stands in docs/mistakes.md."""

from __future__ import annotations

import pytest

from tests.mistakes import document
from tests.mistakes.catalog import MISTAKES
from tests.mistakes.planting import stale
from tests.shape.tree import ROOT, functions

HOW = "run: python -m tests.mistakes --write"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_can_still_be_planted_and_its_test_is_there(name: str) -> None:
    mistake = MISTAKES[name]
    assert not stale(mistake)
    file, _, test = mistake.caught_by.partition("::")
    named = test.partition("::")[0].partition("[")[0]
    assert (
        named in {function.name for function in functions(ROOT / file)} or f"\n{named} = " in (ROOT / file).read_text()
    )


def test_the_document_tells_of_every_mistake_what_caught_it() -> None:
    rows = document.read(document.FILE.read_text())
    assert list(rows) == list(MISTAKES), HOW
    told = {name: (row.breaks, row.caught_by) for name, row in rows.items()}
    assert told == {name: (one.breaks, document.by_what(one)) for name, one in MISTAKES.items()}, HOW
    assert all(row.said for row in rows.values()), HOW
