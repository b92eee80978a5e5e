"""Objects with the same keys are read as columns, and what has others is read all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters.json import JsonConfig, JsonConverter
from converters.json.alike import KEYS_MAX, SHAPES_MAX, WAIT_MAX
from converters.json.decode import ALIKE_MIN
from engine.api.column import MapColumn

ORDER = b'{"id":1,"who":"a"}'
OTHER = b'{"id":1,"what":"b"}'


def plain() -> JsonConverter:
    made = JsonConverter()
    made.configure(JsonConfig.parse({"schemas.enable": "false"}))
    return made


def read(made: JsonConverter, *payloads: bytes) -> Sequence[Any]:
    found = made.to_connect("topic", [*payloads])
    assert not found.failures
    return found.values


def test_the_second_batch_of_objects_with_the_same_keys_is_read_as_columns() -> None:
    made = plain()
    assert isinstance(read(made, *[ORDER] * ALIKE_MIN), list)
    values = read(made, *[ORDER] * (ALIKE_MIN - 1), b'{"who":null,"id":{"a":[1]}}')
    assert isinstance(values, MapColumn)
    assert values.columns == {"id": [1] * (ALIKE_MIN - 1) + [{"a": [1]}], "who": ["a"] * (ALIKE_MIN - 1) + [None]}
    assert values[-1] == {"id": {"a": [1]}, "who": None}


def test_few_objects_are_read_as_maps() -> None:
    made = plain()
    read(made, *[ORDER] * ALIKE_MIN)
    assert isinstance(read(made, *[ORDER] * (ALIKE_MIN - 1)), list)


def test_one_object_with_other_keys_is_read_with_the_rest() -> None:
    made = plain()
    read(made, *[ORDER] * ALIKE_MIN)
    values = read(made, *[ORDER] * ALIKE_MIN, OTHER)
    assert [*values] == [{"id": 1, "who": "a"}] * ALIKE_MIN + [{"id": 1, "what": "b"}]


def test_objects_that_are_not_alike_are_tried_ever_less_often() -> None:
    made = plain()
    alike, mixed = [ORDER] * ALIKE_MIN, [*[ORDER] * (ALIKE_MIN // 2 + 1), OTHER, *[ORDER] * (ALIKE_MIN // 2)]
    waits = []
    for _ in range(8):
        tries = 0
        while made._decoder._alike.reader is None:  # type: ignore[union-attr]  # without schemas it is this one
            read(made, *alike)
            tries += 1
        waits.append(tries)
        read(made, *mixed)
    assert waits == [1, 1, 3, 7, 15, 31, 63, WAIT_MAX]
    while not isinstance(read(made, *alike), MapColumn):
        pass
    read(made, *mixed)
    assert isinstance(read(made, *alike), list)
    assert isinstance(read(made, *alike), MapColumn)


def test_a_change_of_keys_is_followed() -> None:
    made = plain()
    for _ in range(4):
        read(made, *[ORDER] * ALIKE_MIN)
    for _ in range(3):
        values = read(made, *[OTHER] * ALIKE_MIN)
    assert isinstance(values, MapColumn)
    assert [*values.columns] == ["id", "what"]


def test_keys_that_a_class_cannot_have_stay_in_maps() -> None:
    made = plain()
    many = b"{" + b",".join(b'"k%d":1' % at for at in range(KEYS_MAX + 1)) + b"}"
    for odd in (b'{"a\\"b":1}', b'{"a\\u0001":1}', b'{"\\\\":1}', b"{}", b"[]", many):
        for _ in range(3):
            assert isinstance(read(made, *[odd] * ALIKE_MIN), list), odd


def test_any_other_key_can_be_read_as_a_column() -> None:
    for key in ("", "class", "a-b", "\u00e4", "\U0001f600", "f1", "__class__"):
        made = plain()
        for _ in range(2):
            values = read(made, *['{"%s":1,"f0":2}'.replace("%s", key).encode()] * ALIKE_MIN)
        assert isinstance(values, MapColumn), key
        assert values[0] == {key: 1, "f0": 2}


def test_shapes_are_not_kept_without_end() -> None:
    made = plain()
    for shape in range(SHAPES_MAX + 5):
        for _ in range(WAIT_MAX + 3):
            read(made, *[b'{"k%d":1}' % shape] * ALIKE_MIN)
    assert len(made._decoder._alike._readers) == SHAPES_MAX  # type: ignore[union-attr]  # as above
