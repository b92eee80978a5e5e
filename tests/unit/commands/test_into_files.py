"""Which sink letters go straight into: one of the files, or of a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.commands.into import line_into


def pipeline(folder: Path, name: str, *, worker: bool = False, source: bool = False) -> Path:
    path = folder / f"{name}.{'toml' if worker else 'properties'}"
    config = {"connector.class": "NullSink", "topics": "orders"}
    if source:
        config = {"connector.class": "Generator", "topic": "orders"}
    keys = {"bootstrap.servers": "127.0.0.1:1", "key.converter": "String", "value.converter": "String"}
    if worker:
        text = "[worker]\n" + "".join(f'"{key}" = "{value}"\n' for key, value in keys.items())
        text += f"[connectors.{name}]\n" + "".join(f'"{key}" = "{value}"\n' for key, value in config.items())
    else:
        text = f"name={name}\n" + "".join(f"{key}={value}\n" for key, value in config.items())
    path.write_text(text)
    return path


@pytest.mark.slow
def test_a_sink_is_one_of_the_files_or_has_a_file_of_its_own(tmp_path: Path) -> None:
    whole, other = pipeline(tmp_path, "copy", worker=True), pipeline(tmp_path, "mended")
    assert line_into([whole, other], "mended").connector == "mended"
    assert line_into([whole], str(other)).connector == "mended"
    assert line_into([], str(whole)).connector == "copy"
    assert line_into([other], str(whole)).connector == "copy"
    with pytest.raises(ConfigError, match="there is no connector stock; expected -c with one of copy"):
        line_into([whole], "stock")
    with pytest.raises(ConfigError, match="--into stock.toml: there is no such file"):
        line_into([], "stock.toml")
    with pytest.raises(ConfigError, match="it is a source; expected a sink"):
        line_into([whole], str(pipeline(tmp_path, "numbers", source=True)))
