"""AvroConverter: Avro with a schema registry, as Confluent's AvroConverter reads and writes it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, field

from converters.registry.client import Registered, Text
from converters.registry.config import RegistryConfig
from converters.registry.converter import Reader, RegistryConverter, Target, Writer
from engine.api.config import Config
from engine.api.schema import Schema

__all__ = ["AvroConfig", "AvroConverter"]

_AVRO = {"group": "Avro", "width": "MEDIUM", "importance": "LOW"}


class AvroConfig(RegistryConfig, frozen=True, kw_only=True):
    """How schemas of Connect and of Avro become each other."""

    has_metadata: Annotated[
        bool, Meta(description="Whether properties of Avro hold what it has no word for.", extra=_AVRO)
    ] = field(name="connect.meta.data", default=True)
    is_enhanced: Annotated[
        bool,
        Meta(description="Whether enums stay enums, and names in unions keep their namespace.", extra=_AVRO),
    ] = field(name="enhanced.avro.schema.support", default=False)
    scrubs: Annotated[
        bool, Meta(description="Whether characters that no name takes are replaced in names.", extra=_AVRO)
    ] = field(name="scrub.invalid.names", default=False)
    discards_docs: Annotated[
        bool, Meta(description="Whether documentation in schemas of Avro is left out.", extra=_AVRO)
    ] = field(name="discard.type.doc.default", default=False)
    has_optional_keys: Annotated[
        bool,
        Meta(description="Whether a map with optional text as keys is a map, and not an array of pairs.", extra=_AVRO),
    ] = field(name="allow.optional.map.keys", default=False)


class AvroConverter(RegistryConverter):
    """Values to Avro and back."""

    config: ClassVar[type[Config]] = AvroConfig
    kind = "AVRO"

    def configure(self, config: AvroConfig, *, is_key: bool) -> None:
        super().configure(config, is_key=is_key)
        # Here, and not at the top: who uses no Avro needs no library for it.
        from converters.avro.from_connect import AvroSchemas  # noqa: PLC0415

        self._avro = config
        self._rules = AvroSchemas(
            has_metadata=config.has_metadata,
            is_enhanced=config.is_enhanced,
            scrubs=config.scrubs,
            has_optional_keys=config.has_optional_keys,
        )

    def _reader(self, found: Registered, version: int | None) -> Reader:
        from converters.avro.definitions import definitions_of  # noqa: PLC0415  as above
        from converters.avro.reader import AvroReader  # noqa: PLC0415
        from converters.avro.to_connect import Planner  # noqa: PLC0415

        definitions = definitions_of(found.text.schema, found.referred)
        planner = Planner(
            definitions,
            has_metadata=self._avro.has_metadata,
            is_enhanced=self._avro.is_enhanced,
            has_type_docs=not self._avro.discards_docs,
        )
        node = planner.plan(version)
        return AvroReader(node, node.schema)

    def _target(self, schema: Schema | None) -> Target:
        raw = self._rules.of(schema)
        text = raw if isinstance(raw, str) else msgspec.json.encode(raw).decode()
        return Target(Text("AVRO", f'"{text}"' if isinstance(raw, str) else text), _record_name(raw))

    def _writer(self, schema: Schema | None, found: Registered, *, is_strict: bool) -> Writer:
        from converters.avro.binding import Binder  # noqa: PLC0415  as above
        from converters.avro.definitions import definitions_of  # noqa: PLC0415
        from converters.avro.writer import AvroWriter  # noqa: PLC0415

        definitions = definitions_of(found.text.schema, found.referred)
        return AvroWriter(Binder(definitions, self._rules, is_strict=is_strict).bind(schema))

    def _name_of(self, found: Registered) -> str | None:
        try:
            return _record_name(msgspec.json.decode(found.text.schema))
        except msgspec.DecodeError:
            return None


def _record_name(raw: Any) -> str | None:
    """The full name of a record; of a union with null, that of the other."""
    if isinstance(raw, list):
        named = [_record_name(one) for one in raw if one != "null"]
        return named[0] if len(named) == 1 else None
    if not isinstance(raw, dict) or "name" not in raw:
        return None
    space = raw.get("namespace")
    return raw["name"] if not space or "." in raw["name"] else f"{space}.{raw['name']}"
