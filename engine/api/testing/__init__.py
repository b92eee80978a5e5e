"""What holds a plugin of yours to the contract, with pytest: suites to inherit, and what tasks ask of, made by hand.

    class TestOrders(SourceSuite):
        connector = OrdersConnector

        @pytest.fixture
        def case(self, tmp_path):
            return SourceCase(config={"topic": "t", "folder": str(tmp_path)}, count=60)

    contexts    FakeSourceContext, FakeSinkContext, sink_batch ...   what surrounds them, for tests of your own
    suite       what both kinds of connectors keep                  inherited by the two
    sources     SourceSuite, SourceCase                             what every source keeps
    sinks       SinkSuite, SinkCase                                 what every sink keeps

Nothing here imports pytest, nor does the engine import anything of this.
"""

from __future__ import annotations

from engine.api.testing.contexts import (
    ChangedBatch,
    FakeConnectorContext,
    FakeReported,
    FakeReporter,
    FakeSinkContext,
    FakeSourceContext,
    poll_all,
    records_of,
    sink_batch,
)
from engine.api.testing.sinks import SinkCase, SinkSuite
from engine.api.testing.sources import SourceCase, SourceSuite
from engine.api.testing.suite import SECRET, Case, ConnectorSuite

__all__ = [
    "SECRET",
    "Case",
    "ChangedBatch",
    "ConnectorSuite",
    "FakeConnectorContext",
    "FakeReported",
    "FakeReporter",
    "FakeSinkContext",
    "FakeSourceContext",
    "SinkCase",
    "SinkSuite",
    "SourceCase",
    "SourceSuite",
    "poll_all",
    "records_of",
    "sink_batch",
]
