"""Expression: a field computed from others, or a predicate, in a small language that can do nothing else.

    transforms=total                                    the value gets a field `total`
    transforms.total.type=Expression
    transforms.total.field=total
    transforms.total.expression=round(value.price * value.count, 2)

The language is that of the library simpleeval, which walks the syntax tree of an expression and knows no statements, no
imports and no names but those given. Methods are not called: what texts and numbers need are functions here.

Not here: whatever needs more than an expression (python.py).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, field
from msgspec.structs import replace

from engine.api.config import Config
from engine.api.errors import ConfigError, DataError, Problem
from engine.api.record import SinkRecord, SourceRecord
from engine.api.schema import Schema, schema_of
from engine.api.transform import AnyRecord, Predicate, Transform
from engine.transforms.building import renewed

__all__ = ["Expression", "ExpressionConfig", "ExpressionPredicate", "ExpressionPredicateConfig"]

#: What an expression may name.
NAMES = ("value", "key", "topic", "partition", "timestamp", "headers", "offset")
Type = Literal["int32", "int64", "float64", "boolean", "string"]


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


#: What an expression may call.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "bool": bool,
    "coalesce": _coalesce,
    "ends_with": str.endswith,
    "float": float,
    "int": int,
    "len": len,
    "lower": str.lower,
    "max": max,
    "min": min,
    "round": round,
    "starts_with": str.startswith,
    "str": str,
    "strip": str.strip,
    "upper": str.upper,
}


class ExpressionConfig(Config, frozen=True, kw_only=True):
    """What is computed, and where it goes."""

    expression: Annotated[str, Meta(min_length=1, description=f"An expression of {', '.join(NAMES)}.")]
    target: Annotated[
        str | None, Meta(description="The field of the value that it becomes; absent: it becomes the value.")
    ] = field(name="field", default=None)
    result_type: Annotated[
        Type | None,
        Meta(description="Its type, where the value has a schema; absent: that of the field, which is there then."),
    ] = field(name="result.type", default=None)


class ExpressionPredicateConfig(Config, frozen=True, kw_only=True):
    """What must be true."""

    expression: Annotated[str, Meta(min_length=1, description=f"An expression of {', '.join(NAMES)}.")]


class Expression(Transform):
    """Computes a field of the value, or the value."""

    config = ExpressionConfig

    def configure(self, config: ExpressionConfig) -> None:
        self._evaluate = _compiled(config.expression)
        self._field = config.target
        self._schema = None if config.result_type is None else Schema(config.result_type.upper(), optional=True)

    def apply(self, record: AnyRecord) -> AnyRecord:
        result = self._evaluate(record)
        schema, value = record.value_schema, record.value
        if self._field is None:
            if schema is None:
                return replace(record, value=result)
            new = self._schema or schema
            return replace(record, value=_checked(result, new, "the value"), value_schema=new)
        if value is None:
            raise DataError(f'the value is null: there is no place for a field "{self._field}"')
        if isinstance(value, dict):
            return replace(record, value={**value, self._field: result})
        if schema is None or schema.type != "STRUCT":
            raise DataError(f'expected a map or struct to put the field "{self._field}" into')
        return self._in_struct(record, schema, result)

    def _in_struct(self, record: AnyRecord, schema: Schema, result: Any) -> AnyRecord:
        name = self._field
        assert name is not None, "asked before"
        found = schema.field(name)
        new = self._schema or (None if found is None else found.schema)
        if new is None:
            raise DataError(f'the field "{name}" is not in the schema yet: give its type (result.type)')
        fields = {one.name: one.schema for one in schema.fields} | {name: new}
        changed = renewed(schema, fields.items())
        values = {one.name: getattr(record.value, schema.attribute(one.name)) for one in schema.fields}
        values[name] = _checked(result, new, f'the field "{name}"')
        made = changed.struct_type(**{changed.attribute(key): value for key, value in values.items()})
        return replace(record, value=made, value_schema=changed)


class ExpressionPredicate(Predicate):
    """Holds for a record for which an expression is true."""

    config = ExpressionPredicateConfig

    def configure(self, config: ExpressionPredicateConfig) -> None:
        self._evaluate = _compiled(config.expression)

    def test(self, record: SourceRecord | SinkRecord) -> bool:
        return bool(self._evaluate(record))


def _compiled(text: str) -> Callable[[SourceRecord | SinkRecord], Any]:
    """The function that an expression is. Raises ConfigError."""
    try:
        from simpleeval import InvalidExpression, SimpleEval  # noqa: PLC0415  an extra, for those who have expressions
    except ImportError as error:
        raise ConfigError("an expression needs the library simpleeval: install millrace[expression]") from error
    evaluator = SimpleEval(functions=dict(FUNCTIONS))
    evaluator.nodes[ast.Attribute] = lambda node: _member(evaluator._eval(node.value), node.attr)  # noqa: SLF001
    evaluator.nodes[ast.Subscript] = lambda node: _element(evaluator._eval(node.value), evaluator._eval(node.slice))  # noqa: SLF001
    for kind in (ast.List, ast.Tuple):
        evaluator.nodes[kind] = lambda node: [evaluator._eval(one) for one in node.elts]  # noqa: SLF001
    try:
        tree = evaluator.parse(text.strip())
    except (InvalidExpression, SyntaxError) as error:
        raise _bad(text, str(error)) from error
    _check(text, tree, evaluator.nodes)

    def evaluate(record: SourceRecord | SinkRecord) -> Any:
        evaluator.names = {
            "value": record.value,
            "key": record.key,
            "topic": record.topic,
            "partition": record.partition,
            "timestamp": record.timestamp,
            "headers": {header.key: header.value for header in record.headers},
            "offset": getattr(record, "offset", None),
            "true": True,
            "false": False,
            "null": None,
        }
        try:
            return evaluator.eval(text, previously_parsed=tree)
        except (InvalidExpression, TypeError, ValueError, ArithmeticError) as error:
            raise DataError(f"{text}: {type(error).__name__}: {error}") from error

    return evaluate


def _check(text: str, tree: ast.AST, known: Mapping[Any, Any]) -> None:
    """Raises ConfigError for what could only fail."""
    called = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
                raise _bad(text, f"{ast.unparse(node.func)} is no function; there are {', '.join(FUNCTIONS)}")
            called.add(node.func)
        elif isinstance(node, ast.Name):
            if node not in called and node.id not in (*NAMES, "true", "false", "null"):
                raise _bad(text, f"{node.id} is not known; expected one of {', '.join(NAMES)}")
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            raise _bad(text, f"{node.attr} starts with an underscore")
        elif isinstance(node, ast.expr) and type(node) not in known:
            raise _bad(text, f"{ast.unparse(node)} is of no kind that expressions have")


def _bad(text: str, reason: str) -> ConfigError:
    return ConfigError([Problem("expression", f"expression={text}: {reason}")])


def _member(holder: Any, name: str) -> Any:
    """A field of a map or struct; what a map or null does not have is null. Raises DataError."""
    if holder is None:
        return None
    if isinstance(holder, dict):
        return holder.get(name)
    schema = schema_of(holder)
    if schema is None:
        raise DataError(f"{type(holder).__name__} has no fields, and is asked for {name}")
    return schema.get(holder, name)


def _element(holder: Any, key: Any) -> Any:
    """An element of a list, or a field whose name is no word. Raises DataError."""
    if isinstance(holder, list):
        try:
            return holder[key]
        except (IndexError, TypeError) as error:
            raise DataError(f"[{key}]: {error}") from error
    return _member(holder, key)


def _checked(result: Any, schema: Schema, what: str) -> Any:
    """The result as a value of a schema. Raises DataError."""
    if schema.type.startswith("FLOAT") and isinstance(result, int) and not isinstance(result, bool):
        result = float(result)
    try:
        schema.validate(result)
    except DataError as error:
        raise DataError(f"{what} would be {result!r}: {error}") from error
    return result
