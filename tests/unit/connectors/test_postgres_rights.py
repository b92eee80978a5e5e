"""What a server lets its users do is the server's word, and what watches a slot goes on whatever it meets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.postgres.source.changes_config import ChangesConfig
from connectors.postgres.source.publications import problems_of_publication
from connectors.postgres.source.slots import Guard
from engine.api.errors import RefusedError
from tests.harness import wait

MIB = 1024**2


class Managed:
    """A session of somebody who is no superuser; `refuses` says whether he may publish all tables all the same."""

    is_over = False

    def __init__(self, *, refuses: bool) -> None:
        self._refuses = refuses
        self.ran: list[str] = []

    def rows(self, statement: str, *_: Any) -> list[tuple[Any, ...]]:
        return [(False, "shop", "capture")] if "'CREATE'" in statement else []

    def run(self, statement: str) -> None:
        self.ran.append(statement)
        if self._refuses and statement.startswith("CREATE"):
            raise RefusedError("must be superuser")


@pytest.mark.parametrize("refuses", [True, False])
def test_who_may_publish_all_tables_the_server_knows(*, refuses: bool) -> None:
    keys = {"connection.url": "postgresql://db/shop", "publication.autocreate.mode": "all_tables"}
    session: Any = Managed(refuses=refuses)
    told = [problem.message for problem in problems_of_publication(session, ChangesConfig.parse(keys))]
    assert len(told) == refuses
    assert session.ran[-1] == "ROLLBACK"


def test_a_guard_goes_on_and_tells_once_of_each_kind_of_what_it_meets(caplog: pytest.LogCaptureFixture) -> None:
    meets: Iterator[Exception] = iter([ValueError("one"), ValueError("two"), KeyError("three")])

    class Slots:
        def rows(self, *_: Any) -> list[tuple[Any, ...]]:
            return [("logical", "pgoutput", "shop", True, "reserved", None, "0/0", 100 * MIB, "millrace", "shop")]

        def close(self) -> None:
            pass

    def connect() -> Any:
        for error in meets:
            raise error
        return Slots()

    settings = ChangesConfig.parse({"connection.url": "postgresql://db/shop", "slot.warn.bytes": "1000000"})
    guard = Guard(settings, "orders", connect, seconds=0.001)
    guard.start()
    try:
        wait.until(lambda: "the server keeps 100 MiB" in caplog.text, "a look that goes well")
    finally:
        guard.stop()
    assert caplog.text.count("cannot be looked at") == 2
