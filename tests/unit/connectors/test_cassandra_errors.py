"""An error of the driver is sorted by what helps: waiting, a right, another row, or a person."""

from __future__ import annotations

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import ServerError, SyntaxException

from connectors.cassandra.errors import code_of, is_cut_off, is_of_row, is_of_server, translated
from engine.api.errors import ConnectError, RefusedError, RetriableError

BAD_LOGIN = cassandra.AuthenticationFailed('code=0100 [Bad credentials] message="Provided username is incorrect"')
CANNOT_TELL = cassandra.AuthenticationFailed('message="Unable to perform authentication: Cannot achieve consistency"')


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (cassandra.OperationTimedOut(), RetriableError),
        (cassandra.OperationTimedOut(errors={"here": "Client request timeout"}, last_host="here"), RetriableError),
        (cassandra.Unavailable("too few"), RetriableError),
        (cassandra.WriteTimeout("late", write_type=0), RetriableError),
        (ServerError(0, "trouble", {}), RetriableError),
        (ConnectionShutdown("closed"), RetriableError),
        (ConnectionResetError("reset"), RetriableError),
        (NoHostAvailable("none", {}), RetriableError),
        (NoHostAvailable("none", {"a": BAD_LOGIN}), RefusedError),
        (NoHostAvailable("none", {"a": BAD_LOGIN, "b": ConnectionRefusedError()}), RetriableError),
        (NoHostAvailable("none", {"a": CANNOT_TELL}), RetriableError),
        (CANNOT_TELL, RetriableError),
        (BAD_LOGIN, RefusedError),
        (cassandra.Unauthorized("no MODIFY permission"), RefusedError),
        (cassandra.Unauthorized("Unable to perform authorization of permissions: timed out"), RetriableError),
        (cassandra.InvalidRequest("no such table"), ConnectError),
        (SyntaxException(0, "line 1", {}), ConnectError),
        (KeyError("a mistake"), ConnectError),
        (RefusedError("ours"), RefusedError),
    ],
)
def test_what_helps_is_said_by_the_kind(error: Exception, kind: type[Exception]) -> None:
    assert type(translated(error, "writing k.t")) is kind


def test_a_cluster_is_lost_only_where_no_host_can_be_reached() -> None:
    assert is_cut_off(NoHostAvailable("none", {}))
    assert is_cut_off(NoHostAvailable("none", {"a": ConnectionShutdown("x"), "b": OSError("y")}))
    assert not is_cut_off(NoHostAvailable("none", {"a": ConnectionShutdown("x"), "b": ServerError(0, "y", {})}))
    assert not is_cut_off(cassandra.OperationTimedOut())


def test_a_statement_is_no_rows_fault() -> None:
    assert is_of_row(cassandra.InvalidRequest("Key may not be empty"))
    assert not is_of_row(SyntaxException(0, "line 1", {}))
    assert not is_of_row(ConnectError("preparing to write k.t: Cassandra does not take it"))


def test_what_a_server_fails_at_is_known_however_the_driver_tells() -> None:
    assert is_of_server(ServerError(0, "trouble", {}))
    assert is_of_server(NoHostAvailable("none", {"a": ServerError(0, "trouble", {})}))
    assert not is_of_server(NoHostAvailable("none", {"a": ConnectionShutdown("closed")}))
    assert not is_of_server(cassandra.OperationTimedOut())


def test_an_error_of_cassandra_has_a_code_and_one_of_ours_has_none() -> None:
    assert code_of(cassandra.InvalidRequest("Key may not be empty")) == "InvalidRequest"
    assert code_of(ServerError(0, "trouble", {})) == "ServerError"
    assert code_of(NoHostAvailable("none", {"a": cassandra.WriteFailure("too large")})) == "WriteFailure"
    assert code_of(NoHostAvailable("none", {"a": OverflowError()})) == ""
    assert code_of(OverflowError()) == ""
