"""Answers to what control asks: the one table from kinds of questions to the functions that answer them.

    Ask ──► answer ──► plan_one, validate ... ──► bytes of an Answered

Each runs in a child of the supervisor's, which is ended when it takes too long. What runs plugin code asks it in a
probe (engine.plugins.probe) from here, so that a plugin that hangs, exits or eats memory costs a step with a name.

Used by: engine.boot.
Not here: which child when (engine.supervisor.orders), what the questions are (engine.herder.questions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine.altering import alter, read_offsets
from engine.api.config import keys_of
from engine.api.errors import ConnectError
from engine.config.connector_keys import SinkKeys, SourceKeys
from engine.config.files import Pipeline
from engine.config.worker_keys import WorkerConfig
from engine.connector_lines import PlanOptions
from engine.herder.model import Alter, Plan, Refusal
from engine.herder.questions import Answered, Ask, ReadOffsets, RefusedError
from engine.plan import plan_one
from engine.plugins.catalog import discover

__all__ = ["answer", "warm"]

#: What answers a question, given the worker's files and what the command says beside them: see `answer`.
Answer = Callable[[Pipeline, PlanOptions, Any], bytes]

_ANSWERS: Mapping[type[Any], Answer] = {
    Plan: plan_one,
    Alter: alter,
    ReadOffsets: read_offsets,
}

_encode = msgspec.msgpack.Encoder().encode


def warm() -> None:
    """Make once, before the forks, what each answer needs and no plugin's code makes: half of a plan's time."""
    for keys in (WorkerConfig, SourceKeys, SinkKeys):
        keys_of(keys)
    discover()  # what Python has read of the installed distributions, it remembers


def answer(worker: Pipeline, options: PlanOptions, ask: Ask) -> bytes:
    """An Answered in msgpack. A RefusedError becomes its status; any other error of ours a 500 with its words."""
    try:
        return _encode(Answered(ask.ticket, _ANSWERS[type(ask.question)](worker, options, ask.question)))
    except RefusedError as error:
        return _encode(Answered(ask.ticket, refusal=Refusal(error.status, str(error))))
    except ConnectError as error:
        return _encode(Answered(ask.ticket, refusal=Refusal(500, str(error))))
