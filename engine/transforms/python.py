"""Python: a transform, or a predicate, that is a function of the user's own module.

    transforms=clean                                    def clean(record):
    transforms.clean.type=Python                            return replace(record, value=record.value.strip())
    transforms.clean.function=shop.orders:clean

Not here: transforms with keys of their own, which are classes (docs/plugin-guide.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Annotated, Any

from msgspec import Meta

from engine.api.batch import Columns
from engine.api.config import Config
from engine.api.converter import Failure
from engine.api.errors import ConfigError, Problem
from engine.api.record import SinkRecord, SourceRecord
from engine.api.transform import AnyRecord, FlatMap, Predicate

__all__ = ["Python", "PythonConfig", "PythonPredicate"]


class PythonConfig(Config, frozen=True, kw_only=True):
    """Which function, and what it takes."""

    function: Annotated[str, Meta(min_length=1, description="Where it is: `package.module:function`.")]
    batch: Annotated[
        bool,
        Meta(
            description="Whether it takes a batch (`engine.api.batch.Columns`) instead of a record: as a transform it "
            "changes it in place and gives nothing, or failures; as a predicate it gives a bool for each record."
        ),
    ] = False


class Python(FlatMap):
    """Calls a function of yours: it gives the record that goes on, None to drop it, or several."""

    config = PythonConfig

    def configure(self, config: PythonConfig) -> None:
        self._function = _load(config.function)
        self._is_batch = config.batch

    def apply_many(self, record: AnyRecord) -> Iterable[AnyRecord]:
        if self._is_batch:
            raise AssertionError("a function of batches is called with them")
        found: Any = self._function(record)
        if isinstance(found, SourceRecord | SinkRecord):
            found = [found]
        several: Iterable[AnyRecord] = () if found is None else found
        return several

    def apply_batch(self, columns: Columns) -> Sequence[Failure]:
        if self._is_batch:
            return self._function(columns) or ()
        return super().apply_batch(columns)


class PythonPredicate(Predicate):
    """Asks a function of yours whether a transform applies to a record."""

    config = PythonConfig

    def configure(self, config: PythonConfig) -> None:
        self._function = _load(config.function)
        self._is_batch = config.batch

    def test(self, record: SourceRecord | SinkRecord) -> bool:
        if self._is_batch:
            raise AssertionError("a function of batches is called with them")
        return bool(self._function(record))

    def test_batch(self, columns: Columns) -> Sequence[bool]:
        if self._is_batch:
            found: Sequence[bool] = self._function(columns)
            return found
        return super().test_batch(columns)


def _load(path: str) -> Callable[[Any], Any]:
    """The function at a dotted path. Raises ConfigError."""
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    text = f"function={path}: expected package.module:function, which can be imported"
    if not module or not name:
        raise ConfigError([Problem("function", text)])
    try:
        function = reduce(getattr, name.split("."), importlib.import_module(module))
    except Exception as error:
        raise ConfigError([Problem("function", f"{text}: {type(error).__name__}: {error}")]) from error
    if not callable(function):
        raise ConfigError(
            [Problem("function", f"function={path}: expected a function, found {type(function).__name__}")]
        )
    return function
