"""The example of change capture is run by its one command: the copy is what the table is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import topics
from tests.harness.examples import replaced, run_examples
from tests.harness.kafka import KafkaServer, UserKafka
from tests.harness.postgres import PostgresServer

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]


def test_the_copy_is_what_the_table_is(
    kafka: KafkaServer | UserKafka, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    topic = f"{database}.public.goods"
    texts = {
        'topics = "public.goods"': f'topics = "{topic}"',
        '"slot.name" =': f'"topic.prefix" = "{database}"\n"slot.name" =',
    }
    servers = ["--kafka", kafka.bootstrap, "--postgres", postgres.url(database)]
    topics.create_topic(kafka.bootstrap, topic, partitions=2)
    try:
        shown = run_examples(tmp_path, "postgres-changes", *servers, *replaced(texts))
        assert "858 |    858" in shown.lines[-1]
        rows = "SELECT id, name, price, date_trunc('milliseconds', since) FROM {} ORDER BY id"
        copied = postgres.query(rows.format("goods_copy"), database)
        assert copied == postgres.query(rows.format("goods"), database)
        assert len(copied) == 858
    finally:
        postgres.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots", database)
        postgres.query("DROP PUBLICATION IF EXISTS goods", database)
        topics.delete_topic(kafka.bootstrap, topic)
