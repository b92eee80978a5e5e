"""What PostgresSource can be told. Names are Debezium's, where it has one for the same thing.

Used by: changes_connector.py, changes.py, capturing.py, slots.py.
Not here: what only the server knows (slots.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, field

from connectors.postgres.config import ConnectionConfig, bad_connection
from connectors.postgres.source.patterns import bad_patterns
from engine.api.errors import Problem

__all__ = ["ChangesConfig", "contradictions"]

_INT_MAX = 2**31 - 1
_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
GIB = 1024**3
THREADS_MAX = 64


class ChangesConfig(ConnectionConfig, frozen=True, kw_only=True):
    """Which changes, and how records tell of them."""

    topic_prefix: Annotated[
        str,
        Meta(
            description="The topic of a table is PREFIX.SCHEMA.TABLE. Empty: SCHEMA.TABLE.",
            extra={"importance": "HIGH"},
        ),
    ] = field(name="topic.prefix", default="")
    included: Annotated[
        list[str],
        Meta(
            description="Patterns that `schema.table` has to match wholly. Empty: all tables of the publication.",
            extra={"importance": "HIGH", "group": "Tables"},
        ),
    ] = field(name="table.include.list", default_factory=list)
    excluded: Annotated[
        list[str], Meta(description="Patterns of tables that are left out.", extra={"group": "Tables"})
    ] = field(name="table.exclude.list", default_factory=list)
    snapshot: Annotated[
        Literal["initial", "no_data"],
        Meta(
            description="What is done when there is no offset: `initial`: all rows are read before the first change; "
            "`no_data`: none.",
            extra={"importance": "HIGH", "group": "Tables"},
        ),
    ] = field(name="snapshot.mode", default="initial")
    snapshot_threads: Annotated[
        int,
        Meta(
            ge=1,
            le=THREADS_MAX,
            description="How many ranges of a snapshot's pages are read at once, each by a connection of its own.",
            extra={"group": "Tables"},
        ),
    ] = field(name="snapshot.max.threads", default=1)
    slot: Annotated[
        str,
        Meta(
            min_length=1,
            description="The replication slot, made if it is missing. Each connector needs one of its own.",
            extra={"importance": "HIGH", "group": "Replication"},
        ),
    ] = field(name="slot.name", default="millrace")
    publication: Annotated[
        str, Meta(min_length=1, description="The publication that says what is told.", extra={"group": "Replication"})
    ] = field(name="publication.name", default="millrace")
    autocreate: Annotated[
        Literal["all_tables", "filtered", "disabled"],
        Meta(
            description="What to do about a publication that is missing: `all_tables`: make one of all tables (takes a "
            "superuser); `filtered`: make one of the tables that match, and add those that it lacks (takes their "
            "owner); `disabled`: refuse to start.",
            extra={"group": "Replication"},
        ),
    ] = field(name="publication.autocreate.mode", default="filtered")
    status_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=_INT_MAX,
            description="How often the server is told how far its log is not needed any more.",
            extra={"group": "Replication"},
        ),
    ] = field(name="status.update.interval.ms", default=10_000)
    warn_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="From how many bytes of log that the server keeps for the slot on there is a warning. 0: "
            "never.",
            extra={"group": "Replication"},
        ),
    ] = field(name="slot.warn.bytes", default=GIB)
    format: Annotated[
        Literal["row", "envelope"],
        Meta(
            description="`row`: a value is the row as it is now, null for one that was deleted. `envelope`: "
            "Debezium's: `before`, `after`, `source`, `op`, `ts_ms`.",
            extra={"importance": "HIGH", "group": "Records"},
        ),
    ] = field(name="record.format", default="row")
    has_tombstones: Annotated[
        bool,
        Meta(
            description="Format `envelope`: whether a delete is followed by a record with a null value.",
            extra={"group": "Records"},
        ),
    ] = field(name="tombstones.on.delete", default=True)
    skipped: Annotated[
        list[Literal["c", "u", "d", "t", "none"]],
        Meta(
            description="What is left out: `c` inserts, `u` updates, `d` deletes, `t` truncates. Format `row` has "
            "no record for a truncate, and warns of it.",
            extra={"group": "Records"},
        ),
    ] = field(name="skipped.operations", default_factory=lambda: ["none"])
    placeholder: Annotated[
        str,
        Meta(
            description="What stands for a large text that an update has not touched, and that the server does not "
            "tell (replica identity other than FULL): in texts, bytes and arrays of texts.",
            extra={"group": "Records"},
        ),
    ] = field(name="unavailable.value.placeholder", default="__debezium_unavailable_value")
    batch_changes: Annotated[
        int, Meta(ge=1, le=1_000_000, description="The most changes in one batch.", extra={"group": "Records"})
    ] = field(name="max.batch.size", default=2048)

    @property
    def is_envelope(self) -> bool:
        """Whether records have Debezium's form."""
        return self.format == "envelope"


def contradictions(settings: ChangesConfig) -> Iterator[Problem]:
    """What single keys cannot tell."""
    yield from bad_connection(settings)
    if not _SLOT_NAME.fullmatch(settings.slot):
        yield Problem(
            "slot.name",
            f"slot.name={settings.slot}: expected up to 63 lower case letters, digits and underscores, as PostgreSQL "
            "does",
        )
    yield from bad_patterns(settings.included, settings.excluded)
    if settings.autocreate == "filtered" and not settings.included:
        yield Problem(
            "table.include.list",
            "table.include.list is empty: publication.autocreate.mode=filtered needs the tables; else expected mode "
            "all_tables, or disabled with a publication that is there",
        )
