"""The driver's errors as ours, by what the caller can do about them.

    nobody answers in time, too few replicas, overloaded    RetriableError
    name and password refused, a right is missing           RefusedError
    a statement that Cassandra does not take                ConnectError; of a row: that row is bad (writer.py)

Used by: session.py, writer.py.
"""

from __future__ import annotations

from typing import Any

from engine.api.errors import ConfigError, ConnectError, Problem, RefusedError, RetriableError

__all__ = ["EXTRA", "driver_is_missing", "is_cut_off", "is_refusal_of_statement", "translated"]

EXTRA = "millrace[cassandra]"


def driver_is_missing(error: ImportError) -> ConfigError:
    """Says how the driver is installed."""
    reason = f"the Cassandra sink needs a driver that is not installed here ({error}): pip install '{EXTRA}'"
    return ConfigError([Problem("connector.class", reason)])


def translated(error: Exception, doing: str) -> ConnectError:
    """An error of the driver. doing: what failed, for people: "writing shop.orders"."""
    import cassandra  # noqa: PLC0415  only with the extra
    from cassandra.cluster import NoHostAvailable  # noqa: PLC0415

    causes = [error]
    if isinstance(error, NoHostAvailable):
        causes += [cause for cause in _by_host(error).values() if isinstance(cause, Exception)]
    if any(isinstance(cause, cassandra.AuthenticationFailed) for cause in causes):
        return RefusedError(
            f"{doing}: Cassandra refuses the login: {_words(error)}; check username and password, or credentials.file"
        )
    if any(isinstance(cause, cassandra.Unauthorized) for cause in causes):
        return RefusedError(f"{doing}: {_words(error)}; grant it to this user: GRANT MODIFY ON TABLE ... TO ...")
    if isinstance(error, NoHostAvailable):
        return RetriableError(f"{doing}: no host of Cassandra answers: {_words(error)}")
    if isinstance(error, cassandra.ConfigurationException | cassandra.InvalidRequest) or _is_of_syntax(error):
        return ConnectError(f"{doing}: Cassandra does not take it: {_words(error)}")
    # Too few replicas, timeouts, an overloaded or starting host, connections that break: all else that a driver says.
    return RetriableError(f"{doing}: {_words(error)}")


def is_refusal_of_statement(error: Exception) -> bool:
    """Whether Cassandra has understood a statement and its values, and does not take them."""
    import cassandra  # noqa: PLC0415

    return isinstance(error, cassandra.InvalidRequest) or _is_of_syntax(error)


def is_cut_off(error: Exception) -> bool:
    """Whether no host is left that would answer: the driver may have given them up for good."""
    from cassandra.cluster import NoHostAvailable  # noqa: PLC0415

    return isinstance(error, NoHostAvailable)


def _is_of_syntax(error: Exception) -> bool:
    return type(error).__name__ == "SyntaxException"


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
