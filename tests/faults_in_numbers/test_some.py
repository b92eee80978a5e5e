"""One task of eight that dies or hangs does so alone: it is told as it is, comes back, and nothing is lost.

The figures, and all faults, are those of `python -m tests.faults_in_numbers`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults_in_numbers.bed import Bed
from tests.faults_in_numbers.faults import FAULTS, suffer
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

SHORT = ("killed (-9), source's task", "hanging in C in put")
#: Longer than a busy machine takes to start a process.
QUICK = {"task.stall.timeout.ms": 1000, "task.stall.kill.ms": 4000}


def test_one_task_that_suffers_leaves_the_others_alone_and_loses_nothing(
    kafka: KafkaServer | UserKafka, topic: str, tmp_path: Path
) -> None:
    bed = Bed(kafka.bootstrap, topic, tmp_path, 500.0, QUICK)
    try:
        bed.start()
        for name in SHORT:
            seen = suffer(bed, FAULTS[name], settle_s=0.0, window_s=0.5)
            print(seen)
            assert not seen.failed_reads
        assert {title for title in bed.rows() if bed.restarts(title)} == {"faulty-sink/0", "faulty-source/0"}
        assert not any(bed.lost().values())
    finally:
        bed.close()
