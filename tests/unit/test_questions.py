"""Questions are asked again while brokers come and go, and answered at once where waiting does not help."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from engine.api.errors import ConnectError
from engine.kafka import questions
from engine.shm.waits import OutsideError

PLACE = ("orders", 0)


class Asked:
    """Answers with errors first."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self.times = 0

    def __call__(self, left: float) -> dict[tuple[str, int], int]:
        self.times += 1
        if self._codes:
            raise KafkaException(KafkaError(self._codes.pop(0)))
        return {PLACE: 7}


@pytest.mark.parametrize("code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._UNKNOWN_PARTITION])
def test_what_passes_is_waited_for(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "RETRY_SECONDS", 0.001)
    ask = Asked(code, code)
    assert questions.patiently(ask, "offsets", 60.0) == {PLACE: 7}
    assert ask.times == 3


def test_a_partition_that_stays_unknown_is_asked_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "RETRY_SECONDS", 0.001)
    with pytest.raises(OutsideError, match="no leader is known"):
        questions.patiently(Asked(*[KafkaError._UNKNOWN_PARTITION] * 100_000), "offsets", 0.05)


def test_what_does_not_pass_is_told_at_once() -> None:
    ask = Asked(KafkaError.UNKNOWN_TOPIC_OR_PART)
    with pytest.raises(ConnectError, match="create the topic"):
        questions.patiently(ask, "offsets", 60.0)
    assert ask.times == 1
