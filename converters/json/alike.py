"""Objects without a schema that have the same keys, read as columns.

    {"id":1,"who":"a"}  ─┐  a struct class of these keys   ┌─►  id   1, 2
    {"id":2,"who":"b"}  ─┘  reads both                     └─►  who  "a", "b"

Most topics hold objects of one shape. Read as structs they take half the time that dicts take, and turned into a
`MapColumn` they spare the transforms and the connector the dicts as well. The keys are learned from what was read as
dicts; an object with other keys is refused by the struct class, and its whole batch is read as dicts again.

A map has no order of its own, here that of the keys in the object that was learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engine.api.column import MapColumn, fields_of

__all__ = ["Alike"]

#: Objects with more keys stay dicts: a class for them takes longer to make, and each is larger than it is worth.
KEYS_MAX = 100
SHAPES_MAX = 8
WAIT_MAX = 64

Reader = tuple["msgspec.json.Decoder[Any]", Callable[[Sequence[Any]], MapColumn]]


class Alike:
    """The keys that the objects of a topic have, as far as they are all the same."""

    def __init__(self, value: Any) -> None:
        """value: the type of what stands under a key."""
        self._value = value
        self._readers: dict[tuple[str, ...], Reader | None] = {}
        #: For the next batch; None: nothing is known, or objects differ.
        self.reader: Reader | None = None
        self._wait = 0
        self._left = 0  # batches until something is learned again

    def missed(self) -> None:
        """A batch was not alike: with each that is not, it takes longer until the next is tried."""
        self.reader = None
        self._wait = self._left = min(2 * self._wait + 1, WAIT_MAX)

    def matched(self) -> None:
        """A batch was alike."""
        self._wait = 0

    def learn(self, values: Sequence[Any]) -> None:
        """Take the keys of a batch's values for those of the next, if the first, middle and last have the same."""
        if self._left:
            self._left -= 1
            return
        looked_at = (values[0], values[len(values) // 2], values[-1])
        if not all(type(value) is dict for value in looked_at):
            return
        names = tuple(values[0])
        if 0 < len(names) <= KEYS_MAX and all(value.keys() == values[0].keys() for value in looked_at):
            self.reader = self._of(names)

    def _of(self, names: tuple[str, ...]) -> Reader | None:
        if names not in self._readers:
            if len(self._readers) >= SHAPES_MAX:
                del self._readers[next(iter(self._readers))]
            self._readers[names] = _reader(names, self._value)
        return self._readers[names]


def _reader(names: tuple[str, ...], value: Any) -> Reader | None:
    """Reads lines of one object with these keys; None where a struct class cannot have them."""
    fields = [(f"f{at}", value) for at in range(len(names))]
    try:
        kind = msgspec.defstruct(
            "Alike",
            fields,
            rename=dict(zip((name for name, _ in fields), names, strict=True)).get,
            forbid_unknown_fields=True,
            gc=False,  # none outlives its batch
        )
        decoder = msgspec.json.Decoder(tuple[kind])  # type: ignore[valid-type]  # made of the keys that came
    except ValueError:  # a key with a quote or a control character
        return None

    take_apart = fields_of(kind)

    def columns_of(values: Sequence[Any]) -> MapColumn:
        return MapColumn(dict(zip(names, take_apart(values), strict=True)), len(values))

    return decoder, columns_of
