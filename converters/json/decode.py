"""Columns of JSON to values, with and without the envelope.

    payloads ──► one text, a payload a line, each in brackets ──► one strict decoding ──► values
                     │ refused                                        │ refused
                     └──► the halves ──► ... ──► one payload ──► the lenient way (reading.py, lenient.py)

With the envelope, payloads of one batch begin with the same bytes up to the payload's value: `Plan.prefix`. These are
cut off, so that a schema is read once and not once a record.

Why no bad payload can slip in between the others, or borrow from its neighbour: lines are joined by `]\\n[`. In a
text, its newline is an error; inside any bracket, a `[` directly after a `]` is one. So it stands at the outermost
level, every payload stands alone between its brackets, and the decoder takes only brackets around exactly one value.
Payloads that are all objects bring such a joint themselves, `}\\n{`: each is one value or more then, and there are as
many values as payloads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from converters.json import finish
from converters.json.alike import Alike
from converters.json.lenient import to_value
from converters.json.reading import STRING_CHARS_MAX, parse
from converters.json.schemas import schema_from_tree
from engine.api.column import Repeat
from engine.api.converter import Decoded, Failure
from engine.api.errors import DataError
from engine.api.schema import Schema
from engine.api.structs import INT_RANGES, annotation

__all__ = ["EnvelopeDecoder", "SchemaDecoder", "SchemalessDecoder"]

NEEDS_ENVELOPE = (
    'JsonConverter with schemas.enable requires "schema" and "payload" fields and may not contain additional fields. '
    "If you are trying to deserialize plain JSON data, set schemas.enable=false in your converter configuration."
)
NO_JSON = "Converting byte[] to Kafka Connect data failed due to serialization error: "
ALIKE_MIN = 16  # payloads; fewer are not worth a look at what they have in common
NESTING_MAX = 7  # deeper values without a schema are decoded one by one

# Numbers that Java reads as 0.0, where a strict decoder keeps the sign: with and without digits after the point.
# bench/micro/test_converters.py::schemaless_in: one expression takes a tenth of the time of `b"-0." in text`
_ZERO_FLOATS = re.compile(rb"-0(?:\.0+(?![0-9])|[eE])")
_ZEROS = re.compile(rb"-0(?:\.0+)?(?![0-9.])")
_PAYLOAD_KEY = re.compile(rb'"payload"[ \t\n\r]*:[ \t\n\r]*\Z')
_STRICT_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DataError)

Value = tuple[Any, Schema | None]


def _any_value() -> Any:
    """Any JSON whose whole numbers fit 64 bits; Java wraps larger ones, so they must go the lenient way."""
    low, high = INT_RANGES["INT64"]
    scalar = None | bool | Annotated[int, Meta(ge=low, le=high)] | float | str
    value: Any = scalar
    for _ in range(NESTING_MAX):
        value = scalar | list[value] | dict[str, value]
    return value


def _one(value: Any) -> Any:
    return tuple[value]  # a tuple of exactly one


class Envelope(Struct, forbid_unknown_fields=True):
    """A record in its envelope, both members undecoded."""

    schema: Raw
    payload: Raw


class Plan(NamedTuple):
    """How to read payloads that begin alike."""

    prefix: bytes  # all before the payload's value; empty: there is no envelope
    schema: Schema | None
    decoder: msgspec.json.Decoder[Any] | None  # of a value in brackets; None: only the lenient way will do
    finish: finish.Finisher | None
    zeros: re.Pattern[bytes] | None  # negative zeros that the decoder would make floats
    is_of_objects: bool = False  # the prefix goes on to the value's brace, and the decoder is of the value itself


class _BatchDecoder:
    """Halves a batch until what is strict has been decoded strictly and the rest leniently."""

    def decode(self, payloads: Sequence[bytes | None]) -> Decoded:
        """n payloads in, n values out; one that cannot be converted costs itself."""
        count = len(payloads)
        if isinstance(payloads, Repeat):
            # Not the same value n times: a list or dict in it would be shared.
            if count and payloads.value is None:
                return Decoded(payloads, payloads)
            payloads = [*payloads]
        if None in payloads:
            return self._decode_around_nulls(payloads)
        whole = self._strictly(payloads) if count else ([], None)  # type: ignore[arg-type]  # no None left
        if whole is not None:
            return Decoded(whole[0], Repeat(whole[1], count))
        values: list[Any] = []
        schemas: list[Schema | None] = []
        failures: list[Failure] = []
        self._decode(payloads, 0, count, (values, schemas, failures))  # type: ignore[arg-type]  # as above
        return Decoded(values, schemas, failures)

    def decode_one(self, payload: bytes | None) -> Value:
        """The value and schema of one payload. Raises DataError."""
        if payload is None:
            return None, None
        found = self._strictly([payload])
        return self._leniently(payload) if found is None else (found[0][0], found[1])

    def _decode(
        self,
        payloads: Sequence[bytes],
        start: int,
        end: int,
        into: tuple[list[Any], list[Schema | None], list[Failure]],
    ) -> None:
        values, schemas, failures = into
        if end - start == 1:
            try:
                value, schema = self.decode_one(payloads[start])
            except DataError as error:
                value = schema = None
                failures.append(Failure(start, error))
            values.append(value)
            schemas.append(schema)
        elif end > start:
            found = self._strictly(payloads[start:end])
            if found is not None:
                values += found[0]
                schemas += [found[1]] * (end - start)
                return
            middle = (start + end) // 2
            self._decode(payloads, start, middle, into)
            self._decode(payloads, middle, end, into)

    def _decode_around_nulls(self, payloads: Sequence[bytes | None]) -> Decoded:
        there = [index for index, payload in enumerate(payloads) if payload is not None]
        found = self.decode([payloads[index] for index in there])
        values: list[Any] = [None] * len(payloads)
        schemas: list[Schema | None] = [None] * len(payloads)
        for index, value, schema in zip(there, found.values, found.schemas, strict=True):
            values[index] = value
            schemas[index] = schema
        return Decoded(values, schemas, [Failure(there[failure.index], failure.error) for failure in found.failures])

    def _strictly(self, payloads: Sequence[bytes]) -> tuple[Sequence[Any], Schema | None] | None:
        raise NotImplementedError

    def _leniently(self, payload: bytes) -> Value:
        raise NotImplementedError


class SchemalessDecoder(_BatchDecoder):
    """Plain JSON: dicts, lists, texts and numbers."""

    def __init__(self) -> None:
        any_value = _any_value()
        self._plan = Plan(b"", None, msgspec.json.Decoder(_one(any_value)), None, _ZERO_FLOATS)
        self._alike = Alike(any_value)

    def _strictly(self, payloads: Sequence[bytes]) -> tuple[Sequence[Any], Schema | None] | None:
        if len(payloads) < ALIKE_MIN:
            values = _decoded(self._plan, payloads)
            return None if values is None else (values, None)
        alike = self._alike
        if alike.reader is not None:
            decoder, columns_of = alike.reader
            values = _decoded(self._plan._replace(decoder=decoder, finish=columns_of), payloads)
            if values is not None:
                alike.matched()
                return values, None
            alike.missed()
        values = _decoded(self._plan, payloads)
        if values is None:
            return None
        alike.learn(values)
        return values, None

    def _leniently(self, payload: bytes) -> Value:
        return to_value(None, _tree(payload), replace_null=True), None


class SchemaDecoder(_BatchDecoder):
    """Plain JSON under one schema that the configuration gives (`schema.content`)."""

    def __init__(self, schema: Schema, *, replace_null: bool) -> None:
        self._plan = _plan(b"", schema, replace_null=replace_null)
        self._schema = schema
        self._replace_null = replace_null

    def _strictly(self, payloads: Sequence[bytes]) -> tuple[Sequence[Any], Schema | None] | None:
        values = _decoded(self._plan, payloads)
        return None if values is None else (values, self._schema)

    def _leniently(self, payload: bytes) -> Value:
        return to_value(self._schema, _tree(payload), replace_null=self._replace_null), self._schema


class EnvelopeDecoder(_BatchDecoder):
    """JSON in its envelope, each payload with its schema."""

    def __init__(self, *, replace_null: bool, cache_size: int) -> None:
        self._replace_null = replace_null
        self._plans: dict[bytes, Plan] = {}  # by prefix
        self._schemas: dict[bytes, Schema | None] = {}  # by the bytes of the schema member
        self._size_max = max(cache_size, 1)
        self._last = Plan(b"\0", None, None, None, None)  # what no payload begins with
        self._envelope = msgspec.json.Decoder(Envelope)

    def _strictly(self, payloads: Sequence[bytes]) -> tuple[Sequence[Any], Schema | None] | None:
        first = payloads[0]
        if not first.startswith(self._last.prefix):
            plan = self._plan_for(first)
            if plan is None:
                return None
            self._last = plan
        plan = self._last
        values = _decoded(plan, payloads)
        return None if values is None else (values, plan.schema)

    def _leniently(self, payload: bytes) -> Value:
        tree = _tree(payload)
        if not isinstance(tree, dict) or tree.keys() != {"schema", "payload"}:
            raise DataError(NEEDS_ENVELOPE)
        schema = schema_from_tree(tree["schema"], replace_null=self._replace_null)
        return to_value(schema, tree["payload"], replace_null=self._replace_null), schema

    def _plan_for(self, payload: bytes) -> Plan | None:
        """How to read payloads that begin like this one; None where that cannot be said by its bytes."""
        try:
            envelope = self._envelope.decode(payload)
            value, text = bytes(envelope.payload), bytes(envelope.schema)
            prefix = payload[: -len(value) - 1]
            # The key in front of it tells that it is the last member's value, and not a part of it that looks alike.
            if payload != prefix + value + b"}" or not _PAYLOAD_KEY.search(prefix):
                return None
            prefix.decode()  # an undecoded member may hold anything
            plan = self._plans.get(prefix)
            if plan is None:
                schema = self._schema(text)
                plan = _of_objects(_plan(prefix, schema, replace_null=self._replace_null))
                _keep(self._plans, prefix, plan, self._size_max)
            return plan
        except (*_STRICT_ERRORS, ValueError):
            return None  # whatever it is, the lenient way finds it again, and the words for it

    def _schema(self, text: bytes) -> Schema | None:
        if text not in self._schemas:
            schema = schema_from_tree(parse(text), replace_null=self._replace_null)
            _keep(self._schemas, text, schema, self._size_max)
        return self._schemas[text]


def _plan(prefix: bytes, schema: Schema | None, *, replace_null: bool) -> Plan:
    if schema is None:
        return Plan(prefix, None, msgspec.json.Decoder(_one(_any_value())), None, _ZERO_FLOATS)
    if not finish.is_direct(schema, replace_null=replace_null):
        return Plan(prefix, schema, None, None, None)
    decoder = msgspec.json.Decoder(_one(annotation(schema)))
    return Plan(prefix, schema, decoder, finish.finisher(schema), _ZEROS if _has_floats(schema) else None)


def _of_objects(plan: Plan) -> Plan:
    """The same for values that can only be objects, where they stand in an envelope."""
    schema = plan.schema
    if schema is None or plan.decoder is None or schema.type != "STRUCT":
        return plan
    if schema.optional or schema.default is not None:
        return plan  # a null may stand in the place of one
    decoder = msgspec.json.Decoder(annotation(schema))
    return plan._replace(prefix=plan.prefix + b"{", decoder=decoder, is_of_objects=True)


def _has_floats(schema: Schema) -> bool:
    parts = [schema.key_schema, schema.value_schema, *(field.schema for field in schema.fields)]
    return schema.type in ("FLOAT32", "FLOAT64") or any(_has_floats(part) for part in parts if part is not None)


def _decoded(plan: Plan, payloads: Sequence[bytes]) -> Sequence[Any] | None:
    """The values of payloads that all keep to the plan strictly; None if one does not."""
    if plan.decoder is None:
        return None
    opening, closing = (b"{", b"}") if plan.is_of_objects else (b"[", b"]")
    joint = closing + b"\n" + opening
    bodies = payloads
    if plan.prefix:
        prefix, suffix = plan.prefix, b"}}" if plan.is_of_objects else b"}"
        # bench/micro/test_converters.py::envelope_in: a third of the time of replacing prefixes in one text
        bodies = [payload.removeprefix(prefix).removesuffix(suffix) for payload in payloads]
    text = opening + joint.join(bodies) + closing
    if plan.prefix:
        cut = sum(map(len, payloads)) - (len(text) - len(joint) * (len(bodies) - 1) - len(opening + closing))
        if cut != (len(prefix) + len(suffix)) * len(payloads):
            return None
    if len(text) > STRING_CHARS_MAX:
        return None  # one may hold a longer text than is read, which `parse` finds out
    if plan.zeros is not None and plan.zeros.search(text):
        return None
    try:
        if not text.isascii():
            text.decode()  # members that no schema knows are skipped without a look at their encoding
        values = plan.decoder.decode_lines(text)
        if not plan.is_of_objects:
            values = [*chain.from_iterable(values)]
        if len(values) != len(payloads):
            return None
        return values if plan.finish is None else plan.finish(values)
    except _STRICT_ERRORS:
        return None


def _tree(payload: bytes) -> Any:
    try:
        return parse(payload)
    except ValueError as error:
        raise DataError(NO_JSON, expected=f"JSON ({error})") from error


def _keep(cache: dict[bytes, Any], key: bytes, value: Any, size_max: int) -> None:
    if len(cache) >= size_max:
        cache.pop(next(iter(cache)))  # the oldest
    cache[key] = value
