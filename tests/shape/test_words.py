"""No file tells of the machine it was written on."""

from __future__ import annotations

import re

from tests.shape.tree import ROOT, texts

# Put together here, so that this file does not hold what it forbids.
PLACES = "|".join("/" + place for place in ("work/", "root/", "home/[a-z]", "Users/[a-zA-Z]"))
FORBIDDEN = re.compile(rf"(?<![\w.])(?:{PLACES})")


def test_no_path_of_a_machine_is_written_down() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert not found


def test_the_search_finds_what_it_is_for() -> None:
    assert FORBIDDEN.search("see " + "/" + "root/x")
    assert not FORBIDDEN.search("https://example.org/" + "home/x")
