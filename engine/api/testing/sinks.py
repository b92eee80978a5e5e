"""What every sink connector keeps, whatever it writes.

K1  A task lives through its calls, and takes an empty batch, columns of any kind, and a batch that transforms changed.
K2  pre_commit says nothing of partitions that it was not asked for, and never more than what was put.
K3  A task that is started again goes on: what was written stays, what comes is added.
K4  A task can be stopped at any moment; what was not committed comes again, and is there.
K5  Partitions are given away and come back, and others go on meanwhile; each task writes what it is given.
K6  What comes again, after a rebalance or from an earlier offset, does no harm; where `is_once`, it is there once.
K7  Values of all kinds are taken, or refused one by one: a bad record costs itself, never its batch.
K8  A bad record that is not tolerated, or of which nobody would hear, ends the task; nothing is committed past it.
K9  A call that is cut short, wherever it may be, costs nothing: the task can be stopped, and another one goes on.
K10 alter_offsets takes any offset and None, reset_offsets None; afterwards records are written from there, also where
    they are others than before: the topic may be a new one, of the same name.

Used by: the suites of connectors in tests.
Not here: what a connector is asked (suite.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from engine.api.batch import SinkBatch
from engine.api.column import MapColumn, StructColumn, Utf8Column
from engine.api.connector import SinkConnector
from engine.api.errors import ConnectError, DataError
from engine.api.record import TopicPartition
from engine.api.schema import Schema
from engine.api.task import SinkTask
from engine.api.testing.calls import cut_short, moments, patiently
from engine.api.testing.contexts import ChangedBatch, FakeReporter, FakeSinkContext, sink_batch
from engine.api.testing.suite import Case, ConnectorSuite

__all__ = ["SinkCase", "SinkSuite"]

#: The numbers of a partition's records begin with its own times this.
NUMBERS = 1_000
#: Where in its life a task is stopped.
STOPS = ("made", "initialized", "started", "opened", "put", "committed", "closed")
#: Of all kinds that a converter may make.
KINDS: tuple[Any, ...] = (
    None,
    "text",
    "",
    b"bytes",
    1,
    2**63,
    2.5,
    float("nan"),
    True,
    {"a": [1, None]},
    {},
    ["x"],
    {1: "x"},
)


def _text(number: int) -> Any:
    return f"value {number}"


class SinkCase(Case, kw_only=True):
    """How a sink is made to write numbered records into something that is empty, and how they are found there."""

    written: Callable[[], Iterable[int]] | None  # the numbers of what is there now; None: it keeps nothing
    topic: str = "topic"
    value: Callable[[int], Any] = _text  # the value of a record that has this number
    value_schema: Schema | None = None
    key: Callable[[int], Any] | None = None
    key_schema: Schema | None = None
    bad_values: Sequence[Any] = ()  # that the system refuses
    is_once: bool = False  # whether what comes again is there once


class SinkSuite(ConnectorSuite):
    """Tests of a class of pytest's; whoever inherits it gives `connector` and the fixture `case`, a `SinkCase`."""

    connector: ClassVar[type[SinkConnector]]

    def test_k1_and_k2_a_task_lives_through_its_calls(self, case: SinkCase) -> None:
        task = self._opened(case, 0)
        assert _committed(task, {}) == {}
        patiently(task.put, _batch(case, range(2)))
        patiently(task.put, _batch(case, range(0)))
        end = 2
        for kind in range(len(_columns(case, range(1)))):
            patiently(task.put, _batch_of(case, _columns(case, range(end, end + 3))[kind], end))
            end += 3
        patiently(task.put, ChangedBatch(_batch(case, range(end, end + 2))))
        place = TopicPartition(case.topic, 0)
        assert _committed(task, {place: end + 2}) == {place: end + 2}, "all of it was put, and can be made safe"
        assert _committed(task, {place: end + 9}) == {place: end + 9}, "what was dropped on the way counts as well"
        _end(task, case, 0)
        _expect(case, range(end + 2))

    def test_k3_a_task_that_is_started_again_goes_on(self, case: SinkCase) -> None:
        for at in range(3):
            task = self._opened(case, 0)
            patiently(task.put, _batch(case, range(at * 2, at * 2 + 2)))
            _committed(task, {TopicPartition(case.topic, 0): at * 2 + 2})
            _end(task, case, 0)
        _expect(case, range(6))

    def test_k4_a_task_can_be_stopped_at_any_moment(self, case: SinkCase) -> None:
        for at, stop in enumerate(STOPS):
            numbers = range(at * 3, at * 3 + 3)
            self._stopped(case, stop, numbers)
            self._written(case, numbers)
        for name, text in case.bad.items():
            refused = self._initialized(case)
            with suppress(ConnectError):  # or it is found out later, or by the connector alone
                refused.start({**case.config, name: text})
            refused.stop()
        _expect(case, range(3 * len(STOPS)))

    def test_k5_partitions_go_and_come_back(self, case: SinkCase) -> None:
        places = [TopicPartition(case.topic, partition) for partition in range(2)]
        first = self._opened(case, 0, 1)
        for partition in range(2):
            patiently(first.put, _batch(case, range(3), partition))
        _committed(first, dict.fromkeys(places, 3))
        first.close(places[1:])
        second = self._opened(case, 1)
        patiently(second.put, _batch(case, range(3, 6), 1))
        patiently(first.put, _batch(case, range(3, 6)))
        _committed(second, {places[1]: 6})
        _committed(first, {places[0]: 6})
        second.close(places[1:])
        first.open(places[1:])
        patiently(first.put, _batch(case, range(6, 9), 1))
        patiently(first.put, _batch(case, range(6, 9)))
        _committed(first, dict.fromkeys(places, 9))
        second.stop()
        _end(first, case, 0, 1)
        _expect(case, [*range(9), *range(NUMBERS, NUMBERS + 9)])

    def test_k6_what_comes_again_does_no_harm(self, case: SinkCase) -> None:
        place = TopicPartition(case.topic, 0)
        task = self._opened(case, 0)
        patiently(task.put, _batch(case, range(6)))
        patiently(task.put, _batch(case, range(3, 8)))
        _committed(task, {place: 8})
        task.close([place])
        task.open([place])  # its commit did not arrive
        patiently(task.put, _batch(case, range(10)))
        _committed(task, {place: 10})
        _end(task, case, 0)
        self._written(case, range(8, 12))
        _expect(case, range(12))

    def test_k7_a_bad_record_costs_itself(self, case: SinkCase) -> None:
        reporter = FakeReporter()
        task = self._opened(case, 0, reporter=reporter)
        values: list[Any] = []
        good: list[int] = []
        for value in (*case.bad_values, *KINDS):
            good += [len(values), len(values) + 2]
            values += [case.value(len(values)), value, case.value(len(values) + 2)]
        schemas = [case.value_schema if at in good else None for at in range(len(values))]
        if task.put_is_atomic:
            self._put_one_by_one(task, case, values, schemas, good)
        else:
            patiently(task.put, _mixed(case, values, schemas))
        _committed(task, {TopicPartition(case.topic, 0): len(values)})
        _end(task, case, 0)
        told = [record.original_offset for record, _ in reporter.reports]
        assert sorted({*told}) == sorted(told), f"records are reported twice: {told}"
        assert not {*told} & {*good}, f"good records are reported: {reporter.reports}"
        assert all(str(error) for _, error in reporter.reports)
        if not task.put_is_atomic:
            bad = {3 * at + 1 for at in range(len(case.bad_values))}
            assert bad <= {*told}, f"bad records are not reported: {bad - {*told}}"
        if case.written is not None:
            assert {*good} <= {*case.written()}, "good records are not there, for bad ones beside them"

    def test_k8_a_bad_record_that_is_not_tolerated_ends_the_task(self, case: SinkCase) -> None:
        for value in case.bad_values:
            for reporter in (None, FakeReporter(is_tolerant=False)):
                task = self._opened(case, 0, reporter=reporter)
                self._expect_an_end(task, case, value)
                _end(task, case, 0)

    def test_k9_a_call_that_is_cut_short_costs_nothing(self, case: SinkCase) -> None:
        package = self.connector.__module__.partition(".")[0]
        numbers = range(8)
        with cut_short(package) as calls:
            self._written(case, numbers)
        assert calls.count, f"nothing can be cut short: no function of {package} was called"
        for at in moments(calls.count):
            numbers = range(numbers.stop, numbers.stop + 8)
            task = self._initialized(case)
            with cut_short(package, at):
                self._live_through(task, case, numbers)
            task.stop()
            self._written(case, numbers)
        _expect(case, range(numbers.stop))

    def test_k10_offsets_that_are_set_are_where_it_goes_on(self, case: SinkCase) -> None:
        self._written(case, range(4))
        place = TopicPartition(case.topic, 0)
        for ahead, name, offset in ((10, "alter_offsets", 0), (20, "alter_offsets", None), (30, "reset_offsets", None)):
            try:
                answer = getattr(self.connector(), name)(case.config, {place: offset})
            except NotImplementedError:
                continue
            assert isinstance(answer, bool), f"{name} answers {answer!r}"
            task = self._opened(case, 0)
            patiently(task.put, _batch(case, range(4), ahead=ahead))
            _committed(task, {place: 4})
            _end(task, case, 0)
            if case.written is not None:
                lost = {*range(ahead, ahead + 4)} - {*case.written()}
                assert not lost, f"{name} to {offset}: records that were put from 0 on are not there: {lost}"

    def _expect_an_end(self, task: SinkTask, case: SinkCase, value: Any) -> None:
        place = TopicPartition(case.topic, 0)
        positions = {place: 0}
        try:
            patiently(task.put, _mixed(case, [case.value(0), value], [case.value_schema, None]))
            positions = {place: 2}
            patiently(task.pre_commit, positions)
        except ConnectError as error:
            words = str(error)
        else:
            raise AssertionError(f"{value!r} is neither refused nor reported")
        assert words, f"{value!r} is refused without a word"
        try:  # as the engine does, which then ends the task
            safe = patiently(task.pre_commit, positions)
        except ConnectError:
            return
        assert safe.get(place, 0) <= 1, f"committed up to {safe}, past a record that is not written"

    def _put_one_by_one(
        self, task: SinkTask, case: SinkCase, values: Sequence[Any], schemas: Sequence[Schema | None], good: list[int]
    ) -> None:
        """As the engine does with who takes all of a batch or nothing, once it was refused."""
        try:
            patiently(task.put, _mixed(case, values, schemas))
        except DataError:
            _expect(case, [])
        else:
            assert not case.bad_values, "bad values were neither refused nor reported"
            return
        for at, value in enumerate(values):
            try:
                patiently(task.put, _mixed(case, [value], [schemas[at]], at))
            except DataError:
                assert at not in good, f"{value!r} is refused"

    def _initialized(self, case: SinkCase, *partitions: int, reporter: FakeReporter | None = None) -> SinkTask:
        task = self.connector.task()
        places = [TopicPartition(case.topic, partition) for partition in partitions or (0,)]
        task.initialize(FakeSinkContext(partitions=places, reporter=reporter))
        return task

    def _opened(self, case: SinkCase, *partitions: int, reporter: FakeReporter | None = None) -> SinkTask:
        task = self._initialized(case, *partitions, reporter=reporter)
        try:
            patiently(task.start, self.task_configs(case.config)[0])
        except BaseException:
            task.stop()
            raise
        task.open([TopicPartition(case.topic, partition) for partition in partitions])
        return task

    def _live_through(self, task: SinkTask, case: SinkCase, numbers: range) -> None:
        patiently(task.start, self.task_configs(case.config)[0])
        task.open([TopicPartition(case.topic, 0)])
        middle = (numbers.start + numbers.stop) // 2
        patiently(task.put, _batch(case, range(numbers.start, middle)))
        patiently(task.put, _batch(case, range(middle, numbers.stop)))
        _committed(task, {TopicPartition(case.topic, 0): numbers.stop})
        task.close([TopicPartition(case.topic, 0)])

    def _written(self, case: SinkCase, numbers: range) -> None:
        """Have a task of its own write these."""
        task = self._initialized(case)
        try:
            self._live_through(task, case, numbers)
        finally:
            task.stop()

    def _stopped(self, case: SinkCase, stop: str, numbers: range) -> None:
        place = TopicPartition(case.topic, 0)
        task = self.connector.task()
        acts: dict[str, Callable[[], Any]] = {
            "made": lambda: None,
            "initialized": lambda: task.initialize(FakeSinkContext(partitions=[place])),
            "started": lambda: patiently(task.start, self.task_configs(case.config)[0]),
            "opened": lambda: task.open([place]),
            "put": lambda: patiently(task.put, _batch(case, numbers)),
            "committed": lambda: _committed(task, {place: numbers.stop}),
            "closed": lambda: task.close([place]),
        }
        for name in STOPS[: STOPS.index(stop) + 1]:
            acts[name]()
        if stop in ("opened", "put", "committed"):
            task.close([place])
        task.stop()

    def _live(self, config: Mapping[str, str]) -> None:
        case = SinkCase(config=config, written=None)
        task = self._opened(case, 0)
        try:
            patiently(task.put, _batch(case, range(2)))
            _committed(task, {TopicPartition(case.topic, 0): 2})
        finally:
            task.stop()


