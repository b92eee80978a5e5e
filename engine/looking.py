"""One connector, looked at for control: planned, validated, or asked something else, in a probe of its own.

    configuration ──► a pipeline of it alone ──► Planner, in a probe ──► Planned, or what is made of its lines

Used by: engine.answering, engine.altering.
Not here: how a connector is looked at (plan.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from engine.api.errors import ConfigError
from engine.config.files import ConnectorFile, Pipeline
from engine.connector_lines import ConnectorLines, PlanOptions
from engine.herder.model import Plan, Planned
from engine.mending import Kind
from engine.plan import Planner
from engine.plugins.probe import ProbeError, Tell
from engine.probing import ask_probe, ask_probes, plugin_path

__all__ = ["consult", "look_at", "plan_each", "plan_one"]

_encode = msgspec.msgpack.Encoder().encode


def plan_one(worker: Pipeline, options: PlanOptions, order: Plan, *, tells_keys: bool = False) -> bytes:
    """What is to be known of one connector, as a Planned in msgpack, in a probe child as `prepare`.

    As look_at, otherwise.
    """
    question = partial(_looked_at, worker, options, order, tells_keys=tells_keys)
    try:
        return ask_probe(worker, options, question)
    except ConfigError as error:
        return _failed(order, error)


def plan_each(worker: Pipeline, options: PlanOptions, orders: Sequence[Plan]) -> Iterator[bytes]:
    """As plan_one, for each of these, which share a probe where they may."""
    if plugin_path(worker, options):
        # What one imports would be there for the next, whose environment may have it in another version.
        yield from (plan_one(worker, options, order) for order in orders)
        return
    answers = ask_probes(worker, options, [partial(_looked_at, worker, options, order) for order in orders])
    for order, answer in zip(orders, answers, strict=True):
        yield _failed(order, answer) if isinstance(answer, ConfigError) else answer


def look_at(
    worker: Pipeline, options: PlanOptions, order: Plan, tell: Tell = lambda *_: None, *, tells_keys: bool = False
) -> Planned:
    """What is to be known of one connector. Runs plugin code: call it in a probe only. Kafka is not asked.

    worker: a pipeline whose connectors do not matter here. tells_keys: with infos.
    """
    state = "RUNNING" if order.wants_tasks else "STOPPED"
    pipeline = _about(worker, order.name, order.config, state)
    return Planner(pipeline, options, tell).planned(order, tells_keys=tells_keys)


def _looked_at(worker: Pipeline, options: PlanOptions, order: Plan, tell: Tell, *, tells_keys: bool = False) -> bytes:
    return _encode(look_at(worker, options, order, tell, tells_keys=tells_keys))


def _failed(order: Plan, error: ConfigError) -> bytes:
    # What hangs or takes its process with it may not do so again.
    kind = Kind.CRASH if isinstance(error, ProbeError) else Kind.CONFIG
    told = tuple(problem.message for problem in error.problems)
    return _encode(Planned(order.attempt, problems=told, failure_kind=kind))


def consult(
    worker: Pipeline,
    options: PlanOptions,
    name: str,
    config: Mapping[str, str],
    act: Callable[[ConnectorLines, Tell], bytes],
) -> bytes:
    """What `act` makes of one connector, in a probe child as `plan_one`. Raises ConfigError."""
    pipeline = _about(worker, name, config, "STOPPED")

    def question(tell: Tell) -> bytes:
        return Planner(pipeline, options, tell).consulted(act)

    return ask_probe(pipeline, options, question)


def _about(worker: Pipeline, name: str, config: Mapping[str, str], state: str) -> Pipeline:
    """A pipeline of this one connector. name: empty: it is validated without one."""
    named = {"name": name} if name else {}
    return replace(worker, connectors=(ConnectorFile(name, {**config, **named}, "", state),))
