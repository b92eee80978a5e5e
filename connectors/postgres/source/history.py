"""Whether the server's log is the one that an offset is of, and its slot the one that was read.

    timeline 1 ────────────┬─────── x      a primary that died; x is not in the log of the one that took its place
                           └── 2 ──────    a standby that was promoted, or a restored backup

A server whose log does not have the offset's place would leave out without a word what is before it, and a slot that
was made anew what was written meanwhile. Each is an error here: nobody but a person knows what to do about it.

Used by: changes.py.
Source: PostgreSQL's manual, "Streaming Replication Protocol" (IDENTIFY_SYSTEM, TIMELINE_HISTORY).
"""

from __future__ import annotations

from connectors.postgres.session import PsycopgSession
from connectors.postgres.source.pgoutput import lsn_of, lsn_text
from connectors.postgres.source.positions import LSN, SYSTEM, TIMELINE, Identity, Position, mark_of
from connectors.postgres.source.slots import Slot
from engine.api.errors import ConnectError

__all__ = ["check_history", "check_slot", "identity_of"]

#: How far the server's log goes; nothing behind it was ever told by this server.
_LOG_END = """
SELECT CASE WHEN pg_is_in_recovery() THEN GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_flush_lsn() END::text
"""
FORGET = "forget the connector's offsets to begin anew"


def identity_of(replication: PsycopgSession) -> Identity:
    """Whose log it is. replication: a session for replication, as in what follows."""
    system, timeline, *_ = replication.rows("IDENTIFY_SYSTEM")[0]
    return Identity(str(system), int(timeline))


def check_history(
    session: PsycopgSession, replication: PsycopgSession, now: Identity, given: Position, connector: str
) -> None:
    """Raises ConnectError when the place to go on is not one of this server's log. now: whose that is."""
    where = f"connector {connector}: the offset {given[LSN]}"
    if SYSTEM in given:
        was = Identity(given[SYSTEM], given[TIMELINE])
        if was.system != now.system:
            raise ConnectError(
                f"{where} is of another server: its system identifier is {was.system}, and the one that answers now "
                f"has {now.system}: correct connection.url, or {FORGET}; if it has the same log all the same "
                "(pg_upgrade), set the offset without system and timeline"
            )
        if was.timeline != now.timeline:
            _check_timeline(replication, was, now, given, where)
    end = session.rows(_LOG_END)[0][0]
    if end is not None and _place(given) > lsn_of(end):
        raise ConnectError(
            f"{where} is behind the end of the server's log, {end}: it is of another history (a backup, a failover "
            f"that has lost transactions), and changes would be left out: {FORGET}"
        )


def check_slot(slot: Slot, name: str, given: Position, connector: str) -> None:
    """Raises ConnectError when the slot has changes from behind the place to go on alone.

    It is told only what is stored, so somebody else has moved it or made it anew. In the middle of a transaction it may
    have gone on up to the commit: the transaction is told whole, and none of ours is committed before it.
    """
    if SYSTEM in given and slot.confirmed > _place(given):
        place = lsn_text(slot.confirmed)
        raise ConnectError(
            f"connector {connector}: the slot {name} was made anew or moved on by somebody else: it begins at {place}, "
            f"and changes between {given[LSN]} and {place} are lost: {FORGET}, or, to do without those changes, set "
            f'the offset {{"lsn": "{place}"}}'
        )


def _check_timeline(replication: PsycopgSession, was: Identity, now: Identity, given: Position, where: str) -> None:
    end = _ends(replication, now.timeline).get(was.timeline)
    if end is None:
        raise ConnectError(
            f"{where} is of timeline {was.timeline}, from which the server's, {now.timeline}, does not come: it is of "
            f"another history (an older primary, a restored backup): connect to the server that has it, or {FORGET}"
        )
    if _place(given) > end:
        raise ConnectError(
            f"{where} is of timeline {was.timeline}, which the server left at {lsn_text(end)} for timeline "
            f"{now.timeline}: a failover or restore has lost transactions that Kafka has: {FORGET}"
        )


def _ends(replication: PsycopgSession, timeline: int) -> dict[int, int]:
    """The timelines that a later one comes from, and where each was left."""
    if timeline == 1:
        return {}
    _, content = replication.rows(f"TIMELINE_HISTORY {timeline}")[0]
    text = content if isinstance(content, str) else bytes(content).decode(errors="replace")
    rows = [line.split("\t") for line in text.splitlines() if line[:1].isdecimal()]
    return {int(number): lsn_of(end) for number, end, *_ in rows}


def _place(given: Position) -> int:
    """The last place of which something was given."""
    mark = mark_of(given)
    return max(mark.boundary, mark.commit)
