"""The documentation of the configuration is what the declarations say."""

from __future__ import annotations

from pathlib import Path

from engine.api.config import keys_of
from engine.config.connector_keys import SinkKeys, SourceKeys
from engine.config.document import document
from engine.config.worker_keys import WorkerConfig

DOCUMENT = Path(__file__).parents[3] / "docs" / "config.md"


def test_the_document_is_fresh() -> None:
    assert DOCUMENT.read_text("utf-8") == document(), "run: python -m engine.config.document > docs/config.md"


def test_every_declared_key_is_in_it() -> None:
    text = document()
    for config in (WorkerConfig, SinkKeys, SourceKeys):
        for key in keys_of(config):
            assert f"| `{key.name}` |" in text
