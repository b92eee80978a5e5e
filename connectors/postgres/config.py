"""What the PostgreSQL sink can be told, and which table a topic goes to.

Names are those of Kafka Connect's JDBC sinks, where they have one for the same thing.

Used by: the modules of this folder.
Not here: what is said of the connection (addresses.py), what only the server knows (checking.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple

from msgspec import Meta, field

from connectors.postgres.addresses import libpq_parameters
from engine.api.config import Config, Password
from engine.api.errors import ConfigError, Problem

__all__ = [
    "KAFKA_COLUMNS",
    "NAME_BYTES_MAX",
    "NAMING",
    "PostgresSinkConfig",
    "Target",
    "contradictions",
    "literal",
    "quoted",
]

TOPIC = "${topic}"
#: The columns of `pk.mode=kafka`, unless `pk.fields` names others.
KAFKA_COLUMNS = ("__connect_topic", "__connect_partition", "__connect_offset")
#: What the answers of a person who looks for a table's name begin with.
NAMING = "table.name.format, topic.to.table.map"
#: A cut is made at dots outside of these.
QUOTE = '"'
#: PostgreSQL cuts longer names, and says so to nobody.
NAME_BYTES_MAX = 63


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return QUOTE + name.replace(QUOTE, QUOTE * 2) + QUOTE


def literal(text: str) -> str:
    """A text as SQL takes it, however the server is set up to read backslashes."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class Target(NamedTuple):
    """A table."""

    schema: str | None  # None: the search path tells
    table: str

    @property
    def sql(self) -> str:
        """As SQL takes it."""
        return ".".join(map(quoted, filter(None, self)))

    def __str__(self) -> str:
        return ".".join(filter(None, self))


class PostgresSinkConfig(Config, frozen=True, kw_only=True):
    """Where to, into which tables, and how."""

    ignore_case: ClassVar[frozenset[str]] = frozenset({"insert.mode", "pk.mode"})

    url: Annotated[
        str,
        Meta(
            min_length=1,
            description="Where the database is: `postgresql://HOST:PORT/DATABASE` with libpq's parameters, or a JDBC "
            "URL. Several hosts, with commas: the first one that takes writes.",
            extra={"importance": "HIGH", "group": "Connection"},
        ),
    ] = field(name="connection.url")
    user: Annotated[str | None, Meta(description="Who connects.", extra={"group": "Connection"})] = field(
        name="connection.user", default=None
    )
    password: Annotated[Password | None, Meta(description="Their password.", extra={"group": "Connection"})] = field(
        name="connection.password", default=None
    )
    credentials_file: Annotated[
        str | None,
        Meta(
            description="A file with lines `user=...` and `password=...`, read at each connection: what is put into it "
            "counts from the next one on.",
            extra={"group": "Connection"},
        ),
    ] = field(name="connection.credentials.file", default=None)
    connect_ms: Annotated[
        int,
        Meta(ge=2000, le=600_000, description="How long a connection may take.", extra={"group": "Connection"}),
    ] = field(name="connection.timeout.ms", default=10_000)
    statement_ms: Annotated[
        int,
        Meta(ge=1000, le=3_600_000, description="How long a statement may take.", extra={"group": "Connection"}),
    ] = field(name="statement.timeout.ms", default=60_000)
    table_format: Annotated[
        str,
        Meta(
            min_length=1,
            description="The table of a topic: `${topic}` is its name. A dot separates schema and table; one in the "
            "topic's name does not.",
        ),
    ] = field(name="table.name.format", default=TOPIC)
    tables: Annotated[
        list[str], Meta(description="Tables of single topics, before the format: `topic:table`, `topic:schema.table`.")
    ] = field(name="topic.to.table.map", default_factory=list)
    insert_mode: Annotated[
        Literal["insert", "upsert"],
        Meta(description="`upsert`: a row with the same key is replaced.", extra={"importance": "HIGH"}),
    ] = field(name="insert.mode", default="insert")
    pk_mode: Annotated[
        Literal["none", "kafka", "record_key", "record_value"],
        Meta(
            description="What the key of a row is: nothing; topic, partition and offset; the record's key; fields of "
            "its value.",
            extra={"importance": "HIGH"},
        ),
    ] = field(name="pk.mode", default="none")
    pk_fields: Annotated[
        list[str],
        Meta(
            description="The key's columns. Empty: all fields of the key or value, or `__connect_topic`, "
            "`__connect_partition`, `__connect_offset`. A key that is no struct or map needs one."
        ),
    ] = field(name="pk.fields", default_factory=list)
    delete_enabled: Annotated[
        bool, Meta(description="Whether a null value deletes the row of its key. Needs `pk.mode=record_key`.")
    ] = field(name="delete.enabled", default=False)
    auto_create: Annotated[bool, Meta(description="Whether a table that is missing is made from the schema.")] = field(
        name="auto.create", default=False
    )
    auto_evolve: Annotated[bool, Meta(description="Whether columns that are missing are added.")] = field(
        name="auto.evolve", default=False
    )
    fields: Annotated[
        list[str], Meta(description="The fields of the value that are written, beside the key's. Empty: all.")
    ] = field(name="fields.whitelist", default_factory=list)
    offsets_table: Annotated[
        str,
        Meta(
            min_length=1,
            description="Where it is kept how far each partition is; made if it is missing. `table` or `schema.table`.",
        ),
    ] = field(name="offsets.table", default="millrace_offsets")

    @property
    def is_ordered(self) -> bool:
        """Whether a record may concern the row of one before it."""
        return self.insert_mode == "upsert" or self.delete_enabled

    @property
    def offsets(self) -> Target:
        """The table of offsets."""
        return _target(self.offsets_table)

    def target(self, topic: str) -> Target:
        """The table of a topic. Raises ConfigError for what is no name."""
        for entry in self.tables:
            name, _, table = entry.rpartition(":")
            if name.strip() == topic:
                return _target(table.strip())
        return _target(self.table_format, topic)


