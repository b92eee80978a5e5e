"""What is served is what `/openapi.json` says; none of its answers is a mistake of ours, which the log would show.

Seeded, and short here; `tox -e rest` asks longer, and in other ways each time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import httpx
import pytest

from tests.harness.schema import OPERATIONS, ask
from tests.harness.served import Served

pytestmark = pytest.mark.slow

#: Of each operation and way; 0: as many as fit in CI.
EXAMPLES = int(os.environ.get("MILLRACE_REST_EXAMPLES", "0"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_every_answer_was_declared(
    served: Served, operation: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with httpx.Client(base_url=served.url) as client:

        def existing() -> str:
            config = {"connector.class": "Generator", "tasks.max": "1"}
            assert client.put("/connectors/orders/config", json=config).is_success
            return "orders"

        ask(served.url, operation, EXAMPLES or 2, existing, is_seeded=not EXAMPLES)
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert client.get("/health").json()["status"] == "healthy"
