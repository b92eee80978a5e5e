"""`/connector-plugins`: which plugins there are, what their configuration can hold, and what is wrong with one.

Used by: engine.control.rest.routes.
Not here: asking plugins, which is done in a child of the supervisor's (engine.answering).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.control.rest.answers import RestError, answer, body_of, told
from engine.control.rest.connectors import text_of
from engine.control.rest.worker import worker_of
from engine.herder.questions import PluginConfig, Validate

__all__ = ["ROUTES"]

_CONNECTORS = ("sink", "source")
_CLASS = "connector.class"
_SUFFIX = "Connector"


async def plugins(request: Request) -> Response:
    """Plugins that are installed; with `connectorsOnly=false` not connectors alone."""
    # As Kafka Connect reads it: empty is true, and any other word than true is false.
    only = request.query_params.get("connectorsOnly", "").strip().lower() in ("", "true")
    found = worker_of(request).plugins
    return answer([plugin for plugin in found if not only or plugin["type"] in _CONNECTORS])


async def plugin_config(request: Request) -> Response:
    """What the configuration of a plugin can hold; with `version`, of that version of it."""
    question = PluginConfig(request.path_params["plugin"], request.query_params.get("version"))
    return told(await worker_of(request).ask(question))


async def validate(request: Request) -> Response:
    """What is wrong with a configuration, key by key, without making a connector."""
    body = await body_of(request)
    if not isinstance(body, dict):
        raise RestError(500, "Cannot deserialize the configuration: a JSON object of keys and text is expected")
    config = {key: text_of(value, key) for key, value in body.items() if value is not None}
    included, asked_for = config.get(_CLASS), request.path_params["plugin"]
    if included is not None and not _plain(included).endswith(_plain(asked_for)):
        raise RestError(400, f"Included connector type {included} does not match request type {asked_for}")
    nulls = tuple(key for key, value in body.items() if value is None)
    return told(await worker_of(request).ask(Validate(config.get("name", ""), config, nulls)))


def _plain(name: str) -> str:
    """A name without what many end in. A part of it will do, as in Kafka Connect."""
    return name.removesuffix(_SUFFIX) if len(name) > len(_SUFFIX) else name


ROUTES = (
    Route("/connector-plugins", plugins, methods=["GET"]),
    Route("/connector-plugins/{plugin}/config", plugin_config, methods=["GET"]),
    Route("/connector-plugins/{plugin}/config/validate", validate, methods=["PUT"]),
)
