"""When a sink's member asks for all topics: not while it reads some of each that it is to read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from msgspec.structs import replace

from engine.config.line import Subscription
from engine.pump.subscription import MISSING_NS, Subscriber
from tests.harness.banks import line_spec


class Member:
    """Has partitions of some topics; all that are subscribed to exist."""

    def __init__(self, assigned: Collection[str]) -> None:
        self.assigned = assigned
        self.subscribed: Sequence[str] = ()
        self.questions = 0

    def subscribe(self, topics: Sequence[str]) -> None:
        self.subscribed = topics

    def reads(self, topics: Collection[str]) -> bool:
        return set(topics) <= set(self.assigned)

    def topic_names(self, timeout_seconds: float) -> list[str]:
        self.questions += 1
        return list(self.subscribed)

    def learn_topics(self, topics: Collection[str], timeout_seconds: float) -> bool:
        return self.reads(topics)


@pytest.mark.parametrize(("assigned", "questions"), [(("a", "b"), 0), (("a",), 1), ((), 1)])
def test_a_member_that_reads_all_its_topics_is_not_looked_for_them(assigned: Collection[str], questions: int) -> None:
    spec = replace(line_spec("sink"), subscription=Subscription(topics=("a", "b")))
    member = Member(assigned)
    subscriber = Subscriber(spec, member, lambda error: None)
    subscriber.start(0)
    subscriber.tick(MISSING_NS - 1)
    assert (member.subscribed, member.questions) == (("a", "b"), 0)
    subscriber.tick(MISSING_NS)
    assert member.questions == questions