def contradictions(settings: PostgresSinkConfig) -> Iterator[Problem]:
    """What single keys cannot tell."""
    try:
        libpq_parameters(settings.url)
    except ValueError as error:
        yield Problem("connection.url", f"Invalid value for configuration connection.url: {error}")
    if settings.password is not None and settings.credentials_file is not None:
        yield Problem(
            "connection.password", "connection.password and connection.credentials.file are given: expected one of them"
        )
    if settings.insert_mode == "upsert" and settings.pk_mode == "none":
        yield Problem("pk.mode", "insert.mode=upsert needs a key: expected pk.mode=record_key, record_value or kafka")
    if settings.delete_enabled and settings.pk_mode != "record_key":
        yield Problem(
            "delete.enabled",
            f"delete.enabled=true needs pk.mode=record_key, got {settings.pk_mode}: a null value has a key only",
        )
    if settings.pk_mode == "kafka" and len(settings.pk_fields) not in (0, len(KAFKA_COLUMNS)):
        yield Problem(
            "pk.fields",
            f"pk.fields={','.join(settings.pk_fields)}: pk.mode=kafka expects three names, of the columns for topic, "
            "partition and offset, or none",
        )
    yield from _bad_names(settings)


def _bad_names(settings: PostgresSinkConfig) -> Iterator[Problem]:
    for key, text in (("table.name.format", settings.table_format), ("offsets.table", settings.offsets_table)):
        try:
            _target(text, "topic")
        except ConfigError as error:
            yield Problem(key, str(error))
    for entry in settings.tables:
        topic, _, table = entry.rpartition(":")
        try:
            _target(table if topic.strip() else "")
        except ConfigError as error:
            expected = "expected topic:table or topic:schema.table"
            yield Problem("topic.to.table.map", f"topic.to.table.map: {entry}: {expected}; {error}")


def _target(text: str, topic: str = "") -> Target:
    parts = [part.strip().strip(QUOTE).replace(TOPIC, topic) for part in text.split(".")]
    if not 1 <= len(parts) <= 2 or not all(parts) or "\0" in text:
        raise ConfigError(f"{text}: expected table or schema.table ({NAMING})")
    for part in parts:
        if len(part.encode()) > NAME_BYTES_MAX:
            raise ConfigError(
                f"{part}: the name of a table or schema has at most {NAME_BYTES_MAX} bytes, and this has "
                f"{len(part.encode())}: PostgreSQL would cut it, and could take it for another ({NAMING})"
            )
    return Target(None, parts[0]) if len(parts) == 1 else Target(parts[0], parts[1])
