"""Cassandra goes away while it is written to: rows are sent again until they are there, none is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.cassandra.sink import CassandraSinkConnector, CassandraSinkTask
from engine.api.errors import RetriableError
from engine.api.testing import FakeSinkContext, sink_batch
from tests.cassandra.conftest import Start, port_of
from tests.harness import wait
from tests.harness.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.cassandra, pytest.mark.long]

PUTS = 30
ROWS = 100
BAD_AT = (5, 15)


@pytest.mark.parametrize("how", ["cut", "stall"])
def test_nothing_is_lost_when_the_server_goes_away(
    session: Any, keyspace: str, start: Start, proxy: Proxy, how: str
) -> None:
    session.execute(f"CREATE TABLE {keyspace}.t (p int, id int, PRIMARY KEY (p, id))")
    impatient = {"port": str(port_of(proxy)), "request.timeout.ms": "500", "connect.timeout.ms": "1000"}
    task = start(impatient, mapping="value.*")
    failed = 0

    def is_done(call: Callable[..., object], *arguments: object) -> bool:
        nonlocal failed
        try:
            call(*arguments)
        except RetriableError:
            failed += 1
            proxy.flow()
            return False
        return True

    for number in range(PUTS):
        if number in BAD_AT:
            getattr(proxy, how)()
        ids = range(number * ROWS, (number + 1) * ROWS)
        batch = sink_batch([{"p": at % 5, "id": at} for at in ids], first_offset=ids.start)
        wait.until(lambda: is_done(task.put, batch), "put", timeout_s=60)  # noqa: B023  called within this turn
        if number % 3 == 0:
            wait.until(lambda: is_done(task.flush, {}), "flush", timeout_s=60)
    wait.until(lambda: is_done(task.flush, {}), "flush", timeout_s=60)
    assert failed >= len(BAD_AT)
    assert session.execute(f"SELECT count(*) FROM {keyspace}.t").one()[0] == PUTS * ROWS


def test_a_cluster_that_is_away_is_waited_for(proxy: Proxy) -> None:
    proxy.cut()
    config = {
        "name": "orders",
        "topics": "topic",
        "contact.points": "127.0.0.1",
        "port": str(port_of(proxy)),
        "connect.timeout.ms": "500",
        "topic.topic.k.t.mapping": "value.*",
    }
    assert CassandraSinkConnector().validate(config) == []
    task = CassandraSinkTask()
    task.initialize(FakeSinkContext())
    with pytest.raises(RetriableError, match=r"connecting to 127\.0\.0\.1, port \d+: no host of Cassandra answers"):
        task.start(config)
    task.stop()
