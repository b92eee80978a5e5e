"""A topic is told once when it is first used, and again once it was forgotten; that it cannot be told costs nothing."""

from __future__ import annotations

from collections.abc import Collection

from engine.api.errors import ConnectError
from engine.pump.used import RETRY_NS, UsedTopics
from engine.shm import segment
from engine.shm.board import Board, HeaderWord, Identity, board_bytes
from tests.harness.banks import VirtualClock


class Register:
    """Remembers each telling; refuses while `is_full`."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[str]]] = []
        self.is_full = False

    def note_topics(self, connector: str, topics: Collection[str]) -> None:
        if self.is_full:
            raise ConnectError("the offset store cannot be written: the disk is full")
        self.told.append((connector, sorted(topics)))


class Rig:
    def __init__(self) -> None:
        self.board = Board(segment.create("board", board_bytes(1)))
        row = self.board.row(self.board.add(Identity("orders", 0, "source", "none")))
        self.clock = VirtualClock()
        self.register = Register()
        self.used = UsedTopics("orders", self.register, row, self.clock)

    def use(self, *topics: str) -> None:
        self.used.use(topics)
        self.used.tell()


def test_each_topic_is_told_once() -> None:
    rig = Rig()
    rig.use("a", "b", "a")
    rig.use("b")
    rig.use("c", "a")
    assert rig.register.told == [("orders", ["a", "b"]), ("orders", ["c"])]


def test_what_was_forgotten_is_told_again_with_its_next_use() -> None:
    rig = Rig()
    rig.use("a", "b")
    rig.board.header[HeaderWord.TOPICS_FORGOTTEN] += 1
    rig.use()
    assert len(rig.register.told) == 1
    rig.use("b")
    assert rig.register.told[1:] == [("orders", ["b"])]


def test_what_cannot_be_told_is_told_later() -> None:
    rig = Rig()
    rig.register.is_full = True
    rig.use("a")
    rig.register.is_full = False
    rig.use("b")
    assert rig.register.told == []
    rig.clock.now_ns += RETRY_NS
    rig.use()
    assert rig.register.told == [("orders", ["a", "b"])]
