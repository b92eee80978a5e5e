"""`/openapi.json` tells of every route that is served, and what it tells hangs together."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from engine.control.rest.openapi import TOLD, openapi
from engine.control.rest.routes import ADMIN, PUBLIC
from engine.control.rest.shapes import SCHEMAS

DOCUMENT: Any = orjson.loads(orjson.dumps(openapi((*PUBLIC, *ADMIN))))


def test_every_route_has_a_row_and_a_sentence() -> None:
    for route in (*PUBLIC, *ADMIN):
        for method in (route.methods or set()) - {"HEAD"}:
            assert (method, route.path) in TOLD, (
                "add what it takes and answers to TOLD in engine/control/rest/openapi.py"
            )
            assert DOCUMENT["paths"][route.path][method.lower()]["summary"]


def test_every_name_is_one_of_the_shapes_and_every_operation_has_an_id_of_its_own() -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert named <= set(SCHEMAS)
    ids = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))