def _batch(case: SinkCase, offsets: range, partition: int = 0, *, ahead: int = 0) -> SinkBatch:
    """ahead: by how much the numbers are ahead of the offsets."""
    values = [case.value(partition * NUMBERS + offset + ahead) for offset in offsets]
    return _batch_of(case, values, offsets.start, partition, ahead=ahead)


def _batch_of(case: SinkCase, values: Sequence[Any], first: int, partition: int = 0, *, ahead: int = 0) -> SinkBatch:
    start = partition * NUMBERS + first + ahead
    numbers = range(start, start + len(values))
    return sink_batch(
        values,
        topic=case.topic,
        partition=partition,
        first_offset=first,
        value_schema=case.value_schema,
        keys=None if case.key is None else [case.key(number) for number in numbers],
        key_schema=case.key_schema,
    )


def _mixed(case: SinkCase, values: Sequence[Any], schemas: Sequence[Schema | None], first: int = 0) -> SinkBatch:
    batch = _batch_of(case, values, first)
    batch.value_schemas = schemas
    return batch


def _columns(case: SinkCase, numbers: range) -> list[Sequence[Any]]:
    """The same values in each kind of column that can hold them."""
    values = [case.value(number) for number in numbers]
    found: list[Sequence[Any]] = [values]
    first = values[0]
    if isinstance(first, str):
        found.append(Utf8Column([value.encode() for value in values]))
    elif isinstance(first, dict):
        found.append(MapColumn({name: [value[name] for value in values] for name in first}, len(values)))
    elif case.value_schema is not None and case.value_schema.type == "STRUCT":
        names = [field.name for field in case.value_schema.fields]
        columns = [[getattr(value, name) for value in values] for name in names]
        found.append(StructColumn(case.value_schema, columns, len(values)))
    return found


def _committed(task: SinkTask, positions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
    safe = patiently(task.pre_commit, positions)
    assert safe.keys() <= positions.keys(), f"asked for {positions}, it says {safe}"
    assert all(safe[place] <= positions[place] for place in safe), f"of {positions} put, it says that {safe} is safe"
    return safe


def _end(task: SinkTask, case: SinkCase, *partitions: int) -> None:
    task.close([TopicPartition(case.topic, partition) for partition in partitions])
    task.stop()


def _expect(case: SinkCase, numbers: Iterable[int]) -> None:
    """That these records are there and no others; once each, if it is so with this sink."""
    if case.written is None:
        return
    found, expected = [*case.written()], [*numbers]
    if not case.is_once:
        found, expected = [*{*found}], [*{*expected}]
    assert sorted(found) == sorted(expected), f"there is {sorted(found)}; expected {sorted(expected)}"
