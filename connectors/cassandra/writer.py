"""Writes batches: rows into requests, requests to Cassandra, and what became of them.

    put(batch) ──► settle ──► rows ──► requests ──► on their way        returns, with some of them unanswered
    flush()    ──► settle ──► all are answered, or RetriableError
    let_go()   ──► bad records of partitions that go are dropped, those as well that are not known yet

    settle: what has failed meanwhile     passes      ──► sent again; still failing: RetriableError
                                          is refused  ──► row by row: the bad ones are told, the others written
                                          neither     ──► raised, by each call from then on: no flush passes any more

Every row has a time of writing that follows from its record, so that writing it again changes nothing (but for what
times.py says of a new start). `put` raises RetriableError before it has done anything of its batch, and never after.
A bad record is told when all that was sent is answered, and so once: its rows in other tables may be refused as well.

Used by: sink.py.
Not here: the connection (session.py), what a row is (plans.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

from connectors.cassandra.bad_records import BadRecords
from connectors.cassandra.changes import Changes
from connectors.cassandra.columns import Shaped, fields_of, shapes_of
from connectors.cassandra.config import CassandraSinkConfig
from connectors.cassandra.errors import code_of, is_cut_off, is_of_row, is_of_server, translated
from connectors.cassandra.link import LinkPort
from connectors.cassandra.mapping import TableMapping
from connectors.cassandra.plans import Plan, encoded_rows, plan_of
from connectors.cassandra.sender import Limits, Request, Sender, requests_of
from connectors.cassandra.tables import Table, check_tables, read_table
from connectors.cassandra.times import Times, WriteTimes
from engine.api.batch import SinkBatch
from engine.api.errors import ConfigError, ConnectError, DataError, Problem, RetriableError
from engine.api.record import TopicPartition
from engine.api.task import ErrantRecordReporter

__all__ = ["Writer"]

PLANS_MAX = 256
#: Of the time that a request may take: the driver answers within it, and may try once more.
PATIENCE = 2.5


class Writer:
    """Of one task."""

    def __init__(
        self,
        link: LinkPort,
        settings: CassandraSinkConfig,
        mappings: Sequence[TableMapping],
        reporter: ErrantRecordReporter | None,
        connector: str,
        assignment: Callable[[], Collection[TopicPartition]] = tuple,
    ) -> None:
        """connector: its name, for messages. assignment: the partitions that the task has now."""
        self._link = link
        self._settings = settings
        self._bad = BadRecords(connector, reporter)
        self._connector = connector
        self._mappings: dict[str, list[TableMapping]] = {}
        for mapping in mappings:
            self._mappings.setdefault(mapping.topic, []).append(mapping)
        self._times = {(mapping.name, mapping.topic): WriteTimes(mapping) for mapping in mappings}
        self._limits = Limits(settings.batch_rows, settings.batch_bytes)
        self._changes = Changes(link, settings, assignment)
        self._tables: dict[tuple[str, str], Table] = {}
        self._plans: dict[Any, Plan] = {}
        self._sender: Sender | None = None
        self._again: list[Request] = []  # to be sent again
        self._trouble: ConnectError | None = None  # why
        self._failure: Exception | None = None  # something that was put can never be written

    def start(self) -> None:
        """Connect, and look at the tables. Raises RetriableError, RefusedError, ConfigError."""
        self._open()
        mappings = [mapping for mappings in self._mappings.values() for mapping in mappings]
        problems = check_tables(self._link, mappings, self._settings)
        if problems:
            raise ConfigError(problems)

    def put(self, batch: SinkBatch) -> None:
        """Send a batch, and tell its bad records. Raises RetriableError before anything of it is sent.

        Raises DataError, or what the reporter raises, for a bad record that may not be left out.
        """
        self._settle()
        # Plans first: they may have to ask Cassandra, and fail. Nothing has been told or sent then.
        work = [
            (mapping, [(records, self._plan(mapping, records)) for records in groups])
            for mapping, groups in self._by_mapping(batch)
        ]
        for mapping, planned in work:
            times = self._times[mapping.name, mapping.topic].of([records for records, _ in planned])
            for (records, plan), of_them in zip(planned, times, strict=True):
                self._write(plan, records, of_them, batch)
        if self._bad:
            with suppress(RetriableError):  # the next call goes on from here
                self._wait()
                self._tell(batch)

    def flush(self) -> None:
        """Return when all that was put is written, or told. Raises RetriableError: it is not, so far."""
        self._settle()
        self._wait()
        self._tell()

    def let_go(self, partitions: Collection[TopicPartition]) -> None:
        """These go elsewhere: what no flush has passed for is read, and told, again there."""
        self._bad.let_go(partitions)

    def stop(self) -> None:
        """Give everything back."""
        self._link.close()

    def _by_mapping(self, batch: SinkBatch) -> Iterator[tuple[TableMapping, list[Shaped]]]:
        by_topic: dict[str, list[Shaped]] = {}
        for records in shapes_of(batch):
            by_topic.setdefault(records.topic, []).append(records)
        for topic, groups in by_topic.items():
            for mapping in self._mappings_of(topic):
                deletes = mapping.settings.deletesEnabled
                wanted = [records for records in groups if deletes or not records.is_tombstone]
                if wanted:
                    yield mapping, wanted

    def _mappings_of(self, topic: str) -> Sequence[TableMapping]:
        mappings = self._mappings.get(topic)
        if mappings is None:
            key = f"topic.{topic}.KEYSPACE.TABLE.mapping"
            known = ", ".join(self._mappings)
            raise ConfigError([Problem(key, f"topic {topic} has no table: expected a key {key}; {known} have one")])
        return mappings

    def _write(self, plan: Plan | DataError, records: Shaped, times: Times, batch: SinkBatch) -> None:
        """plan: or why there is none, for all of these records."""
        if isinstance(plan, DataError):
            self._keep_all(records, plan, batch)
            return
        try:
            rows = encoded_rows(plan, records, times, self._link.unset)
        except DataError as error:
            self._keep_all(records, error, batch)
            return
        for index, failure in rows.failures:
            self._bad.add(batch, index, failure)
        if rows.failures and plan.strays:
            # The column that is missing may be there by the next batch.
            self._plans = {shape: other for shape, other in self._plans.items() if other is not plan}
            self._tables.pop((plan.mapping.keyspace, plan.mapping.table), None)
        by_replicas = self._settings.batch_by == "replicas"
        hosts_of = self._link.hosts_of(plan.mapping.keyspace) if by_replicas else None
        for request in requests_of(rows, batch, self._limits, hosts_of):
            self._send(request)

    def _send(self, request: Request) -> None:
        assert self._sender is not None, "a writer was started"
        if self._again or not self._sender.send(request):
            place = request.statement.table.place
            self._trouble = self._trouble or RetriableError(f"{place}: Cassandra does not answer")
            self._again.append(request)

    def _settle(self) -> None:
        """See to what has failed, and to records that are to be told. Raises RetriableError while it fails."""
        assert self._sender is not None, "a writer was started"
        if not self._link.is_open:
            self._open()
        self._collect()
        if not self._again and not self._bad and not self._bad.await_answers:
            return
        if not self._link.is_open:
            self._open()
        again, self._again, self._trouble = self._again, [], None
        for request in again:
            self._send(request)
        self._wait()
        self._tell()

    def _wait(self) -> None:
        """Return when everything is answered, and well. Raises RetriableError, after a second or so."""
        assert self._sender is not None, "a writer was started"
        while True:
            if not self._sender.drain():
                self._unanswered()
            self._collect()
            if self._again:
                # Requests of its own kind: the next call sends them again.
                raise self._trouble or RetriableError(f"{self._connector}: rows are not written yet")
            if self._sender.is_idle:
                self._bad.answered()
                return

    def _unanswered(self) -> None:
        assert self._sender is not None, "a writer was started"
        if self._sender.is_dead:
            self._disconnect()
            raise RetriableError(f"{self._connector}: Cassandra has not answered within {self._silence_s:g} s")
        raise RetriableError(f"{self._connector}: Cassandra has not answered all requests yet")

    def _collect(self) -> None:
        """See to all that has failed so far. What it raises, it raises from then on."""
        assert self._sender is not None, "a writer was started"
        if self._failure is not None:
            raise self._failure
        failed = self._sender.failed()
        try:
            if self._are_tables_as_they_were(failed):
                for request, error in failed:
                    self._failed(request, error)
            else:
                self._again += [request for request, _ in failed]
        except Exception as error:
            # A task that ends flushes first: rows that were put and are not written must not let it pass.
            self._failure = error
            raise
        if any(is_cut_off(error) for _, error in failed):
            self._disconnect()

    def _disconnect(self) -> None:
        """Give the connection up; the next call makes one anew, and sends again what has no answer."""
        assert self._sender is not None, "a writer was started"
        self._again += self._sender.abandon()
        self._link.close()

    def _failed(self, request: Request, error: Exception) -> None:
        place = request.statement.table.place
        if is_of_row(error):
            if len(request.rows) > 1:
                for alone in request.alone():  # find which of them, and write the others
                    self._send(alone)
                return
            reason = f"{place}: Cassandra does not take this row: {error}"
            refused = DataError(reason, expected="values within its limits")
            refused.code = code_of(error)
            self._bad.add(request.batch, request.indexes[0], refused)
            return
        failure = translated(error, f"{self._connector}: writing {place}")
        if not isinstance(failure, RetriableError):
            raise failure from error
        self._again += request.again() if is_of_server(error) else [request]
        self._trouble = failure

    def _are_tables_as_they_were(self, failed: Sequence[tuple[Request, Exception]]) -> bool:
        """Whether rows may be blamed; False: that cannot be told now. Raises ConnectError where a table is another."""
        statements = {request.statement for request, error in failed if is_of_row(error)}
        for table in [statement.table for statement in statements]:
            try:
                now = read_table(self._link, table.keyspace, table.name)
            except RetriableError as trouble:
                self._trouble = trouble
                return False
            if now is None or now.primary_key != table.primary_key or not table.columns.items() <= now.columns.items():
                raise ConnectError(
                    f"{self._connector}: table {table.place} has been changed or dropped meanwhile; its columns were "
                    f"{', '.join(table.columns)}"
                )
        return True

    def _keep_all(self, records: Shaped, error: DataError, batch: SinkBatch) -> None:
        for index in records.indexes:
            self._bad.add(batch, index, error)

    def _tell(self, put: SinkBatch | None = None) -> None:
        """Tell bad records, all of whose rows are answered. put: the batch that is being put."""
        try:
            self._bad.tell()
        except RetriableError:
            raise
        except Exception as error:
            if put is not None and self._bad.are_all_of(put):
                self._bad.forget()  # the engine does not take it for put, and flushes what came before it
            else:
                self._failure = error
            raise

    def _plan(self, mapping: TableMapping, records: Shaped) -> Plan | DataError:
        names = [frozenset(fields_of(records, root)) for root in mapping.stars]
        shape = (
            mapping.topic, mapping.name, records.is_tombstone, records.value_schema, records.key_schema, *names,
        )  # fmt: skip
        found = self._plans.get(shape)
        if found is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            try:
                found = self._plans[shape] = self._planned(mapping, records)
            except DataError as error:
                return error
        return found

    def _planned(self, mapping: TableMapping, records: Shaped) -> Plan:
        place = mapping.keyspace, mapping.table
        table = self._tables.get(place) or read_table(self._link, *place) or self._changes.create(mapping, records)
        level = self._settings.consistency_level
        plan = plan_of(mapping, records, table, level)
        if plan.strays and self._settings.add_columns:
            table = self._changes.add_columns(mapping, plan.strays, records)
            plan = plan_of(mapping, records, table, level)
        self._link.prepare(plan.statement)  # what Cassandra has against it is no record's fault
        self._tables[place] = table
        return plan

    def _open(self) -> None:
        """Connect, anew perhaps; what is to be sent again stays."""
        self._link.open()
        self._tables, self._plans = {}, {}  # what has become of them meanwhile is not known
        self._sender = Sender(self._link, requests_max=self._settings.requests_max, silence_s=self._silence_s)

    @property
    def _silence_s(self) -> float:
        return self._settings.request_timeout_ms / 1000 * PATIENCE
