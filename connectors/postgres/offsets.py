"""How far each partition is, kept by the database in the transaction of its rows: each record takes effect once.

    open       claim: epoch + 1 ──► next_offset        whoever held the partition before can write nothing any more
    put        records before next_offset are left out; BEGIN, next_offset and rows, COMMIT
    pre_commit what was dropped on the way here moves it as well

Where a partition begins is known when its first records come, or at the flush that `open` asks for. Behind what is
stored here: records come again and are left out; they are not sought past, because one that failed on its way may
still need its dead letter. Beyond it: the database has lost what it had (a standby that was behind, a backup), and the
partition is sought back.

Used by: sink.py.
Not here: transactions (sink.py).
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

from msgspec import Struct

from connectors.postgres.config import Target, literal
from connectors.postgres.session import Session
from connectors.postgres.tables import lock_sql
from engine.api.batch import SinkBatch
from engine.api.errors import ConnectError
from engine.api.record import TopicPartition

__all__ = ["Offsets", "Taken", "forget_offsets", "make_offsets_table", "set_offsets"]

logger = logging.getLogger(__name__)


class Claim(Struct):
    """A partition that is ours."""

    epoch: int
    next_offset: int | None  # None: nothing was ever stored
    is_settled: bool = False  # whether it is known that delivery began no later than that


class Taken(Struct, frozen=True):
    """What of a batch is to be written."""

    indexes: Sequence[int]
    next_offsets: Mapping[TopicPartition, int]  # after it
    lost: Mapping[TopicPartition, int]  # to be sought back to


def make_offsets_table(session: Session, table: Target) -> None:
    """Make the table if it is not there. To be asked first whether it is: who may use it may not be one to make it."""
    if session.rows("SELECT to_regclass(%s) IS NULL", table.sql)[0][0]:
        session.run(
            f"{lock_sql(table)}; CREATE TABLE IF NOT EXISTS {table.sql} (connector text NOT NULL, topic text NOT NULL, "
            '"partition" integer NOT NULL, next_offset bigint, epoch bigint NOT NULL, '
            'changed timestamp with time zone NOT NULL DEFAULT now(), PRIMARY KEY (connector, topic, "partition"))'
        )


def set_offsets(session: Session, table: Target, connector: str, offsets: Mapping[TopicPartition, int | None]) -> None:
    """Store other offsets, while no task runs. None: the partition begins anew.

    A task that was frozen and wakes writes nothing more of them: they have another epoch.
    """
    make_offsets_table(session, table)
    rows = ", ".join(
        f"({literal(connector)}, {literal(topic)}, {partition}, {'NULL' if offset is None else offset}::bigint, 1)"
        for (topic, partition), offset in sorted(offsets.items())
    )
    if rows:
        session.run(
            f'INSERT INTO {table.sql} AS t (connector, topic, "partition", next_offset, epoch) VALUES {rows} '
            'ON CONFLICT (connector, topic, "partition") '
            "DO UPDATE SET next_offset = EXCLUDED.next_offset, epoch = t.epoch + 1, changed = now()"
        )


def forget_offsets(session: Session, table: Target, connector: str) -> None:
    """Let all partitions begin anew, as `set_offsets` does."""
    make_offsets_table(session, table)
    session.run(
        f"UPDATE {table.sql} SET next_offset = NULL, epoch = epoch + 1, changed = now() "
        f"WHERE connector = {literal(connector)}"
    )


class Offsets:
    """Of the partitions that a task has."""

    def __init__(self, table: Target, connector: str) -> None:
        self._table = table
        self._connector = connector
        self._wanted: set[TopicPartition] = set()  # opened, and not claimed yet
        self._claims: dict[TopicPartition, Claim] = {}

    def open(self, places: Collection[TopicPartition]) -> None:
        """These are ours from the next `claim` on."""
        self._wanted.update(TopicPartition(*place) for place in places)

    def close(self, places: Collection[TopicPartition]) -> None:
        """These are ours no more."""
        for place in places:
            self._wanted.discard(TopicPartition(*place))
            self._claims.pop(TopicPartition(*place), None)

    def reconnected(self, session: Session) -> None:
        """Read again what is stored: nobody knows what became of the last transaction.

        One whose COMMIT was sent holds its rows until it is over, though its connection is lost: it is waited for.
        Raises ConnectError where somebody else has claimed a partition meanwhile.
        """
        make_offsets_table(session, self._table)
        if not self._claims:
            return
        ours = ", ".join(f"({literal(topic)}, {partition})" for topic, partition in sorted(self._claims))
        found = {
            TopicPartition(topic, partition): (next_offset, epoch)
            for topic, partition, next_offset, epoch in session.rows(
                f'SELECT topic, "partition", next_offset, epoch FROM {self._table.sql} '
                f'WHERE connector = {literal(self._connector)} AND (topic, "partition") IN ({ours}) '
                'ORDER BY topic, "partition" FOR UPDATE'
            )
        }
        for place, claim in self._claims.items():
            next_offset, epoch = found.get(place, (None, None))
            if epoch is not None and epoch > claim.epoch:
                raise self._fenced([place])
            if epoch != claim.epoch:
                self._wanted.add(place)  # the row itself is lost
            elif next_offset != claim.next_offset:
                is_back = (next_offset or 0) < (claim.next_offset or 0)
                claim.next_offset, claim.is_settled = next_offset, claim.is_settled and not is_back

    def claim(self, session: Session) -> None:
        """Make those that were opened ours, and nobody else's."""
        if not self._wanted:
            return
        rows = ", ".join(
            f"({literal(self._connector)}, {literal(topic)}, {partition}, 1)"
            for topic, partition in sorted(self._wanted)
        )
        name = self._table.sql
        found = session.rows(
            f'INSERT INTO {name} AS t (connector, topic, "partition", epoch) VALUES {rows} '
            'ON CONFLICT (connector, topic, "partition") DO UPDATE SET epoch = t.epoch + 1, changed = now() '
            'RETURNING topic, "partition", next_offset, epoch'
        )
        for topic, partition, next_offset, epoch in found:
            self._claims[TopicPartition(topic, partition)] = Claim(epoch, next_offset)
        self._wanted.clear()

    def take(self, batch: SinkBatch, without: Collection[TopicPartition] = ()) -> Taken:
        """What of a batch was not written yet; marks partitions that have begun too late as to be sought back.

        without: partitions of which nothing is taken.
        """
        indexes: list[range] = []
        next_offsets: dict[TopicPartition, int] = {}
        lost: dict[TopicPartition, int] = {}
        offsets = batch.offsets
        for place, begin, end in _stretches(batch):
            claim = self._claims.get(place)
            if place in without or place in lost or claim is None:  # or closed, and still in a batch that is put again
                continue
            if (back := self._settle(place, claim, offsets[begin])) is not None:
                lost[place] = back
                continue
            if claim.next_offset is not None and offsets[begin] < claim.next_offset:
                begin = bisect_left(offsets, claim.next_offset, begin, end)
            if begin < end:
                indexes.append(range(begin, end))
                next_offsets[place] = offsets[end - 1] + 1
        whole = indexes[0] if len(indexes) == 1 else [index for stretch in indexes for index in stretch]
        return Taken(whole, next_offsets, lost)

    def settle(self, positions: Mapping[TopicPartition, int]) -> Taken:
        """As `take`, of positions that delivery has reached, perhaps without a record."""
        next_offsets: dict[TopicPartition, int] = {}
        lost: dict[TopicPartition, int] = {}
        for place, position in positions.items():
            claim = self._claims.get(TopicPartition(*place))
            if claim is None:
                continue
            if (back := self._settle(place, claim, position)) is not None:
                lost[TopicPartition(*place)] = back
            elif claim.next_offset is None or position > claim.next_offset:
                next_offsets[TopicPartition(*place)] = position
        return Taken((), next_offsets, lost)

    def advance_sql(self, next_offsets: Mapping[TopicPartition, int]) -> str:
        """The statement that stores these; it changes as many rows, unless one of them is not as we have left it."""
        values = ", ".join(
            f"({literal(place.topic)}, {place.partition}, {offset}::bigint, {self._stored(place)})"
            for place, offset in sorted(next_offsets.items())
        )
        return (
            f"UPDATE {self._table.sql} AS t SET next_offset = v.next_offset, changed = now() "
            f'FROM (VALUES {values}) AS v (topic, "partition", next_offset, epoch, before) '
            f"WHERE t.connector = {literal(self._connector)} AND t.topic = v.topic "
            'AND t."partition" = v."partition" AND t.epoch = v.epoch AND t.next_offset IS NOT DISTINCT FROM v.before'
        )

    def check(self, changed: int, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Raises ConnectError where `advance_sql` has not changed all rows."""
        if changed != len(next_offsets):
            raise self._fenced(next_offsets)

    def advanced(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """They are stored."""
        for place, offset in next_offsets.items():
            if (claim := self._claims.get(place)) is not None:  # else it was closed meanwhile
                claim.next_offset = offset

    def _stored(self, place: TopicPartition) -> str:
        """What its row has to have still. An epoch alone may come again, on a server that was behind and took over."""
        claim = self._claims[place]
        before = "NULL" if claim.next_offset is None else claim.next_offset
        return f"{claim.epoch}::bigint, {before}::bigint"

    def _settle(self, place: TopicPartition, claim: Claim, position: int) -> int | None:
        """At the first sight of a partition: where it has to be sought back to; None: delivery begins early enough.

        Once only: between what is stored and the next record there may be nothing (compaction, markers).
        """
        if claim.is_settled:
            return None
        claim.is_settled = True
        if position < (claim.next_offset or 0):
            # As a rule because a commit of the group is missing. The log of Kafka may also be another than it was.
            logger.warning(
                "connector %s: %s-%d begins at %d, and table %s says that all before %d is written: that is left out; "
                "if the topic was made anew, or its log truncated, stop the connector and forget its offsets "
                "(DELETE /connectors/%s/offsets)",
                self._connector, *place, position, self._table, claim.next_offset, self._connector,
            )  # fmt: skip
        return claim.next_offset if claim.next_offset is not None and position > claim.next_offset else None

    def _fenced(self, places: Collection[TopicPartition]) -> ConnectError:
        named = ", ".join(f"{topic}-{partition}" for topic, partition in places)
        return ConnectError(
            f"connector {self._connector}: another task has opened {named}, or its offset was set, as {self._table} "
            "says: this one must write nothing more of it. Two connectors of one name on one database need different "
            "offsets.table"
        )


def _stretches(batch: SinkBatch) -> Iterator[tuple[TopicPartition, int, int]]:
    """Neighbours that come from one partition: which, the index of the first, and that after the last."""
    begin = 0
    if batch.runs:
        for run in batch.runs:
            yield TopicPartition(run.topic, run.partition), begin, begin + run.count
            begin += run.count
        return
    for (topic, partition), slots in groupby(zip(batch.original_topics, batch.original_partitions, strict=True)):
        end = begin + sum(1 for _ in slots)
        yield TopicPartition(topic, partition), begin, end
        begin = end
