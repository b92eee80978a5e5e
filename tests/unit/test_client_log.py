"""A client says what is wrong once, and again after a while; a user is not told twenty times a second."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError

from engine.kafka.client_log import REPEAT_SECONDS, ClientLog
from engine.shm.waits import Cause, Trouble

AWAY = KafkaError(KafkaError._TRANSPORT, "127.0.0.1:9092/1: Connection refused")


class Clock:
    seconds = 0.0

    def now(self) -> float:
        return self.seconds


def test_a_broker_that_is_away_is_named_at_once_and_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    ear = ClientLog(clock.now)
    for _ in range(100):
        ear.error(AWAY)
        clock.seconds += REPEAT_SECONDS / 50
    assert len(caplog.records) == 2
    assert caplog.messages[0] == "kafka: 127.0.0.1:9092/1: Connection refused (_TRANSPORT); waiting for it to come back"


def test_another_error_is_told_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    ear = ClientLog(Clock().now)
    ear.error(AWAY)
    ear.error(KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED, "wrong password"))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "waiting" not in caplog.messages[1]


def test_log_lines_that_differ_in_numbers_alone_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    ear = ClientLog(Clock().now)
    for milliseconds in range(10):
        ear.log(logging.WARNING, "%s [%s] %s", "GETPID", "producer-1", f"retrying in {milliseconds} ms")
    assert caplog.messages == ["GETPID [producer-1] retrying in 0 ms"]


def test_failed_connections_are_left_to_the_errors(caplog: pytest.LogCaptureFixture) -> None:
    ClientLog(Clock().now).log(logging.ERROR, "%s [%s] %s", "FAIL", "producer-1", "Connection refused")
    assert caplog.messages == []


@pytest.mark.parametrize(
    "alert", ["tls alert certificate unknown", "sslv3 alert certificate expired", "tlsv1 alert unknown ca"]
)
def test_a_certificate_that_is_refused_after_the_handshake_is_no_broker_that_is_away(
    alert: str, caplog: pytest.LogCaptureFixture
) -> None:
    ear = ClientLog(Clock().now)
    text = f"sasl_ssl://localhost:9093/1: Receive failed: error:0A000416:SSL routines::ssl/{alert}: SSL alert number 46"
    ear.error(KafkaError(KafkaError._TRANSPORT, text))
    assert ear.take_troubles() == [Trouble(Cause.CREDENTIALS, text)]
    assert "come back" not in caplog.text
