"""What fails is sent again, row by row where one is bad; nothing is lost, and nothing told twice."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import OverloadedErrorMessage

import connectors.cassandra.sender as sender_module
import connectors.cassandra.sink as sink_module
from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.mapping import read_mappings
from connectors.cassandra.plans import Statement
from connectors.cassandra.sender import Request, Sender
from connectors.cassandra.sink import CassandraSinkTask
from connectors.cassandra.tables import Table
from connectors.cassandra.writer import Writer
from engine.api.errors import ConfigError, ConnectError, DataError, RefusedError, RetriableError
from engine.api.record import SinkRecord, TopicPartition
from engine.api.testing import FakeReported, FakeReporter, FakeSinkContext, sink_batch
from engine.stages.convert import TransformedBatch, columns_of
from tests.harness.fake_cassandra import COLUMNS, FakeLink

MAPPING = {"topic.topic.k.t.mapping": "id=key, name=value"}
TWO_TABLES = {**MAPPING, "topic.topic.k.u.mapping": "id=value, name=value"}
REFUSED = cassandra.InvalidRequest("Key may not be empty")


def writer(
    link: FakeLink, reporter: FakeReporter | None = None, mappings: dict[str, str] = MAPPING, **keys: str
) -> Writer:
    properties = {"contact.points": "here", **{name.replace("_", "."): text for name, text in keys.items()}}
    made = Writer(link, CassandraSinkConfig.parse(properties), read_mappings(mappings), reporter, "orders")
    made.start()
    return made


def batch(*keys: int, first_offset: int = 0) -> Any:
    return sink_batch(["x"] * len(keys), keys=list(keys), first_offset=first_offset)


def bad(key: int) -> Callable[[Sequence[tuple[Any, ...]]], Exception | None]:
    return lambda rows: REFUSED if any(row[0] == key.to_bytes(4, "big") for row in rows) else None


def test_what_is_put_is_written_when_it_is_flushed() -> None:
    link = FakeLink()
    made = writer(link)
    made.put(batch(1, 2, 3))
    made.flush()
    assert len(link.written) == 3


def test_what_passes_is_sent_again_and_holds_the_next_batch_back() -> None:
    link = FakeLink()
    made = writer(link)
    link.fail = lambda rows: cassandra.OperationTimedOut()
    made.put(batch(1))
    with pytest.raises(RetriableError, match=r"orders: writing k\.t: OperationTimedOut"):
        made.put(batch(2))
    with pytest.raises(RetriableError):
        made.flush()
    link.fail = lambda rows: None
    made.put(batch(2))
    made.flush()
    assert len(link.written) == 2


def test_a_connection_without_hosts_is_made_anew() -> None:
    link = FakeLink()
    made = writer(link)
    link.fail = lambda rows: NoHostAvailable("none", {"here": ConnectionRefusedError("refused")})
    made.put(batch(1))
    link.refuse_opening = RetriableError("not yet")
    with pytest.raises(RetriableError, match="not yet"):
        made.flush()
    with pytest.raises(RetriableError, match="not yet"):
        made.flush()
    link.refuse_opening, link.fail = None, lambda rows: None
    made.flush()
    assert (len(link.written), link.opened) == (1, 2)


def test_a_row_that_cassandra_refuses_is_told_and_the_rest_goes_through() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter, batch_by="replicas")
    link.fail = bad(7)
    made.put(batch(5, 6, 7, 8, first_offset=40))
    made.flush()
    assert sorted(link.written) == [key.to_bytes(4, "big") for key in (5, 6, 8)]
    ((record, error),) = reporter.reports
    assert record.original_offset == 42
    assert "orders: record topic-0@42: k.t: Cassandra does not take this row: " in str(error)
    assert "Key may not be empty" in str(error)
    assert isinstance(error, DataError)
    assert error.code == "InvalidRequest"


def test_a_bad_record_ends_the_task_where_nobody_hears_of_it() -> None:
    link = FakeLink()
    made = writer(link)
    with pytest.raises(DataError, match="orders: record topic-0@1: k.t: column id of the primary key is null"):
        made.put(sink_batch(["x", "y"], keys=[1, None]))
    link.fail = bad(7)
    made.put(batch(7))
    with pytest.raises(DataError, match="orders: record topic-0@0: "):
        made.flush()


def test_a_record_that_two_tables_do_not_take_is_told_once_with_both() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter, {**MAPPING, "topic.topic.k.u.mapping": "id=key, name=value"})
    made.put(sink_batch(["x", "y", "z"], keys=[1, None, 3]))
    ((record, error),) = reporter.reports
    assert record.original_offset == 1
    null = "column id of the primary key is null: the record has no key: expected a value"
    assert str(error) == f"orders: record topic-0@1: k.t: {null}; k.u: {null}"
    made.flush()
    assert len(reporter.reports) == 1


def test_a_record_that_one_table_refuses_later_than_the_other_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "WAIT_S_MAX", 0.01)
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter, TWO_TABLES)
    link.is_mute = True
    made.put(batch(7))  # its value is no id of u; what t says is not known yet
    with pytest.raises(RetriableError, match="has not answered all requests yet"):
        made.put(batch(8, first_offset=1))
    assert reporter.reports == []
    link.unanswered[0].fail(REFUSED)
    made.flush()
    ((record, error),) = reporter.reports
    assert record.original_offset == 0
    assert "k.u: column id gets a str that is no int" in str(error)
    assert "; k.t: Cassandra does not take this row" in str(error)
    assert isinstance(error, DataError)
    assert error.code == "InvalidRequest"


def late_writer(reporter: FakeReporter, monkeypatch: pytest.MonkeyPatch) -> tuple[FakeLink, Writer]:
    """A record is bad in u, t has not answered; its partition goes, which no flush has passed for."""
    monkeypatch.setattr(sender_module, "WAIT_S_MAX", 0.01)
    link = FakeLink()
    made = writer(link, reporter, TWO_TABLES)
    link.is_mute = True
    made.put(batch(7))
    with pytest.raises(RetriableError, match="has not answered all requests yet"):
        made.flush()
    made.let_go([TopicPartition("topic", 0)])
    link.is_mute = False
    return link, made


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_bad_record_of_a_partition_that_went_is_its_new_owners(
    is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = FakeReporter()
    link, made = late_writer(reporter, monkeypatch)
    if is_refused:
        link.unanswered[0].fail(REFUSED)
    else:
        link.unanswered[0].answer()
    made.put(sink_batch(["x"], partition=1, keys=[None], first_offset=5))
    made.flush()
    assert [(record.partition, record.original_offset) for record, _ in reporter.reports] == [(1, 5)]


def test_a_bad_record_of_a_partition_that_went_and_came_back_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = FakeReporter()
    link, made = late_writer(reporter, monkeypatch)
    link.fail = bad(7)
    with pytest.raises(RetriableError, match="has not answered all requests yet"):
        made.put(batch(7))
    assert reporter.reports == []
    link.unanswered[0].fail(REFUSED)
    made.put(batch(7))
    made.flush()
    assert [record.original_offset for record, _ in reporter.reports] == [0]


def test_a_task_that_closes_a_partition_tells_nothing_of_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "WAIT_S_MAX", 0.01)
    link, reporter = FakeLink(), FakeReporter()
    monkeypatch.setattr(sink_module, "Link", lambda settings: link)
    task = CassandraSinkTask()
    task.initialize(FakeSinkContext(reporter=reporter))
    task.start({"contact.points": "here", **MAPPING})
    link.is_mute = True
    task.put(sink_batch(["x", "y"], keys=[None, 7]))
    with pytest.raises(RetriableError, match="has not answered all requests yet"):
        task.flush({})
    task.close([TopicPartition("topic", 0)])
    link.unanswered[0].fail(REFUSED)
    task.flush({})
    assert reporter.reports == []


def test_a_partition_that_went_ends_no_task_that_has_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "WAIT_S_MAX", 0.01)
    link = FakeLink()
    made = writer(link)
    link.is_mute = True
    made.put(batch(7))
    made.let_go([TopicPartition("topic", 0)])
    link.unanswered[0].fail(REFUSED)
    made.flush()


def test_records_that_a_transform_has_made_of_one_are_told_once() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter, batch_by="replicas")
    columns = columns_of(batch(6, 7, 8))
    columns.pick([0, 1, 1, 1, 2])
    link.fail = bad(7)
    made.put(TransformedBatch(columns))
    made.flush()
    assert [record.original_offset for record, _ in reporter.reports] == [1]
    assert str(reporter.reports[0][1]).count("does not take this row") == 1


def test_where_bad_records_are_not_tolerated_what_came_before_is_flushed() -> None:
    link, reporter = FakeLink(), FakeReporter(is_tolerant=False)
    made = writer(link, reporter)
    made.put(batch(1))
    with pytest.raises(ConnectError, match="Tolerance exceeded"):
        made.put(sink_batch(["x", "y"], keys=[None, None], first_offset=1))
    made.flush()
    assert [record.original_offset for record, _ in reporter.reports] == [1]


def test_where_bad_records_are_not_tolerated_one_that_was_put_lets_no_flush_pass() -> None:
    link, reporter = FakeLink(), FakeReporter(is_tolerant=False)
    made = writer(link, reporter)
    link.fail = bad(7)
    made.put(batch(7))
    for _ in range(2):
        with pytest.raises(ConnectError, match="Tolerance exceeded"):
            made.flush()
    assert len(reporter.reports) == 1


def test_a_letter_that_cannot_be_written_yet_is_written_before_a_flush_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter)
    report = reporter.report

    def not_yet(record: SinkRecord, error: Exception) -> FakeReported:
        raise RetriableError("the registry is away")

    monkeypatch.setattr(reporter, "report", not_yet)
    made.put(sink_batch(["x"], keys=[None]))
    for call in (made.flush, lambda: made.put(batch(1, first_offset=1))):
        with pytest.raises(RetriableError, match="registry"):
            call()
    assert link.requests == []
    monkeypatch.setattr(reporter, "report", report)
    made.flush()
    assert [record.original_offset for record, _ in reporter.reports] == [0]


def test_a_table_that_was_changed_is_no_records_fault() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter)
    made.put(batch(1))
    link.columns, link.fail = [*COLUMNS[:1], ("name", "regular", -1, "int")], lambda rows: REFUSED
    made.put(batch(2))
    with pytest.raises(ConnectError, match="table k.t has been changed or dropped meanwhile"):
        made.flush()
    assert reporter.reports == []


def test_a_statement_that_cassandra_does_not_take_is_no_records_fault() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter)
    link.refuse_preparing = ConnectError("preparing to write k.t: Cassandra does not take it")
    with pytest.raises(ConnectError, match="does not take it"):
        made.put(batch(1))
    assert (reporter.reports, link.requests) == ([], [])


def test_a_column_that_was_missing_is_written_once_it_is_there() -> None:
    link, reporter = FakeLink(), FakeReporter()
    keys = {"topic.topic.k.t.mapping": "value.*"}
    made = Writer(link, CassandraSinkConfig.parse({"contact.points": "h"}), read_mappings(keys), reporter, "orders")
    made.start()
    row = {"id": 1, "name": "x", "note": "y"}
    made.put(sink_batch([row]))
    assert ["has no column note" in str(error) for _, error in reporter.reports] == [True]
    link.columns = [*COLUMNS, ("note", "regular", -1, "text")]
    made.put(sink_batch([row], first_offset=1))
    made.flush()
    assert (len(reporter.reports), len(link.written)) == (1, 1)


def test_a_statement_that_is_refused_on_a_new_connection_is_no_records_fault() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter)
    link.fail = lambda rows: NoHostAvailable("none", {})
    made.put(batch(1))
    link.fail = lambda rows: None
    link.refuse_preparing = ConnectError("preparing to write k.t: Cassandra does not take it")
    for _ in range(2):
        with pytest.raises(ConnectError, match="does not take it"):
            made.flush()
    assert (reporter.reports, link.opened) == ([], 2)


@pytest.mark.parametrize(
    "error", [struct.error("'H' format requires 0 <= number <= 65535"), OverflowError("int too big to convert")]
)
@pytest.mark.parametrize("is_of_host", [True, False])
def test_a_row_that_the_protocol_has_no_room_for_is_bad(error: Exception, is_of_host: bool) -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter, batch_by="replicas")
    raised = NoHostAvailable("none", {"here": error}) if is_of_host else error
    link.fail = lambda rows: raised if any(row[0] == (7).to_bytes(4, "big") for row in rows) else None
    made.put(batch(6, 7, 8))
    made.flush()
    assert [record.original_offset for record, _ in reporter.reports] == [1]
    assert (len(link.written), link.opened) == (2, 1)


def test_a_mistake_of_the_driver_is_neither_a_rows_nor_passes() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter)
    link.fail = lambda rows: RuntimeError("cannot schedule new futures after shutdown")
    made.put(batch(1))
    with pytest.raises(ConnectError, match=r"writing k\.t: RuntimeError: cannot schedule") as caught:
        made.flush()
    assert not isinstance(caught.value, RetriableError)
    assert reporter.reports == []


def test_rows_of_which_a_server_fails_at_one_are_written_each_by_itself() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter, batch_by="replicas")
    failure = cassandra.WriteFailure("mutation is too large")
    link.fail = lambda rows: failure if any(row[0] == (7).to_bytes(4, "big") for row in rows) else None
    made.put(batch(6, 7, 8))
    for _ in range(5):
        with pytest.raises(RetriableError, match="mutation is too large"):
            made.flush()
    assert sorted(link.written) == [key.to_bytes(4, "big") for key in (6, 8)]
    assert (link.requests, reporter.reports) == ([3, 3, 3, 1, 1, 1, 1, 1], [])
    link.fail = lambda rows: None
    made.flush()
    assert len(link.written) == 3


def test_hosts_that_have_too_much_to_do_are_not_left() -> None:
    link = FakeLink()
    made = writer(link)
    overloaded = OverloadedErrorMessage(0x1001, "too many requests", {})
    link.fail = lambda rows: NoHostAvailable("none", {"here": overloaded, "there": ConnectionRefusedError("refused")})
    made.put(batch(1))
    with pytest.raises(RetriableError, match="too many requests"):
        made.flush()
    link.fail = lambda rows: None
    made.flush()
    assert (len(link.written), link.opened) == (1, 1)


def test_tables_are_looked_at_once_for_all_rows_that_are_refused() -> None:
    link, reporter = FakeLink(), FakeReporter()
    made = writer(link, reporter, batch_rows="1")
    made.put(batch(1))
    made.flush()
    link.fail, link.asked = lambda rows: REFUSED, 0
    made.put(batch(*range(20)))
    made.flush()
    assert (len(reporter.reports), link.asked) == (20, 3)


def test_what_is_on_its_way_is_waited_for_over_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "WAIT_S_MAX", 0.01)
    link = FakeLink()
    made = writer(link)
    link.is_mute = True
    made.put(batch(1))
    for _ in range(3):
        with pytest.raises(RetriableError, match="has not answered all requests yet"):
            made.flush()
    assert link.is_open
    link.unanswered[0].answer()
    made.flush()
    assert link.opened == 1


def test_a_table_is_looked_at_anew_on_a_new_connection() -> None:
    link, reporter = FakeLink(), FakeReporter()
    keys = {"topic.topic.k.t.mapping": "value.*"}
    made = Writer(link, CassandraSinkConfig.parse({"contact.points": "h"}), read_mappings(keys), reporter, "orders")
    made.start()
    made.put(sink_batch([{"id": 1, "name": "x"}]))
    made.flush()
    link.columns = [COLUMNS[0], ("name", "regular", -1, "int")]
    link.close()
    made.put(sink_batch([{"id": 1, "name": 5}]))
    made.flush()
    assert reporter.reports == []
    assert list(link.written.values()) == [(5).to_bytes(4, "big")]


def test_no_right_to_write_is_a_refusal() -> None:
    link = FakeLink()
    made = writer(link)
    link.fail = lambda rows: cassandra.Unauthorized("User has no MODIFY permission on <table k.t>")
    made.put(batch(1))
    with pytest.raises(RefusedError, match=r"no MODIFY permission on <table k\.t>; grant it"):
        made.flush()


def test_what_was_put_and_can_never_be_written_lets_no_flush_pass() -> None:
    """A task that ends by what a put has raised is flushed once more, and its records would be committed."""
    link = FakeLink()
    made = writer(link)
    link.fail = lambda rows: cassandra.Unauthorized("User has no MODIFY permission on <table k.t>")
    made.put(batch(1))
    with pytest.raises(RefusedError):
        made.put(batch(2))
    link.fail = lambda rows: None
    for call in (made.flush, made.flush, lambda: made.put(batch(3))):
        with pytest.raises(RefusedError):
            call()


def test_a_bad_record_that_is_not_sent_yet_leaves_what_came_before_it_to_be_flushed() -> None:
    link = FakeLink()
    made = writer(link)
    made.put(batch(1))
    with pytest.raises(DataError):
        made.put(sink_batch(["x"], keys=[None]))
    made.flush()
    assert len(link.written) == 1


def test_requests_that_are_never_answered_cost_the_connection_and_are_sent_on_the_next() -> None:
    link = FakeLink()
    made = writer(link, request_timeout_ms="10")
    link.is_mute = True
    made.put(batch(1))
    with pytest.raises(RetriableError, match="orders: Cassandra has not answered within"):
        made.flush()
    assert not link.is_open
    link.is_mute = False
    made.flush()
    assert (len(link.written), link.opened) == (1, 2)


def test_what_fails_while_a_connection_is_given_up_is_sent_again() -> None:
    link = FakeLink()
    link.is_mute = True
    sender = Sender(link, requests_max=2, silence_s=1)
    statement = Statement("INSERT ...", Table("k", "t", {}, (), ()), (0,), "ONE")
    sent = [Request(statement, [(b"", b"")], batch(key), [0]) for key in (1, 2)]
    for request in sent:
        assert sender.send(request)
    assert sender.failed() == []
    link.unanswered[1].fail(cassandra.OperationTimedOut())
    assert sender.abandon() == sent
    link.unanswered[0].fail(cassandra.OperationTimedOut())
    assert (sender.failed(), sender.abandon()) == ([], [])


def test_a_topic_without_a_table_is_told_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"topic\.other\.KEYSPACE\.TABLE\.mapping"):
        writer(FakeLink()).put(sink_batch(["x"], topic="other"))


def test_a_table_that_does_not_fit_is_told_at_the_start() -> None:
    link = FakeLink()
    link.columns = COLUMNS[:1]
    with pytest.raises(ConfigError, match=r"k\.t has no column name; expected one of id, or add\.columns=true"):
        writer(link)
    link.columns = []
    with pytest.raises(ConfigError, match="there is no keyspace k"):
        writer(link)


def test_records_without_a_value_may_change_nothing() -> None:
    link = FakeLink()
    keys = {**MAPPING, "topic.topic.k.t.deletesEnabled": "false"}
    made = Writer(link, CassandraSinkConfig.parse({"contact.points": "h"}), read_mappings(keys), None, "orders")
    made.start()
    made.put(sink_batch([None], keys=[1]))
    made.flush()
    assert link.requests == []
