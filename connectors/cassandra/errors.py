"""The driver's errors as ours, by what the caller can do about them.

    nobody answers in time, too few replicas, overloaded    RetriableError
    name and password refused, a right is missing           RefusedError
    a value that Cassandra or its protocol does not take    that row is bad: `is_of_row` (writer.py)
    all else: a statement that it does not take, a mistake  ConnectError

What a driver says of each host is the error of those hosts (`_causes`).

Used by: session.py, writer.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from engine.api.errors import ConfigError, ConnectError, Problem, RefusedError, RetriableError

__all__ = ["EXTRA", "code_of", "driver_is_missing", "is_cut_off", "is_of_row", "is_of_server", "translated"]

EXTRA = "millrace[cassandra]"
#: What the driver fails with where a value is too long for its place in a request.
_TOO_LONG = (struct.error, OverflowError)
#: How Cassandra begins when it cannot look up who somebody is, or may do: nobody has been refused.
_CANNOT_TELL = "Unable to perform"


def driver_is_missing(error: ImportError) -> ConfigError:
    """Says how the driver is installed."""
    reason = f"the Cassandra sink needs a driver that is not installed here ({error}): pip install '{EXTRA}'"
    return ConfigError([Problem("connector.class", reason)])


def translated(error: Exception, doing: str) -> ConnectError:
    """An error of the driver, or ours as it is. doing: what failed, for people: "writing shop.orders"."""
    import cassandra  # noqa: PLC0415  only with the extra

    if isinstance(error, ConnectError):
        return error
    causes = _causes(error)
    if any(_CANNOT_TELL in str(cause) for cause in causes):
        return RetriableError(f"{doing}: {_words(error)}")
    if all(isinstance(cause, cassandra.AuthenticationFailed) for cause in causes):
        return RefusedError(
            f"{doing}: Cassandra refuses the login: {_words(error)}; check username and password, or credentials.file"
        )
    if any(isinstance(cause, cassandra.Unauthorized) for cause in causes):
        return RefusedError(f"{doing}: {_words(error)}; grant it to this user: GRANT MODIFY ON TABLE ... TO ...")
    if is_cut_off(error):
        return RetriableError(f"{doing}: no host of Cassandra answers: {_words(error)}")
    if any(_passes(cause) for cause in causes):
        return RetriableError(f"{doing}: {_words(error)}")
    if isinstance(error, cassandra.RequestValidationException) or _is_of_syntax(error):
        return ConnectError(f"{doing}: Cassandra does not take it: {_words(error)}")
    return ConnectError(f"{doing}: {_words(error)}")


def is_of_row(error: Exception) -> bool:
    """Whether Cassandra, or its protocol, does not take the values of a row; nothing is said of which."""
    import cassandra  # noqa: PLC0415

    return isinstance(error, cassandra.InvalidRequest) or any(isinstance(cause, _TOO_LONG) for cause in _causes(error))


def code_of(error: Exception) -> str:
    """What Cassandra calls an error, by the driver's name for it; empty where it was none of Cassandra's.

    The name is what `cqlsh` shows, too: "InvalidRequest: Error from server: code=2200 [Invalid query] ...".
    """
    import cassandra  # noqa: PLC0415
    from cassandra.protocol import ErrorMessage  # noqa: PLC0415

    kinds = (cassandra.DriverException, ErrorMessage)
    return next((type(cause).__name__ for cause in _causes(error) if isinstance(cause, kinds)), "")


def is_of_server(error: Exception) -> bool:
    """Whether a server has tried and failed: it may be in trouble, or one of the rows is what it cannot write."""
    import cassandra  # noqa: PLC0415
    from cassandra import protocol  # noqa: PLC0415

    kinds = (cassandra.WriteFailure, protocol.ServerError, protocol.ProtocolException)
    return any(isinstance(cause, kinds) for cause in _causes(error))


def is_cut_off(error: Exception) -> bool:
    """Whether no host could be reached: the driver may have given them up for good."""
    from cassandra.cluster import NoHostAvailable  # noqa: PLC0415

    return isinstance(error, NoHostAvailable) and all(_is_of_connection(cause) for cause in _by_host(error).values())


def _passes(error: Any) -> bool:
    """Whether it may go well another time."""
    import cassandra  # noqa: PLC0415
    from cassandra.cluster import NoHostAvailable  # noqa: PLC0415
    from cassandra.connection import ConnectionBusy  # noqa: PLC0415
    from cassandra.pool import NoConnectionsAvailable  # noqa: PLC0415
    from cassandra.protocol import ErrorMessage  # noqa: PLC0415

    kinds = (
        cassandra.RequestExecutionException,
        cassandra.AuthenticationFailed,  # of some hosts only
        cassandra.UnresolvableContactPoints,
        ConnectionBusy,
        NoConnectionsAvailable,
        NoHostAvailable,
        ErrorMessage,
    )
    return _is_of_connection(error) or (isinstance(error, kinds) and not _is_of_syntax(error))


def _is_of_connection(error: Any) -> bool:
    import cassandra  # noqa: PLC0415
    from cassandra.connection import ConnectionException  # noqa: PLC0415

    return isinstance(error, ConnectionException | cassandra.OperationTimedOut | OSError)


def _is_of_syntax(error: Any) -> bool:
    from cassandra.protocol import SyntaxException  # noqa: PLC0415

    return isinstance(error, SyntaxException)


def _causes(error: Exception) -> Sequence[Any]:
    """What each host has said where all have failed, or the error itself."""
    from cassandra.cluster import NoHostAvailable  # noqa: PLC0415

    return (isinstance(error, NoHostAvailable) and [*_by_host(error).values()]) or [error]


def _by_host(error: Any) -> dict[Any, Any]:
    errors = getattr(error, "errors", None)
    return errors if isinstance(errors, dict) else {}


def _words(error: Exception) -> str:
    hosts = _by_host(error)
    if hosts:
        return "; ".join(f"{host}: {_first_line(cause)}" for host, cause in hosts.items())
    return _first_line(error)


def _first_line(error: Any) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
