"""What control asks is answered by children, a few at a time; plans wait for nothing else; no answer is an error."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from random import Random

import msgspec
import pytest

from engine.herder.model import Plan, Refusal, Settled
from engine.herder.questions import Answered, Ask, Question, Validate
from engine.shm import segment
from engine.shm.board import Board, board_bytes
from engine.shm.link import Link
from engine.supervisor.fleet import Fleet
from engine.supervisor.fork import Child
from engine.supervisor.orders import (
    ANSWER_NS_MAX,
    CHILDREN_MAX,
    GATHER_NS,
    PLANNING,
    PLANS_PER_CHILD,
    SIZE_BYTES,
    WAITING_MAX,
    Orders,
    leave_answers,
)
from engine.supervisor.pacer import Pacer
from engine.supervisor.watchers import Watchers
from tests.harness.banks import VirtualClock

MANY = 100


class Port:
    """Orders, control's end of its link, and children, idle processes, that answer when the test says so."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        board = Board(segment.create("board", board_bytes(1)))
        board.begin(1)
        fleet = Fleet(board, lambda *_: pytest.fail("no line is asked for"), lambda _: None)
        watchers = Watchers(lambda *_: pytest.fail("no connector watches"), self.clock, Pacer(Random(1)))
        self.orders = Orders(fleet, watchers, self.fork, self.clock)
        self.link = Link(self.orders.connect())
        self.children: dict[int, tuple[Child, int]] = {}  # by first ticket: and where it leaves its answers
        self.cannot_fork = False
        self.begun: list[int] = []
        self.together: list[list[int]] = []  # tickets of each child

    def fork(self, asks: Sequence[Ask], answer: int) -> Child:
        if self.cannot_fork:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        reading, writing = os.pipe2(os.O_NONBLOCK)
        os.close(writing)
        pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        child = Child(pid, "answer", reading)
        tickets = [ask.ticket for ask in asks]
        self.children[tickets[0]] = child, answer
        self.begun += tickets
        self.together.append(tickets)
        return child

    def ask(self, ticket: int, question: Question) -> None:
        assert self.link.send(msgspec.msgpack.encode(Ask(ticket, question)))

    def tick(self) -> list[Answered]:
        """Let orders go on; returns what control hears."""
        for _ in range(3):  # a turn takes some messages only
            self.orders.tick()
        heard = []
        while (message := self.link.receive()) is not None:
            heard.append(msgspec.msgpack.decode(message, type=Answered | Settled))
        assert all(isinstance(one, Answered) for one in heard)
        return heard

    def end(self, ticket: int, *answers: bytes, number: int = signal.SIGKILL, torn: bytes = b"") -> None:
        """The child is gone, with this signal; 0: it has left well. torn: the part of an answer that it has left."""
        child, answer = self.children.pop(ticket)
        leave_answers(answer, [*answers, torn])
        if not torn:
            os.ftruncate(answer, os.fstat(answer).st_size - SIZE_BYTES)
        else:
            os.ftruncate(answer, os.fstat(answer).st_size - 1)
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self.orders.reaped(child.pid, int(number))

    def close(self) -> None:
        self.orders.close()
        for child, _ in self.children.values():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def plan(name: str = "orders") -> Plan:
    return Plan(1, name, {}, wants_tasks=True)


OTHER = Validate("orders", {})


def test_an_answer_comes_back_as_the_child_left_it(port: Port) -> None:
    port.ask(7, plan())
    assert port.tick() == []
    port.end(7, msgspec.msgpack.encode(Answered(7, b"found")), number=0)
    assert port.tick() == [Answered(7, b"found")]


def test_a_child_that_crashes_is_an_error(port: Port) -> None:
    port.ask(7, plan())
    port.tick()
    port.end(7, number=signal.SIGSEGV, torn=b"half an answer")
    (answered,) = port.tick()
    assert answered.refusal is not None
    assert answered.refusal.status == 500
    assert "ended with -11" in answered.refusal.message


def test_a_child_that_says_nothing_is_an_error(port: Port) -> None:
    port.ask(7, plan())
    port.tick()
    port.end(7, number=0)
    (answered,) = port.tick()
    assert answered.refusal is not None


def test_a_process_that_cannot_be_had_is_an_error(port: Port) -> None:
    port.cannot_fork = True
    port.ask(7, plan())
    (answered,) = port.tick()
    assert answered.refusal is not None
    assert "cannot fork" in answered.refusal.message


