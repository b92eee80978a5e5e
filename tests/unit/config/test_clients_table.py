"""The table of settings is that of the librdkafka that is installed: each name, range and choice."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from engine.config.clients_java import IGNORED, REFUSED, RENAMED, RENAMED_OF
from engine.config.clients_table import ALIASES, NATIVE, OWNED, Native


def answer(client: str, name: str, value: Any) -> str:
    """librdkafka's complaint about one setting; empty: none."""
    base: dict[str, Any] = {"log_level": 0, "bootstrap.servers": ""}
    if client == "consumer":
        base["group.id"] = "g"
    try:
        if client == "consumer":
            Consumer({**base, name: value}).close()
        else:
            Producer({**base, name: value})
    except KafkaException as error:
        return str(error.args[0].str())
    except (TypeError, ValueError) as error:  # what the Python client checks itself
        return str(error)
    return ""


def client_of(native: Native) -> str:
    return "consumer" if native.client == "consumer" else "producer"


@pytest.mark.parametrize("name", sorted({*NATIVE, *ALIASES, *OWNED}))
def test_librdkafka_knows_every_name(name: str) -> None:
    native = NATIVE.get(ALIASES.get(name, name), Native("text"))
    assert "No such configuration property" not in answer(client_of(native), name, "?")


@pytest.mark.parametrize("name", sorted(name for name, native in NATIVE.items() if native.kind in ("whole", "decimal")))
def test_the_ranges_are_librdkafkas(name: str) -> None:
    native = NATIVE[name]
    for outside in (native.low - 1, native.high + 1):
        assert answer(client_of(native), name, outside), f"{name}={outside} was taken"


@pytest.mark.parametrize("name", sorted(name for name, native in NATIVE.items() if native.choices))
def test_the_choices_are_librdkafkas(name: str) -> None:
    native = NATIVE[name]
    for choice in native.choices:
        assert "Invalid value" not in answer(client_of(native), name, choice)


def test_what_is_translated_ends_at_a_known_name_and_nothing_is_both_ignored_and_refused() -> None:
    targets = {
        *RENAMED.values(),
        *ALIASES.values(),
        *(name for names in RENAMED_OF.values() for name in names.values()),
    }
    assert targets <= NATIVE.keys()
    assert not IGNORED.keys() & REFUSED.keys()
    assert not (IGNORED.keys() | REFUSED.keys()) & OWNED.keys()
