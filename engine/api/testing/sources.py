"""What every source connector keeps, whatever it reads.

S1  Every record has a source partition and an offset that survive JSON.
S2  Keys and values are values of their schemas, columns have a slot for each record, Kafka takes the topics' names.
S3  A bounded run gives everything, ends, and gives nothing after its end.
S4  A task that is started behind any record gives the rest: exactly the rest where the record was the last of its poll,
    or with something told again where it was not. Where `is_exact` is false something may always be told again.
S5  A task that is stopped in the middle, with offsets stored and `commit` called on the way, loses and doubles nothing.
S6  A task can be stopped at any moment: before it was initialized, started or polled, when it was refused, and when
    offsets could not be read.
S7  A call that is cut short, wherever it may be, costs nothing: the task can be stopped, and another one goes on.
S8  Without an end of its own a task waits for more, briefly, and gives it when it comes.
S9  alter_offsets takes offsets that the connector has made, and None for any partition; what is no offset of it is
    refused there or by the task, by a ConnectError.

Used by: the suites of connectors in tests.
Not here: what a connector is asked (suite.py).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple

from engine.api.batch import SourceBatch
from engine.api.connector import SourceConnector
from engine.api.errors import ConnectError, RetriableError
from engine.api.record import SourceRecord
from engine.api.task import Polled, SourceTask
from engine.api.testing.calls import cut_short, moments, patiently
from engine.api.testing.contexts import FakeSourceContext, records_of
from engine.api.testing.suite import Case, ConnectorSuite

__all__ = ["SourceCase", "SourceSuite"]

#: An end that is not reached within so many polls is none.
POLLS_MAX = 5_000
#: What comes out of a system or a thread needs time, and nothing sleeps in `wait`.
EMPTY_POLL_PAUSE_S = 0.002
#: With one task, and with as many as a connector may well make.
TASKS = (1, 3)
WAIT_NS_MAX = 2_000_000_000
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")

Stored = Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]]
Content = tuple[str, object, object]


class SourceCase(Case, kw_only=True):
    """How a source is made to give `count` records: the same ones whenever it begins anew, and nothing was stored."""

    count: int  # 20 and more, in several polls, tell the most
    is_exact: bool = True  # whether nothing is told again behind the last record of a poll
    has_end: bool = False  # whether a run that is no bulk run ends as well
    more: Callable[[], object] | None = None  # has one record come, or some, that were not there before


class _Given(NamedTuple):
    """What a task has given."""

    polls: list[list[SourceRecord]]

    @property
    def records(self) -> list[SourceRecord]:
        return [record for poll in self.polls for record in poll]

    @property
    def ends(self) -> set[int]:
        """The indexes of the last records of its polls."""
        found, count = set(), 0
        for poll in self.polls:
            count += len(poll)
            found.add(count - 1)
        return found


class SourceSuite(ConnectorSuite):
    """Tests of a class of pytest's; whoever inherits it gives `connector` and the fixture `case`, a `SourceCase`."""

    connector: ClassVar[type[SourceConnector]]

    def test_s1_and_s2_records_are_whole(self, case: SourceCase) -> None:
        for config in self._configs(case):
            task = self._started(config)
            for polled in _polls(task):
                _check_columns(polled)
                for record in records_of(polled):
                    _check_record(record)
            task.stop()

    def test_s3_a_bounded_run_gives_everything_and_ends(self, case: SourceCase) -> None:
        for tasks_max in TASKS:
            count = 0
            for config in self.task_configs(case.config, tasks_max):
                task = self._started(config)
                count += len(_drained(task).records)
                assert not records_of(task.poll()), "there are records after the end"
                task.stop()
            assert count == case.count, f"{count} records of {case.count}, with {tasks_max} tasks"

    def test_s4_a_task_goes_on_behind_any_record(self, case: SourceCase) -> None:
        for config in self._configs(case):
            given = self._run(config)
            for at, record in enumerate(given.records):
                rest = _content(self._run(config, [_stored(record)]).records)
                _expect_rest(given, at, rest, is_exact=case.is_exact)

    def test_s5_a_task_that_is_stopped_in_the_middle_loses_and_doubles_nothing(self, case: SourceCase) -> None:
        for config in self._configs(case):
            given = self._run(config)
            half = self._started(config)
            context = _context(half)
            count = 0
            for polled in _polls(half):
                records = records_of(polled)
                count += len(records)
                if records:
                    context.store(records[-1])
                    half.commit()
                if count * 2 >= len(given.records):
                    break
            half.stop()
            if not count:
                continue
            last = given.records[count - 1]
            rest = _content(self._run(config, [_stored(last)]).records)
            _expect_rest(given, count - 1, rest, is_exact=case.is_exact)

    def test_s6_a_task_can_be_stopped_at_any_moment(self, case: SourceCase) -> None:
        for config in self._configs(case):
            self.connector.task().stop()
            task = self.connector.task()
            task.initialize(FakeSourceContext(is_bulk=True))
            task.stop()
            for name in case.bad:
                refused = self.connector.task()
                refused.initialize(FakeSourceContext(is_bulk=True))
                with suppress(ConnectError):  # or it is found out later, or by the connector alone
                    refused.start({**config, name: case.bad[name]})
                refused.stop()
            apart = self.connector.task()
            apart.initialize(_CutOff(is_bulk=True))
            with suppress(RetriableError):
                apart.start(config)
                apart.poll()
            apart.stop()
            self._started(config).stop()
            polled = self._started(config)
            patiently(polled.poll)
            polled.stop()

    def test_s7_a_call_that_is_cut_short_costs_nothing(self, case: SourceCase) -> None:
        package = self.connector.__module__.partition(".")[0]
        config = self._configs(case)[0]
        with cut_short(package) as calls:
            whole = _content(self._run(config).records)
        assert calls.count, f"nothing can be cut short: no function of {package} was called"
        told: list[SourceRecord] = []
        for at in moments(calls.count):  # each goes on where the one before was cut short
            task = self.connector.task()
            task.initialize(FakeSourceContext(is_bulk=True, offsets=map(_stored, told[-1:])))
            with cut_short(package, at):
                patiently(task.start, config)
                for polled in _polls(task):
                    told += records_of(polled)
            task.stop()
        found = _content([*told, *self._run(config, [*map(_stored, told[-1:])]).records])
        if case.is_exact:
            assert found == whole, f"of {calls.count} calls some were cut short: {found}"
        else:
            assert {*found} == {*whole}, f"of {calls.count} calls some were cut short: {found}"

    def test_s8_more_is_waited_for(self, case: SourceCase) -> None:
        config = self.task_configs(case.config)[0]
        task = self._started(config, is_bulk=False)
        context = _context(task)
        _take(task, case.count)
        for _ in range(3):
            before_ns = context.now_ns
            assert not records_of(patiently(task.poll)), "a record that a bounded run did not give"
            assert context.now_ns - before_ns <= WAIT_NS_MAX, "a poll waits up to a second or so"
        assert context.has_ended == case.has_end, "end() is for bulk runs, and for what has an end by itself"
        if case.more is not None:
            case.more()
            _take(task, 1)
        task.stop()

    def test_s9_offsets_that_are_set_are_those_it_makes(self, case: SourceCase) -> None:
        last = self._run(self._configs(case)[0]).records[-1]
        partition, offset = _stored(last)
        text = json.dumps(partition)
        for offsets in ({text: offset}, {text: None}, {'{"no such": "partition"}': None}, {}):
            try:
                answer = self.connector().alter_offsets(case.config, offsets)
            except NotImplementedError:
                return
            assert isinstance(answer, bool), f"alter_offsets answers {answer!r}"
        wrong: dict[str, Any] = {"no such": "offset"}
        try:
            self.connector().alter_offsets(case.config, {text: wrong})
            self._run(self._configs(case)[0], [(partition, wrong)])
        except ConnectError:
            return
        raise AssertionError(f"a task goes on from {wrong}, which is no offset of it")

    def _configs(self, case: SourceCase) -> list[Mapping[str, str]]:
        return self.task_configs(case.config, TASKS[-1])

    def _started(self, config: Mapping[str, str], stored: Stored = (), *, is_bulk: bool = True) -> SourceTask:
        task = self.connector.task()
        task.initialize(FakeSourceContext(is_bulk=is_bulk, offsets=stored))
        try:
            patiently(task.start, config)
        except BaseException:
            task.stop()
            raise
        return task

    def _run(self, config: Mapping[str, str], stored: Stored = ()) -> _Given:
        task = self._started(config, stored)
        try:
            return _drained(task)
        finally:
            task.stop()

    def _live(self, config: Mapping[str, str]) -> None:
        for given in self.task_configs(config)[:1]:
            self._run(given)


