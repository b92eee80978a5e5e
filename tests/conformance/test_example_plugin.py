"""The plugin of the examples does what its README says."""

from __future__ import annotations

import tomllib

import pytest
from millrace_folders.converter import CsvRowConfig, CsvRowConverter
from millrace_folders.sink import FolderSinkConnector
from millrace_folders.source import FolderSourceConnector
from millrace_folders.transform import MaskValue, MaskValueConfig

from engine.api.errors import ConfigError, DataError
from engine.api.record import SourceRecord
from tests.shape.tree import ROOT

PLUGIN = ROOT / "examples" / "plugin"


def csv_rows(delimiter: str = ",") -> CsvRowConverter:
    converter = CsvRowConverter()
    converter.configure(CsvRowConfig(delimiter=delimiter), is_key=False)
    return converter


@pytest.mark.parametrize("row", [["1", 'say "hi"', ""], ["a;b", "two\nlines"], [], None])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_row_comes_back_as_it_went(row: list[str] | None, delimiter: str) -> None:
    converter = csv_rows(delimiter)
    payload = converter.from_connect_value("t", row, None)
    assert converter.to_connect_value("t", payload) == (row, None)


def test_a_bad_row_costs_itself_and_not_its_batch() -> None:
    decoded = csv_rows().to_connect("t", [b"a,b", b'"open', b"c"])
    assert decoded.values == [["a", "b"], None, ["c"]]
    assert [failure.index for failure in decoded.failures] == [1]
    assert isinstance(decoded.failures[0].error, DataError)


def test_what_matches_is_masked() -> None:
    mask = MaskValue()
    mask.configure(MaskValueConfig(pattern="[0-9]{4,}"))
    assert mask.apply(SourceRecord(topic="t", value="card 41111111, pin 123")) == SourceRecord(
        topic="t", value="card ***, pin 123"
    )
    assert mask.apply(SourceRecord(topic="t", value=41111111)) == SourceRecord(topic="t", value=41111111)


def test_a_bad_pattern_is_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match="pattern"):
        MaskValue().configure(MaskValueConfig(pattern="("))


def test_a_folder_that_is_not_there_is_told_before_anything_runs() -> None:
    problems = FolderSourceConnector().validate({"folder": "no such folder", "topic": "t"})
    assert [problem.key for problem in problems] == ["folder"]


def test_its_entry_points_name_its_classes() -> None:
    groups = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    named = {path for group in groups.values() for path in group.values()}
    classes = (FolderSourceConnector, FolderSinkConnector, CsvRowConverter, MaskValue)
    assert named == {f"{kind.__module__}:{kind.__name__}" for kind in classes}
