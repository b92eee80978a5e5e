"""ProtobufConverter: Protocol Buffers with a schema registry, as Confluent's ProtobufConverter reads and writes it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, field

from converters.registry.client import Registered, Text
from converters.registry.config import RegistryConfig
from converters.registry.converter import Reader, RegistryConverter, Target, Writer
from engine.api.config import Config
from engine.api.errors import DataError
from engine.api.schema import Schema

__all__ = ["ProtobufConfig", "ProtobufConverter"]

_PROTOBUF = {"group": "Protobuf", "width": "MEDIUM", "importance": "LOW"}


class ProtobufConfig(RegistryConfig, frozen=True, kw_only=True):
    """How schemas of Connect and messages become each other."""

    is_enhanced: Annotated[bool, Meta(description="Whether names of messages keep their package.", extra=_PROTOBUF)] = (
        field(name="enhanced.protobuf.schema.support", default=False)
    )
    scrubs: Annotated[
        bool, Meta(description="Whether characters that no name takes are replaced in names.", extra=_PROTOBUF)
    ] = field(name="scrub.invalid.names", default=False)
    has_optionals: Annotated[
        bool,
        Meta(description="Whether optional fields have the label optional, so that a null stays one.", extra=_PROTOBUF),
    ] = field(name="optional.for.nullables", default=False)
    has_wrappers: Annotated[
        bool, Meta(description="Whether optional scalars are wrapper messages of Google's.", extra=_PROTOBUF)
    ] = field(name="wrapper.for.nullables", default=False)


class ProtobufConverter(RegistryConverter):
    """Values to messages and back."""

    config: ClassVar[type[Config]] = ProtobufConfig
    kind = "PROTOBUF"

    def configure(self, config: ProtobufConfig, *, is_key: bool) -> None:
        super().configure(config, is_key=is_key)
        # Here, and not at the top: who uses no Protocol Buffers needs no library for them.
        from converters.protobuf.from_connect import ProtoSchemas  # noqa: PLC0415

        self._protobuf = config
        self._rules = ProtoSchemas(
            has_wrappers=config.has_wrappers, has_optionals=config.has_optionals, scrubs=config.scrubs
        )

    def _reader(self, found: Registered, version: int | None) -> Reader:
        from converters.protobuf.files import proto_file  # noqa: PLC0415  as above
        from converters.protobuf.reader import Planner, ProtobufReader  # noqa: PLC0415

        file = proto_file(found.text.schema, found.referred)
        planner = Planner(
            file,
            has_wrappers=self._protobuf.has_wrappers,
            has_optionals=self._protobuf.has_optionals,
            is_enhanced=self._protobuf.is_enhanced,
        )
        return ProtobufReader(file, planner, version)

    def _target(self, schema: Schema | None) -> Target:
        return Target(Text("PROTOBUF", self._rules.of(schema)), None if schema is None else schema.name)

    def _writer(self, schema: Schema | None, found: Registered, *, is_strict: bool) -> Writer:
        from converters.protobuf.files import proto_file  # noqa: PLC0415  as above
        from converters.protobuf.writer import ProtobufWriter  # noqa: PLC0415

        if schema is None or schema.type != "STRUCT":
            raise DataError(
                "a message of Protocol Buffers is a struct", expected="a value with a schema of type STRUCT"
            )
        file = proto_file(found.text.schema, found.referred)
        wanted = self._rules.name((schema.name or "").rpartition(".")[2] or "_")
        indexes = (file.names.index(wanted) if wanted in file.names else 0,)
        return ProtobufWriter(schema, file.message(indexes), indexes, self._rules, is_strict=is_strict)

    def _name_of(self, found: Registered) -> str | None:
        from converters.protobuf.files import proto_file  # noqa: PLC0415  as above

        return str(proto_file(found.text.schema, found.referred).message((0,)).full_name)
