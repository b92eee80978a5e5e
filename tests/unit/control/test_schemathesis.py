"""What is served is what `/openapi.json` says, for requests as it says they should be and as they should not.

Seeded, and short here; `tox -e rest` asks longer, and in other ways each time. Every answer has a status, a type and a
body that were declared; none is a mistake of ours, which would be a 500 that the log calls unexpected.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from engine.control.rest.openapi import openapi
from engine.control.rest.routes import ADMIN, PUBLIC
from tests.harness.served import Served

pytestmark = pytest.mark.slow

#: Of each operation and mode; 0: as many as fit in CI.
EXAMPLES = int(os.environ.get("MILLRACE_REST_EXAMPLES", "0"))
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT: Any = openapi((*PUBLIC, *ADMIN))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [(method, path) for path, one in DOCUMENT["paths"].items() for method in one]
THERE = "orders"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_was_declared(served: Served, method: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    SCHEMA.config.update(base_url=served.url)
    operation = SCHEMA[path][method.upper()]
    for mode in _modes(DOCUMENT["paths"][path][method]):

        @settings(
            max_examples=EXAMPLES or 2,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def ask(case: schemathesis.Case[Any]) -> None:
            if "name" in case.path_parameters and len(str(case.path_parameters["name"])) % 2:
                made = {"connector.class": "Generator", "tasks.max": "1"}
                httpx.put(f"{served.url}/connectors/{THERE}/config", json=made)
                case.path_parameters["name"] = THERE
            case.call_and_validate(checks=CHECKS)

        ask()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert httpx.get(f"{served.url}/health").json()["status"] == "healthy"


def _modes(operation: Any) -> list[GenerationMode]:
    """As it should be; and, where a body or a query can be wrong, as it should not."""
    can_be_wrong = "requestBody" in operation or any(one["in"] == "query" for one in operation["parameters"])
    return [GenerationMode.POSITIVE, *((GenerationMode.NEGATIVE,) if can_be_wrong else ())]