class _CutOff(FakeSourceContext):
    """Its store cannot be read just now."""

    def offset(self, partition: Mapping[str, Any]) -> Mapping[str, Any] | None:
        raise RetriableError("the store is away")


def _context(task: SourceTask) -> FakeSourceContext:
    context = task.context
    assert isinstance(context, FakeSourceContext)
    return context


def _polls(task: SourceTask) -> Iterable[Polled]:
    """What it gives until it ends."""
    for _ in range(POLLS_MAX):
        polled = patiently(task.poll)
        if polled:
            yield polled
        if _context(task).has_ended:
            return
        if not polled:
            time.sleep(EMPTY_POLL_PAUSE_S)
    raise AssertionError(f"a bulk run has no end: context.end() was not called in {POLLS_MAX} polls")


def _take(task: SourceTask, count: int) -> None:
    """Have it give so many records."""
    for _ in range(POLLS_MAX):
        records = records_of(patiently(task.poll))
        count -= len(records)
        if count <= 0:
            return
        if not records:
            time.sleep(EMPTY_POLL_PAUSE_S)
    raise AssertionError(f"{count} records have not come in {POLLS_MAX} polls")


def _drained(task: SourceTask) -> _Given:
    return _Given([*map(records_of, _polls(task))])


def _stored(record: SourceRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    partition, offset = json.loads(json.dumps([record.source_partition, record.source_offset]))
    return partition, offset


def _content(records: Iterable[SourceRecord]) -> list[Content]:
    return [(record.topic, _plain(record.key), _plain(record.value)) for record in records]


def _plain(value: object) -> object:
    """Something that can be compared and kept in sets."""
    return value if isinstance(value, str | bytes | int | float | None) else repr(value)


def _check_columns(polled: Polled) -> None:
    batches = polled if isinstance(polled, Sequence) else [polled]
    for batch in batches:
        if not isinstance(batch, SourceBatch):
            continue
        columns = ("keys", "partitions", "timestamps", "headers", "source_offsets")
        for name in columns:
            column = getattr(batch, name)
            assert column is None or len(column) == len(batch), f"{len(column)} {name} for {len(batch)} values"


def _check_record(record: SourceRecord) -> None:
    stored = [record.source_partition, record.source_offset]
    assert None not in stored, f"{record} has no source partition or offset"
    assert json.loads(json.dumps(stored)) == stored, f"{stored} does not survive JSON"
    assert record.topic is not None
    assert _TOPIC.fullmatch(record.topic), f"{record.topic!r} is no name of a topic"
    for value, schema in ((record.key, record.key_schema), (record.value, record.value_schema)):
        if schema is not None:
            schema.validate(value)


def _expect_rest(given: _Given, at: int, rest: Sequence[Content], *, is_exact: bool) -> None:
    whole = _content(given.records)
    record = given.records[at]
    where = f"behind record {at} of {len(whole)}, at {record.source_partition} {record.source_offset}"
    if is_exact and at in given.ends:
        assert rest == whole[at + 1 :], f"{where}: {len(rest)} records instead of {len(whole) - at - 1}: {rest}"
        return
    assert {*whole[at + 1 :]} <= {*rest}, f"{where}: lost {[one for one in whole[at + 1 :] if one not in rest]}"
    assert rest == whole[len(whole) - len(rest) :], f"{where}: not in order, or not what it was: {rest}"
