"""A topic counts as missing where a broker says so; a question that nobody has answered says nothing of topics."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from engine.config.clients_draft import reconnect_defaults
from engine.config.line import Subscription
from engine.kafka import check

GONE, LATE, ODD, CLOSED = "gone", "late", "odd", "closed"
ANSWERS = {
    GONE: KafkaError.UNKNOWN_TOPIC_OR_PART,
    LATE: KafkaError._TIMED_OUT,
    ODD: KafkaError._TRANSPORT,
    CLOSED: KafkaError.TOPIC_AUTHORIZATION_FAILED,
}


class Broker:
    """Tells of each topic as ANSWERS has it, and creates none."""

    def __init__(self, settings: object) -> None:
        pass

    def describe_topics(self, wanted: Any, **_: object) -> dict[str, Future[Any]]:
        return {topic: _failed(ANSWERS[topic]) for topic in wanted.topic_names}

    def describe_configs(self, wanted: Sequence[Any], **_: object) -> dict[Any, Future[Any]]:
        answer: Future[Any] = Future()
        answer.set_result({"auto.create.topics.enable": SimpleNamespace(value="false")})
        return {wanted[0]: answer}


def _failed(code: int) -> Future[Any]:
    answer: Future[Any] = Future()
    answer.set_exception(KafkaException(KafkaError(code)))
    return answer


def looked(monkeypatch: pytest.MonkeyPatch, *topics: str, is_sink: bool, is_bulk: bool) -> tuple[list[str], list[str]]:
    """What is wrong, and what is worth a warning."""
    monkeypatch.setattr(check, "AdminClient", Broker)
    monkeypatch.setattr(check, "TopicCollection", lambda names: SimpleNamespace(topic_names=names))
    named = tuple(("topics" if is_sink else "topic", topic) for topic in topics)
    connector = check._Connector("orders", is_sink, named, {}, Subscription(), 1, is_bulk)
    cluster: Any = SimpleNamespace(topics={}, brokers={0: None})
    problems, warnings = check._look_for_topics(connector, cluster, has_source=not is_sink)
    return [str(problem) for problem in problems], warnings


@pytest.mark.parametrize("is_sink", [False, True])
@pytest.mark.parametrize("is_bulk", [False, True])
@pytest.mark.parametrize("topic", [LATE, ODD])
def test_a_broker_that_does_not_answer_is_told_as_such_and_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch, is_sink: bool, is_bulk: bool, topic: str
) -> None:
    problems, (warning,) = looked(monkeypatch, topic, is_sink=is_sink, is_bulk=is_bulk)
    assert problems == []
    assert warning.startswith(f"connector orders: whether topic {topic} exists is not known: ")
    assert KafkaError(ANSWERS[topic]).name() in warning


@pytest.mark.parametrize("is_sink", [False, True])
def test_a_missing_topic_ends_a_bulk_run_alone(monkeypatch: pytest.MonkeyPatch, is_sink: bool) -> None:
    (problem,), warnings = looked(monkeypatch, GONE, is_sink=is_sink, is_bulk=True)
    assert f"{'topics' if is_sink else 'topic'}={GONE}: no such topic, and the broker creates none" in problem
    assert warnings == []
    problems, (warning,) = looked(monkeypatch, GONE, is_sink=is_sink, is_bulk=False)
    assert problems == []
    assert warning.startswith("connector orders: topic")
    assert "no such topic, and the broker creates none" in warning


def test_what_is_missing_and_what_is_not_known_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,), (warning,) = looked(monkeypatch, GONE, LATE, is_sink=False, is_bulk=True)
    assert GONE in problem
    assert LATE not in problem
    assert LATE in warning


def test_a_source_waits_for_its_right_and_a_sink_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(monkeypatch, CLOSED, is_sink=False, is_bulk=True) == ([], [])
    (problem,), warnings = looked(monkeypatch, CLOSED, is_sink=True, is_bulk=True)
    assert "give this user Describe and Read on the topic" in problem
    assert warnings == []


@pytest.mark.parametrize("given", [{}, {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 20}])
def test_whatever_the_pauses_between_attempts_are_a_broker_that_is_away_is_told(given: dict[str, int]) -> None:
    settings = {"bootstrap.servers": "127.0.0.1:1", **reconnect_defaults(given), **given}
    connector = check._Connector("orders", True, (), settings, Subscription(), 1, False)
    cluster, told = check._cluster(connector, 0.1)
    assert cluster is None
    assert "no broker answers within 0.1 s" in told
