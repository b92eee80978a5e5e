"""A configured name means one class, or the answer says what there is instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from connectors.file.sink import FileStreamSinkConnector
from connectors.file.source import FileStreamSourceConnector
from connectors.generator.source import GeneratorSourceConnector
from connectors.null import NullSinkConnector
from converters.byte_array import ByteArrayConverter
from converters.json import JsonConverter
from converters.numbers import (
    BooleanConverter,
    DoubleConverter,
    FloatConverter,
    IntegerConverter,
    LongConverter,
    ShortConverter,
)
from converters.string import StringConverter
from engine.api.errors import ConfigError
from engine.config.providers import FileConfigProvider
from engine.plugins.apart import Apart
from engine.plugins.catalog import Catalog, Kind, discover
from engine.plugins.listing import listing

OURS = "millrace.connectors"
APART = Apart(lambda *_: None, 30.0)


@pytest.fixture(scope="module")
def installed() -> Catalog:
    return discover()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python imports from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def complaint(catalog: Catalog, kind: Kind, name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        catalog.find(kind, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FileStreamSource", FileStreamSourceConnector),
        ("FileStreamSourceConnector", FileStreamSourceConnector),
        ("org.apache.kafka.connect.file.FileStreamSourceConnector", FileStreamSourceConnector),
        ("FileStreamSink", FileStreamSinkConnector),
        ("org.apache.kafka.connect.file.FileStreamSinkConnector", FileStreamSinkConnector),
        ("Generator", GeneratorSourceConnector),
        ("GeneratorSource", GeneratorSourceConnector),
        ("GeneratorSourceConnector", GeneratorSourceConnector),
        ("NullSink", NullSinkConnector),
        ("NullSinkConnector", NullSinkConnector),
        ("connectors.null:NullSinkConnector", NullSinkConnector),
        ("connectors.null.NullSinkConnector", NullSinkConnector),
        ("  NullSink ", NullSinkConnector),
    ],
)
def test_a_connector_has_many_names(installed: Catalog, name: str, expected: type) -> None:
    assert installed.find("connector", name) is expected


@pytest.mark.parametrize("kind", ["converter", "header_converter"])
@pytest.mark.parametrize(
    ("package", "name", "expected"),
    [
        ("storage", "StringConverter", StringConverter),
        ("json", "JsonConverter", JsonConverter),
        ("converters", "ByteArrayConverter", ByteArrayConverter),
        ("converters", "BooleanConverter", BooleanConverter),
        ("converters", "DoubleConverter", DoubleConverter),
        ("converters", "FloatConverter", FloatConverter),
        ("converters", "IntegerConverter", IntegerConverter),
        ("converters", "LongConverter", LongConverter),
        ("converters", "ShortConverter", ShortConverter),
    ],
)
def test_converters_have_the_names_of_kafka_connect(
    installed: Catalog, kind: Kind, package: str, name: str, expected: type
) -> None:
    for spelled in (f"org.apache.kafka.connect.{package}.{name}", name, name.removesuffix("Converter")):
        assert installed.find(kind, spelled) is expected


def test_config_providers_are_plugins_like_others(installed: Catalog) -> None:
    name = "org.apache.kafka.common.config.provider.FileConfigProvider"
    assert installed.find("config_provider", name) is FileConfigProvider


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("connector", "org.apache.kafka.connect.mirror.MirrorSourceConnector"),
        ("connector", "MirrorSource"),
    ],
)
def test_what_kafka_connect_has_and_millrace_lacks_is_said_so(installed: Catalog, kind: Kind, name: str) -> None:
    assert f"{name} is not built into Millrace yet; available" in complaint(installed, kind, name)


def test_a_misspelled_name_is_answered_with_the_nearest_and_all_there_are(installed: Catalog) -> None:
    text = complaint(installed, "connector", "FileStreamSourse")
    assert "matches FileStreamSourse, available connectors are: CassandraSinkConnector, " in text
    assert text.endswith('did you mean "FileStreamSource"?')


def test_an_unknown_module_is_named_and_so_is_what_there_is(installed: Catalog) -> None:
    text = complaint(installed, "connector", "io.debezium.PostgresConnector")
    assert "No module named 'io.debezium'" in text
    assert "available connectors are" in text


def test_a_class_of_another_kind_is_refused(installed: Catalog) -> None:
    assert "is no Converter" in complaint(installed, "converter", "connectors.null:NullSinkConnector")


def test_an_abstract_class_is_refused_with_what_it_lacks(installed: Catalog, folder: Path) -> None:
    (folder / "half_done.py").write_text(
        "from engine.api.connector import SourceConnector\nclass Half(SourceConnector): pass\n"
    )
    assert (
        complaint(installed, "connector", "half_done:Half") == "class half_done:Half is abstract: it lacks task_configs"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_module_that_fails_to_load_is_an_error_with_its_reason(
    installed: Catalog, folder: Path, body: str, reason: str
) -> None:
    (folder / "broken_plugin.py").write_text(body)
    text = complaint(installed, "connector", "broken_plugin:Anything")
    assert "broken_plugin" in text
    assert reason in text


def test_a_missing_class_of_a_module_that_loads_is_named(installed: Catalog) -> None:
    assert "there is no such class in module connectors.null" in complaint(
        installed, "connector", "connectors.null:Nil"
    )


def test_an_alias_of_two_classes_means_neither() -> None:
    catalog = Catalog(
        [
            EntryPoint("store", "connectors.file.sink:FileStreamSinkConnector", OURS),
            EntryPoint("store", "connectors.null:NullSinkConnector", OURS),
        ]
    )
    text = complaint(catalog, "connector", "store")
    assert "connectors.file.sink:FileStreamSinkConnector and of connectors.null:NullSinkConnector" in text
    assert catalog.find("connector", "NullSink") is NullSinkConnector


def test_a_class_registered_twice_is_one_class_with_both_names() -> None:
    catalog = Catalog(
        [
            EntryPoint("one", "connectors.null:NullSinkConnector", OURS),
            EntryPoint("two", "connectors.null:NullSinkConnector", OURS),
        ]
    )
    assert catalog.find("connector", "one") is catalog.find("connector", "two") is NullSinkConnector
    assert listing(catalog, APART)[0].aliases == ("NullSinkConnector", "one", "NullSink", "two")


def test_the_listing_tells_kinds_names_and_origins(installed: Catalog) -> None:
    listed = {info.path: info for info in listing(installed, APART) if info.origin.startswith("millrace ")}
    source = listed["connectors.file.source:FileStreamSourceConnector"]
    assert source.type == "source"
    assert "FileStreamSource" in source.aliases
    assert "org.apache.kafka.connect.file.FileStreamSourceConnector" in source.aliases
    assert source.version
    assert listed["connectors.null:NullSinkConnector"].type == "sink"


def test_the_listing_shows_a_broken_plugin_with_its_reason(folder: Path) -> None:
    (folder / "broken_listing.py").write_text("raise RuntimeError('out of paper')")
    (info,) = listing(Catalog([EntryPoint("printer", "broken_listing:Printer", OURS)]), APART)
    assert "RuntimeError: out of paper" in info.problem


def test_what_is_installed_is_read_anew_only_when_python_s_path_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = discover()
    assert discover() is before
    monkeypatch.syspath_prepend(tmp_path)
    assert discover() is not before
