"""Errors of the client become ours by what a line does about them: it is given up, or it comes back."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from engine.api.errors import ConnectError
from engine.kafka.errors import as_ours
from engine.shm.lease import RivalError
from engine.shm.waits import Cause, OutsideError

FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID)
# As the consumer says it: a fatal error, and the broker's own in words.
FATAL_OF_FENCED = KafkaError(KafkaError._FATAL, f"Fatal error: {FENCED.str()}: Fatal consumer error: {FENCED.str()}")


@pytest.mark.parametrize("error", [FENCED, FATAL_OF_FENCED])
def test_a_member_that_was_fenced_comes_back_and_says_what_may_be_wrong(error: KafkaError) -> None:
    ours = as_ours(error, "read topic orders")
    assert isinstance(ours, RivalError)
    assert "another process has joined with the same group.instance.id" in str(ours)


def test_any_other_fatal_error_ends_the_task() -> None:
    ours = as_ours(KafkaError(KafkaError._FATAL, "Fatal error: Broker: Unsupported version"), "read topic orders")
    assert type(ours) is ConnectError


@pytest.mark.parametrize("name", ["FENCED_LEADER_EPOCH", "_DESTROY_BROKER", "NOT_COORDINATOR", "REQUEST_TIMED_OUT"])
def test_what_a_cluster_answers_while_it_moves_is_waited_for(name: str) -> None:
    ours = as_ours(KafkaError(getattr(KafkaError, name)), "read first or end offsets")
    assert isinstance(ours, OutsideError)
    assert ours.cause == Cause.LEADER