def test_a_child_that_is_too_slow_is_ended(port: Port) -> None:
    port.ask(7, plan())
    port.tick()
    child, _ = port.children[7]
    port.clock.now_ns += ANSWER_NS_MAX
    port.tick()
    _, status = os.waitpid(child.pid, 0)
    del port.children[7]
    assert os.WTERMSIG(status) == signal.SIGKILL
    port.orders.reaped(child.pid, status)
    (answered,) = port.tick()
    assert answered.refusal is not None


def test_only_so_many_are_asked_at_a_time(port: Port) -> None:
    for ticket in range(CHILDREN_MAX + 1):
        port.ask(ticket, OTHER)
    port.tick()
    assert port.begun == list(range(CHILDREN_MAX))
    port.end(0, number=0)
    port.tick()
    assert port.begun[-1] == CHILDREN_MAX


def test_plans_share_children_where_many_wait_and_each_has_its_answer(port: Port) -> None:
    for ticket in range(MANY):
        port.ask(ticket, plan())
    port.tick()
    assert len(port.together) == PLANNING
    port.clock.now_ns += GATHER_NS
    port.tick()
    assert len(port.together) == CHILDREN_MAX
    assert all(1 < len(tickets) <= PLANS_PER_CHILD for tickets in port.together)
    answers = {ticket: Answered(ticket, b"%d" % ticket) for ticket in port.together[1]}
    port.end(port.together[1][0], *map(msgspec.msgpack.encode, answers.values()), number=0)
    assert port.tick() == list(answers.values())


def test_a_plan_waits_for_company_while_others_are_made_but_not_for_long(port: Port) -> None:
    for ticket in range(PLANNING):
        port.ask(ticket, plan())
        port.tick()
    port.ask(PLANNING, plan())
    port.tick()
    port.ask(PLANNING + 1, plan())
    port.tick()
    assert port.together == [[ticket] for ticket in range(PLANNING)]
    port.clock.now_ns += GATHER_NS
    port.tick()
    assert port.together[PLANNING:] == [[PLANNING, PLANNING + 1]]


def test_plans_that_come_together_are_shared_out(port: Port) -> None:
    for ticket in range(2 * PLANNING):
        port.ask(ticket, plan())
    port.tick()
    assert port.together == [[2 * child, 2 * child + 1] for child in range(PLANNING)]


def test_those_that_a_shared_child_has_not_answered_are_asked_again_each_alone(port: Port) -> None:
    for ticket in range(MANY):
        port.ask(ticket, plan())
    port.tick()
    first, bad, *rest = port.together[0]
    port.end(first, msgspec.msgpack.encode(Answered(first, b"found")), number=signal.SIGSEGV)
    assert port.tick() == [Answered(first, b"found")]
    assert port.together[-1] == [bad]
    port.end(bad, number=signal.SIGSEGV)
    (refused,) = port.tick()
    assert (refused.ticket, refused.refusal is None) == (bad, False)
    assert port.together[-1] == rest[:1]


def test_a_question_whose_turn_comes_too_late_is_refused(port: Port) -> None:
    late = CHILDREN_MAX
    for ticket in range(late + 1):
        port.ask(ticket, OTHER)
    port.tick()
    port.clock.now_ns += ANSWER_NS_MAX
    port.end(0, number=0)
    refused = {answered.ticket: answered.refusal for answered in port.tick()}
    assert late not in port.begun
    assert refused[late] == Refusal(500, "Request timed out.")


def test_plans_wait_for_no_other_question(port: Port) -> None:
    for ticket in range(CHILDREN_MAX + 1):
        port.ask(ticket, OTHER)
    port.ask(MANY, plan())
    port.tick()
    assert port.begun == [*range(CHILDREN_MAX), MANY] or port.begun == [MANY, *range(CHILDREN_MAX)]


def test_more_questions_than_can_wait_are_refused_and_plans_are_not(port: Port) -> None:
    for ticket in range(CHILDREN_MAX):
        port.ask(ticket, OTHER)
    port.tick()
    for ticket in range(WAITING_MAX + 1):
        port.ask(MANY + ticket, OTHER)
    for ticket in range(WAITING_MAX + 1):
        port.ask(2 * MANY + ticket, plan())
    (answered,) = port.tick()
    assert answered.ticket == MANY + WAITING_MAX
    assert answered.refusal is not None
    assert answered.refusal.status == 503


def test_what_a_dead_control_has_asked_is_neither_begun_nor_answered_to_its_successor(port: Port) -> None:
    for ticket in range(CHILDREN_MAX + 1):
        port.ask(ticket, OTHER)
    port.tick()
    port.link.close()
    port.link = Link(port.orders.connect())
    port.end(0, msgspec.msgpack.encode(Answered(0, b"late")), number=0)
    assert port.tick() == []
    assert port.begun == list(range(CHILDREN_MAX))
