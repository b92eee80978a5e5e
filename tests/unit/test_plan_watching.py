"""A plan does not start a connector that watches: it says what is to, or makes lines of what that has said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.herder.model import Plan as PlanOrder
from engine.herder.model import Planned
from engine.looking import plan_one
from engine.plan import PlanOptions, make_plan
from tests.unit.test_plan import OPTIONS, WORKER, pipeline

pytestmark = pytest.mark.slow

CLASS = "tests.unit.watcher.connectors_of_tests:Folder"
OTHER = '[connectors.other]\n"connector.class" = "NullSink"\ntopics = "a"\n'


def planned(folder: Path, task_configs: tuple[dict[str, str], ...] | None) -> Planned:
    config = {"connector.class": CLASS, "folder": str(folder / "absent"), "tasks.max": "2"}
    order = PlanOrder(3, "w", config, True, task_configs)
    return msgspec.msgpack.decode(plan_one(pipeline(folder, OTHER), OPTIONS, order), type=Planned)


def test_a_plan_says_what_is_to_watch_and_asks_for_no_tasks(tmp_path: Path) -> None:
    found = planned(tmp_path, None)
    assert (found.attempt, found.failure, found.lines, found.type) == (3, "", (), "source")
    assert found.watch is not None
    assert (found.watch.path, found.watch.tasks_max, found.watch.call_seconds) == (CLASS, 2, 30.0)
    assert found.watch.properties["folder"] == str(tmp_path / "absent")


def test_lines_are_made_of_what_its_own_process_has_said(tmp_path: Path) -> None:
    found = planned(tmp_path, ({"file": "a"}, {"file": "b"}))
    assert [line.task_config["file"] for line in found.lines] == ["a", "b"]
    task = "tests.unit.watcher.connectors_of_tests:FileTask"
    assert found.task_configs == ({"file": "a", "task.class": task}, {"file": "b", "task.class": task})
    assert found.watch is not None


def test_variables_in_what_was_kept_of_its_tasks_have_their_values_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHED", "the value")
    config = {"connector.class": CLASS, "folder": str(tmp_path), "note": "${env:WATCHED}"}
    text = f'{WORKER}"config.providers" = "env"\n"config.providers.env.class" = "EnvVar"\n'
    order = PlanOrder(3, "w", config, True, ({"note": "${env:WATCHED}", "own": "${env:WATCHED}"},))
    found = msgspec.msgpack.decode(plan_one(pipeline(tmp_path, OTHER, text), OPTIONS, order), type=Planned)
    (line,) = found.lines
    assert (line.task_config["note"], line.task_config["own"]) == ("the value", "${env:WATCHED}")
    assert found.task_configs[0]["note"] == "${env:WATCHED}"


def test_more_tasks_than_it_may_have_are_its_failure(tmp_path: Path) -> None:
    found = planned(tmp_path, ({}, {}, {}))
    assert "has generated 3 tasks, which is greater than 2" in found.failure
    assert found.lines == ()


@pytest.mark.parametrize(("serves_rest", "count"), [(True, 0), (False, 1)])
def test_the_plan_of_a_start_asks_it_once_and_says_when_that_is_all(
    tmp_path: Path, serves_rest: bool, count: int
) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / "a").touch()
    text = f'[connectors.w]\n"connector.class" = "{CLASS}"\nfolder = "{tmp_path / "watched"}"\n'
    plan = make_plan(pipeline(tmp_path, text), PlanOptions(worker_id="w1", serves_rest=serves_rest))
    assert [line.task_config["file"] for line in plan.lines] == ["a"]
    told = [warning for warning in plan.warnings if "only `millrace standalone` lets it do" in warning]
    assert len(told) == count
