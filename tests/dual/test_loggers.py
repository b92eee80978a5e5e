"""Loggers over REST: a level is set for a name and all that begin with it, and told with the time of the change."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.dual.asked import Asked, error

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]

WITHOUT_LEVEL: Sequence[object] = ({}, {"level": None})
UNREADABLE: Sequence[object] = (b"", b"{", b"null", [], {"level": {}})


def test_a_level_is_set_for_all_names_that_begin_so(worker: Asked) -> None:
    first = worker.put("/admin/loggers/dual.a.b", {"level": "debug"})
    assert (first.status, first.json) == (200, ["dual.a.b"])
    assert worker.put("/admin/loggers/dual.a.b", {"level": "DEBUG"}).json == []
    told = worker.get("/admin/loggers/dual.a.b").json
    assert told["level"] == "DEBUG"
    assert told["last_modified"] > 1_600_000_000_000
    assert "dual.a.b" in worker.put("/admin/loggers/dual.a", {"level": "WARN", "x": "1"}).json
    assert worker.get("/admin/loggers/dual.a.b").json["level"] == "WARN"
    everything = worker.get("/admin/loggers").json
    assert list(everything) == sorted(everything)
    assert everything["dual.a.b"] == worker.get("/admin/loggers/dual.a.b").json
    cluster = worker.put("/admin/loggers/dual.a?scope=cluster", {"level": "INFO"})
    assert (cluster.status, cluster.body) == (204, b"")
    assert "dual.a.b" in worker.put("/admin/loggers/dual.a?scope=worker", {"level": "WARN"}).json
    assert "dual.a.b" in worker.put("/admin/loggers/dual.a?scope=nope", {"level": "INFO"}).json


def test_the_root_has_a_level(worker: Asked) -> None:
    told = worker.get("/admin/loggers/root").json
    assert list(told) == ["level", "last_modified"]
    assert told["level"] in {"OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE", "ALL"}


def test_what_is_no_level_is_refused(worker: Asked) -> None:
    path = "/admin/loggers/dual.c"
    for level in ("nope", 1):
        assert error(worker.put(path, {"level": level}), 404) == f"invalid log level '{level}'."
    for body in WITHOUT_LEVEL:
        assert error(worker.put(path, body), 400) == "Desired 'level' parameter was not specified in request."
    for unreadable in UNREADABLE:
        assert error(worker.put(path, unreadable), 500)


def test_a_logger_that_nobody_has_is_not_there(worker: Asked) -> None:
    assert error(worker.get("/admin/loggers/dual.nobody"), 404) == "Logger dual.nobody not found."
    assert worker.delete("/admin/loggers/dual.a").status == 405
    assert worker.get("/admin").status == 404
