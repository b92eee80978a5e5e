"""The REST interface, asked by schemathesis whether it is what its OpenAPI document says.

Every answer has a status, a type and a body that were declared, for requests as the document says they should be and,
where a body or a query can be wrong, as it says they should not.

Used by: tests.unit.control, tests.kafka.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

__all__ = ["OPERATIONS", "ask"]

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT: Any = openapi((*PUBLIC, *ADMIN))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [(method, path) for path, one in DOCUMENT["paths"].items() for method in one]


def ask(url: str, operation: tuple[str, str], examples: int, existing: Callable[[], str], *, is_seeded: bool) -> None:
    """Ask one operation, in each way so many examples. Raises what schemathesis says of an answer.

    existing: the name of a connector that is there, for every other request that names one.
    """
    method, path = operation
    SCHEMA.config.update(base_url=url)
    for mode in _modes(DOCUMENT["paths"][path][method]):

        @settings(
            max_examples=examples,
            derandomize=is_seeded,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=SCHEMA[path][method.upper()].as_strategy(mode))
        def one(case: schemathesis.Case[Any]) -> None:
            if "name" in case.path_parameters and len(str(case.path_parameters["name"])) % 2:
                case.path_parameters["name"] = existing()
            case.call_and_validate(checks=CHECKS)

        one()


def _modes(operation: Any) -> list[GenerationMode]:
    can_be_wrong = "requestBody" in operation or any(one["in"] == "query" for one in operation["parameters"])
    return [GenerationMode.POSITIVE, *((GenerationMode.NEGATIVE,) if can_be_wrong else ())]
