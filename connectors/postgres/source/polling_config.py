"""What PostgresPollingSource can be told. Names are those of Kafka Connect's JDBC source.

Used by: polling_connector.py, polling.py, passes.py.
Not here: what only the server knows (polling_connector.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, field

from connectors.postgres.config import ConnectionConfig, bad_connection, target_of
from connectors.postgres.source.patterns import bad_patterns
from engine.api.errors import ConfigError, Problem

__all__ = ["PollingConfig", "PollingTaskConfig", "contradictions"]

TABLES = "table.whitelist"
_INT_MAX = 2**31 - 1


class PollingConfig(ConnectionConfig, frozen=True, kw_only=True):
    """Which tables, how new rows are found, and how often."""

    mode: Annotated[
        Literal["bulk", "incrementing", "timestamp", "timestamp+incrementing"],
        Meta(
            description="`bulk`: all rows, each time. `incrementing`: rows whose number is higher than the last one's. "
            "`timestamp`: rows changed since. `timestamp+incrementing`: both, told apart by the number.",
            extra={"importance": "HIGH", "group": "Mode"},
        ),
    ]
    incrementing_column: Annotated[
        str,
        Meta(
            description="The column that counts up. Empty: the one that is an identity or serial column.",
            extra={"group": "Mode"},
        ),
    ] = field(name="incrementing.column.name", default="")
    timestamp_columns: Annotated[
        list[str],
        Meta(
            description="The columns that say when a row was changed; the first that is not null.",
            extra={"group": "Mode"},
        ),
    ] = field(name="timestamp.column.name", default_factory=list)
    timestamp_initial: Annotated[
        int | None,
        Meta(
            ge=-1,
            description="Where to begin without a stored offset: milliseconds since the epoch; -1: now. Absent: at the "
            "oldest row.",
            extra={"group": "Mode"},
        ),
    ] = field(name="timestamp.initial", default=None)
    is_checked: Annotated[
        bool,
        Meta(description="Whether the columns of the mode have to be NOT NULL.", extra={"group": "Mode"}),
    ] = field(name="validate.non.null", default=True)
    tables: Annotated[
        list[str],
        Meta(
            description="Tables and views: `table` or `schema.table`.", extra={"importance": "HIGH", "group": "Tables"}
        ),
    ] = field(name=TABLES, default_factory=list)
    included: Annotated[
        list[str],
        Meta(
            description="Patterns that `schema.table` has to match wholly, in place of names.",
            extra={"group": "Tables"},
        ),
    ] = field(name="table.include.list", default_factory=list)
    excluded: Annotated[
        list[str], Meta(description="Patterns of tables that are left out.", extra={"group": "Tables"})
    ] = field(name="table.exclude.list", default_factory=list)
    kinds: Annotated[
        list[Literal["TABLE", "VIEW", "MATERIALIZED VIEW", "PARTITIONED TABLE", "FOREIGN TABLE"]],
        Meta(description="What patterns are looked for among.", extra={"group": "Tables"}),
    ] = field(name="table.types", default_factory=lambda: ["TABLE", "PARTITIONED TABLE"])
    tables_ms: Annotated[
        int,
        Meta(
            ge=1000,
            le=_INT_MAX,
            description="How often tables are looked for that match the patterns (`millrace standalone`).",
            extra={"group": "Tables"},
        ),
    ] = field(name="table.poll.interval.ms", default=60_000)
    query: Annotated[
        str | None, Meta(description="A query, in place of tables. No semicolon.", extra={"group": "Tables"})
    ] = None
    topic_prefix: Annotated[
        str,
        Meta(
            description="The topic of a table is this and its name; that of a query is this.",
            extra={"importance": "HIGH"},
        ),
    ] = field(name="topic.prefix", default="")
    poll_ms: Annotated[
        int, Meta(ge=1, le=_INT_MAX, description="How long between two looks at a table.", extra={"importance": "HIGH"})
    ] = field(name="poll.interval.ms", default=5_000)
    batch_rows: Annotated[int, Meta(ge=1, le=1_000_000, description="The most rows in one batch.")] = field(
        name="batch.max.rows", default=2_000
    )
    delay_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=_INT_MAX,
            description="How old a row has to be, by its timestamp, before it is read: so long may transactions take.",
        ),
    ] = field(name="timestamp.delay.interval.ms", default=0)
    zone: Annotated[str, Meta(min_length=1, description="The zone of `timestamp without time zone`.")] = field(
        name="db.timezone", default="UTC"
    )

    @property
    def counts(self) -> bool:
        """Whether a column that counts up is looked at."""
        return self.mode.endswith("incrementing")

    @property
    def dates(self) -> bool:
        """Whether a timestamp is looked at."""
        return self.mode.startswith("timestamp")

    @property
    def plain_query(self) -> str:
        """The query as it can stand in brackets."""
        return (self.query or "").rstrip("; \n\t")

    @property
    def is_pattern(self) -> bool:
        """Whether tables may come and go."""
        return bool(self.included) and self.query is None


class PollingTaskConfig(PollingConfig, frozen=True, kw_only=True):
    """The same for one task."""

    dealt: Annotated[str, Meta(description="Its tables, as JSON.")] = field(name="task.tables", default="[]")


def contradictions(settings: PollingConfig) -> Iterator[Problem]:
    """What single keys cannot tell."""
    yield from bad_connection(settings)
    given = [bool(settings.tables), bool(settings.included), settings.query is not None]
    if sum(given) != 1:
        yield Problem(TABLES, "expected exactly one of table.whitelist, table.include.list and query")
    yield from _names(settings)
    if settings.query is not None and not settings.query.strip():
        yield Problem("query", "query is empty: expected SELECT ..., or another key in its place")
    elif settings.query is not None and ";" in settings.plain_query:
        yield Problem("query", "query has a semicolon within it: expected one statement")
    if settings.query is not None and not settings.topic_prefix:
        yield Problem("topic.prefix", "topic.prefix is empty: with query it is the topic's name")
    if settings.dates and not settings.timestamp_columns:
        yield Problem(
            "timestamp.column.name", f"mode={settings.mode} needs timestamp.column.name: the columns to go by"
        )
    if settings.counts and settings.query is not None and not settings.incrementing_column:
        yield Problem(
            "incrementing.column.name",
            f"mode={settings.mode} of a query needs incrementing.column.name: the column to go by",
        )
    try:
        ZoneInfo(settings.zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield Problem("db.timezone", f"db.timezone={settings.zone}: expected the name of a zone, such as Europe/Berlin")


def _names(settings: PollingConfig) -> Iterator[Problem]:
    for table in settings.tables:
        try:
            target_of(table, keys=TABLES)
        except ConfigError as error:
            yield Problem(TABLES, str(error))
    yield from bad_patterns(settings.included, settings.excluded)
