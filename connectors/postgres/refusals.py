"""What an error of the server, or of the way to it, means for us: one table, by SQLSTATE.

    the outside may recover      RetriableError      connections, failover, timeouts, deadlocks, a full disk
    who we say we are            RefusedError        passwords, roles, rights
    rows                         RowError            what the rows of a statement hold; which of them, halving.py finds
    what we knew of a table      StaleError          a table or column that is gone
    anything else                ConnectError

What the server says of a row's values (its "detail", and what it quotes of them) is left out: errors are logged.

Used by: session.py, lines.py, writing.py, halving.py, sink.py.
Source: PostgreSQL's manual, appendix A, and libpq's messages for connections, which have no code.
"""

from __future__ import annotations

import re
from typing import Any

from engine.api.errors import ConfigError, ConnectError, DataError, Problem, RefusedError, RetriableError

__all__ = ["RowError", "StaleError", "is_connection_over", "of_connecting", "translated"]

#: Classes of codes: what may pass.
_RETRIABLE = ("08", "40", "53", "57", "58")
_RETRIABLE_CODES = ("25006", "25P03", "55P03", "55006")
#: Classes and codes of what rows hold.
_ROWS = ("22", "23", "21", "44")
_ROW_CODES = ("42804", "54000", "54011", "P0001", "P0004")
_REFUSED = ("28", "42501")
_STALE = ("42P01", "42703", "42P10", "3F000")
#: After these the connection is of no use, though it may still be there: the server goes, or takes no writes.
_OVER = ("25006", "25P03", "57P01", "57P02", "57P03", "57P05")
#: Where a code says too little to go by.
_ADVICE = {
    "22001": "it is too long for the column: shorten it by a transform, or make the column longer",
    "22003": "the number does not fit the column's type: make the column wider",
    "22021": "PostgreSQL takes no text with a zero character in it, nor what is no UTF-8: take it out by a transform",
    "22P05": "the database's encoding has no such character, or it is a zero character, which PostgreSQL has not: "
    "take it out by a transform",
    "22P02": "the text is no value of the column's type: convert it by a transform (Cast, TimestampConverter)",
    "22007": "it is no date or time as PostgreSQL reads it: convert it by a transform (TimestampConverter)",
    "22008": "it is no date or time as PostgreSQL reads it: convert it by a transform (TimestampConverter)",
    "23502": "the column takes no null: give it a default, or drop NOT NULL",
    "23503": "the row that it refers to is not there (yet)",
    "23505": "such a row is there: insert.mode=upsert would replace it",
    "42804": "the column is of another type: convert the field by a transform (Cast)",
}
_COLUMN = re.compile(r"^COPY [^\n]*?, line \d+, column (.+?)(?:: |$)", re.MULTILINE)
_QUOTED = re.compile(r':? *".*"', re.DOTALL)
#: What libpq says of connections that are refused; they have no code.
_REFUSALS = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry"
    r"|role \"[^\"]*\" (?:does not exist|is not permitted)"
    r"|permission denied|certificate verify failed|certificate authentication|server certificate for"
    r"|does not support SSL|root certificate file|certificate file|private key file|tlsv1 alert|sslv3 alert"
)
_NO_DATABASE = re.compile(r"database \"[^\"]*\" does not exist")
#: A database that starts, or is full, is none of these.
_PASSES = re.compile(r"starting up|shutting down|recovery|too many")


class RowError(DataError):
    """Some of the rows of a statement are refused; the statement has done nothing."""

    def __init__(self, message: str, *, code: str = "", column: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.column = column  # empty: the server does not say

    @property
    def advice(self) -> str:
        """What to do, if that can be told."""
        return _ADVICE.get(self.code, "")


class StaleError(ConnectError):
    """A table or column that a statement names is not there, or an index."""


def translated(error: Any, doing: str) -> ConnectError:
    """Ours for an error of a statement. error: psycopg's; doing: what was tried, for people."""
    code = error.sqlstate or ""
    said = _said(error)
    text = f"PostgreSQL cannot {doing}: {said}{f' ({code})' if code else ''}"
    if not code:
        is_ours = type(error).__name__ in ("ProgrammingError", "NotSupportedError", "DataError")
        return ConnectError(text) if is_ours else RetriableError(f"the connection to PostgreSQL is lost: {said}")
    if code.startswith(_ROWS) or code in _ROW_CODES:
        # Of class 22 ("data exception") it quotes values: `invalid input syntax for type integer: "many"`.
        shown = _QUOTED.sub("", said) if code.startswith("22") else said
        return RowError(shown, code=code, column=_column(error))
    if code.startswith(_REFUSED):
        return RefusedError(f"{text}; grant it to the user of the connector")
    if code in _STALE:
        return StaleError(text)
    if code.startswith(_RETRIABLE) or code in _RETRIABLE_CODES:
        return RetriableError(text)
    return ConnectError(text)


def of_connecting(error: Any, where: str) -> ConnectError:
    """Ours for a connection that did not come about. where: for people, without secrets."""
    said = " ".join(str(error).split())
    text = f"cannot connect to PostgreSQL at {where}: {said}"
    if type(error).__name__ == "ProgrammingError":
        return ConfigError([Problem("connection.url", f"connection.url: {said}; expected libpq's parameters")])
    if _PASSES.search(said):
        return RetriableError(text)
    if _REFUSALS.search(said):
        return RefusedError(f"{text}; check connection.user, connection.password and the certificates")
    if _NO_DATABASE.search(said):
        return ConfigError([Problem("connection.url", f"{text}; expected a database that is there")])
    return RetriableError(text)


def is_connection_over(error: Any) -> bool:
    """Whether nothing more is to be expected of a connection that has met this error."""
    return not error.sqlstate or error.sqlstate in _OVER or error.sqlstate.startswith("08")


def _said(error: Any) -> str:
    primary = getattr(error.diag, "message_primary", None)
    constraint = getattr(error.diag, "constraint_name", None)
    said = " ".join(str(primary or error).split())
    return f"{said} (constraint {constraint})" if constraint and constraint not in said else said


def _column(error: Any) -> str:
    named = getattr(error.diag, "column_name", None)
    found = _COLUMN.search(getattr(error.diag, "context", None) or "")
    return str(named or (found[1] if found else ""))
