"""The example of change capture runs as it stands: the copy is what the table is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import topics
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.postgres import PostgresServer
from tests.shape.tree import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

WAIT_S = 120.0
CLASSES = {
    '"PostgresSource"': '"connectors.postgres.source.changes_connector:PostgresSourceConnector"',
    '"PostgresSink"': '"connectors.postgres.sink:PostgresSinkConnector"',
}


def test_the_copy_is_what_the_table_is(
    kafka: KafkaServer | UserKafka, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    example = ROOT / "examples" / "postgres-changes"
    text = (example / "pipeline.toml").read_text()
    topic = f"{database}.public.goods"
    replaced = {
        "localhost:9092": kafka.bootstrap,
        "postgresql://postgres@localhost:5432/shop": postgres.url(database),
        'topics = "public.goods"': f'topics = "{topic}"',
        '"slot.name" =': f'"topic.prefix" = "{database}"\n"slot.name" =',
        **CLASSES,
    }
    for old, new in replaced.items():
        assert old in text, f"{old} is nowhere in the example"
        text = text.replace(old, new)
    (tmp_path / "pipeline.toml").write_text(text)
    topics.create_topic(kafka.bootstrap, topic, partitions=2)
    postgres.query((example / "table.sql").read_text(), database)
    try:
        for statements in ("SELECT 1", (example / "changes.sql").read_text()):
            postgres.query(statements, database)
            with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as run:
                assert run.wait(WAIT_S) == 0, run.stderr
        rows = "SELECT id, name, price, date_trunc('milliseconds', since) FROM {} ORDER BY id"
        copied = postgres.query(rows.format("goods_copy"), database)
        assert copied == postgres.query(rows.format("goods"), database)
        assert len(copied) == 858
    finally:
        postgres.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots", database)
        postgres.query("DROP PUBLICATION IF EXISTS goods", database)
        topics.delete_topic(kafka.bootstrap, topic)
