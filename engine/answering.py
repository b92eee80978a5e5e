"""Answers to what control asks: the one table from kinds of questions to the functions that answer them.

    Ask ──► answer ──► plan_one, validate ... ──► bytes of an Answered
    Asks ──► answers                              of each, where all are plans: they share a probe

Each runs in a child of the supervisor's, which is ended when it takes too long. What runs plugin code asks it in a
probe (engine.plugins.probe) from here, so that a plugin that hangs, exits or eats memory costs a step with a name.

Used by: engine.boot.
Not here: which child when (engine.supervisor.orders), what the questions are (engine.herder.questions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from engine.altering import alter, read_offsets
from engine.api.config import Config, keys_of
from engine.api.errors import ConfigError, ConnectError, NotFoundError
from engine.config.definitions import ConfigInfos, Definition
from engine.config.files import Pipeline
from engine.config.line import LineSpec
from engine.config_infos import plugin_definitions, with_nulls
from engine.connector_lines import PlanOptions
from engine.herder.model import Alter, Plan, Planned, Refusal
from engine.herder.questions import Answered, Ask, NoAnswerError, PluginConfig, ReadOffsets, Validate
from engine.looking import plan_each, plan_one
from engine.plugins.apart import Apart, Named, environments_of
from engine.plugins.catalog import Catalog, Found, discover
from engine.plugins.environment import OURS
from engine.plugins.loading import load
from engine.plugins.probe import Tell
from engine.plugins.versions import ranges_of
from engine.probing import ask_probe, plugin_path, probe_seconds

__all__ = ["answer", "answers", "warm"]

#: What answers a question, given the worker's files and what the command says beside them: see `answer`.
Answer = Callable[[Pipeline, PlanOptions, Any], bytes]

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_decode_planned = msgspec.msgpack.Decoder(Planned).decode
_decode_infos = msgspec.json.Decoder(ConfigInfos).decode
_decode_told = msgspec.msgpack.Decoder(Refusal | list[Definition]).decode
#: Kafka Connect asks in a thread of its own, and tells of its errors as of errors within (reference, R4).
_TYPES = "sink, source, converter, header_converter, transformation, predicate"
_WITHIN = "org.apache.kafka.connect.runtime.rest.errors.BadRequestException: "


def warm(lines: Iterable[LineSpec] | None = None) -> None:
    """Import and make before the forks what children need of the plugins that come with Millrace: they have it then.

    lines: all that there will be; None: any may come, and be asked for over REST.
    Half of the time that a small task takes to start, and a third of its memory. Others' plugins are never imported
    where tasks are forked: they may start threads, and need what an environment has in another version.
    """
    paths = discover().paths() if lines is None else {path for line in lines for path in line.plugin_paths()}
    for path in paths:
        if path.partition(".")[0] in OURS:
            with suppress(NotFoundError):  # told to whoever asks for it
                load(path)
    for config in _derived(Config):  # also those that only tasks read
        if config.__module__.partition(".")[0] in OURS:
            keys_of(config)


def _derived(base: type[Config]) -> Iterator[type[Config]]:
    """All that is derived from it in what is imported."""
    for config in base.__subclasses__():
        yield config
        yield from _derived(config)


def answer(worker: Pipeline, options: PlanOptions, ask: Ask) -> bytes:
    """An Answered in msgpack. A NoAnswerError becomes its status; any other error of ours a 500 with its words."""
    try:
        return _encode(Answered(ask.ticket, _ANSWERS[type(ask.question)](worker, options, ask.question)))
    except NoAnswerError as error:
        return _encode(Answered(ask.ticket, refusal=Refusal(error.status, str(error))))
    except ConnectError as error:
        return _encode(Answered(ask.ticket, refusal=Refusal(500, str(error))))


def answers(worker: Pipeline, options: PlanOptions, asks: Sequence[Ask]) -> Iterator[bytes]:
    """As `answer`, for each of these, in their order: plans, or one question of any kind."""
    plans = [ask.question for ask in asks if isinstance(ask.question, Plan)]
    if len(plans) < max(2, len(asks)):
        yield from (answer(worker, options, ask) for ask in asks)
        return
    for ask, planned in zip(asks, plan_each(worker, options, plans), strict=True):
        yield _encode(Answered(ask.ticket, planned))


def _validate(worker: Pipeline, options: PlanOptions, question: Validate) -> bytes:
    order = Plan(0, question.name, question.config, wants_tasks=False)
    planned = _decode_planned(plan_one(worker, options, order, tells_keys=True))
    if planned.infos:
        return (
            _encode_json(with_nulls(_decode_infos(planned.infos), question.nulls)) if question.nulls else planned.infos
        )
    text = "\n".join(planned.problems)
    raise NoAnswerError(500, text if planned.has_class else _WITHIN + text)


def _plugin_config(worker: Pipeline, options: PlanOptions, question: PluginConfig) -> bytes:
    """Asked in a probe, where its class is imported."""

    def look(tell: Tell) -> bytes:
        tell(f"plugin {question.plugin}: reading its keys")
        catalog = discover(plugin_path(worker, options).split(","))
        kinds = catalog.kinds(question.plugin)
        if not kinds:
            return _encode(Refusal(404, f"Unknown plugin {question.plugin}."))
        if kinds == ["config_provider"]:
            return _encode(Refusal(400, f"Invalid plugin class {question.plugin}. Valid types are {_TYPES}."))
        named = [Named(kind, "", question.plugin, question.version or "") for kind in kinds]
        folders = [one.folder for one in environments_of(catalog, named[:1])]
        if not folders:
            return _told(catalog, named, folders)
        return Apart(tell, probe_seconds(worker, options)).ask(folders, lambda _: _told(catalog, named, folders))

    told = _decode_told(ask_probe(worker, options, look))
    if isinstance(told, Refusal):
        raise NoAnswerError(told.status, told.message)
    return _encode_json(told)


def _told(catalog: Catalog, named: list[Named], folders: list[str]) -> bytes:
    """Its definitions, or why there are none: what REST answers then crosses the probe as a value."""
    plugin = named[0]
    try:
        found = Found(plugin.kind, plugin.name, catalog.find(plugin.kind, plugin.name, ranges_of(plugin.wanted)))
    except (ConfigError, ValueError) as error:
        return _encode(Refusal(400, str(error).partition("\n")[0]))
    return _encode(plugin_definitions(found.made_of, catalog.version(found, folders)))


_ANSWERS: Mapping[type[Any], Answer] = {
    Plan: plan_one,
    Validate: _validate,
    PluginConfig: _plugin_config,
    Alter: alter,
    ReadOffsets: read_offsets,
}
