"""What control cannot find out itself, asked of a short-lived child: whatever runs plugin code or a Kafka client.

    control ── Ask(ticket, question) ──► supervisor ──► a child with a deadline
            ◄── Answered(ticket) ───────────────────── the bytes that it left

One more kind of question is a Struct here, in `Question`, and a function that answers it, in engine.answering.

Used by: engine.control.herding, engine.supervisor.orders, engine.answering.
Not here: who runs when (engine.supervisor.orders), what is answered (engine.answering).
"""

from __future__ import annotations

from msgspec import Struct

from engine.herder.model import Alter, Config, Plan, Refusal

__all__ = ["Answered", "Ask", "NoAnswerError", "PluginConfig", "Question", "ReadOffsets", "Validate"]


class Validate(Struct, frozen=True, tag=True, tag_field="kind"):
    """What is wrong with a configuration, key by key. Answered by ConfigInfos, as JSON."""

    name: str  # of a connector that there may never be
    config: Config
    nulls: tuple[str, ...] = ()  # keys whose value is null


class PluginConfig(Struct, frozen=True, tag=True, tag_field="kind"):
    """What the configuration of a plugin can hold. Answered by a list of ConfigKeyInfo, as JSON."""

    plugin: str  # its class or an alias
    version: str | None = None  # that is asked for; None: any
    name: str = ""


class ReadOffsets(Struct, frozen=True, tag=True, tag_field="kind"):
    """How far is a connector? Answered as REST shows it, in JSON."""

    name: str
    config: Config


#: Each has a `name`, of the connector that it is about. A Plan is answered by a Planned, in msgpack; an Alter by words.
Question = Plan | Alter | ReadOffsets | Validate | PluginConfig


class Ask(Struct, frozen=True, tag=True, tag_field="kind"):
    """Have a child answer. ticket: comes back in Answered."""

    ticket: int
    question: Question


class Answered(Struct, frozen=True, tag=True, tag_field="kind"):
    """What the child left."""

    ticket: int
    answer: bytes = b""
    refusal: Refusal | None = None  # why there is none


class NoAnswerError(Exception):
    """Raised where a question is answered: the client gets this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
