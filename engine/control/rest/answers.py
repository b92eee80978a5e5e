"""Answers as Kafka Connect writes them: JSON without spaces, and one shape for every error.

Used by: engine.control.rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = [
    "JSON",
    "RestError",
    "answer",
    "body_of",
    "error_answer",
    "nothing",
    "on_client_gone",
    "on_http_error",
    "on_other_error",
    "on_rest_error",
    "told",
]

logger = logging.getLogger("millrace.control.rest")

JSON = "application/json"


class RestError(Exception):
    """Becomes an error's body."""

    def __init__(self, status: int, message: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON."""
    return Response(orjson.dumps(value), status, dict(headers or {}), media_type=JSON)


def told(value: bytes) -> Response:
    """A value that is JSON already."""
    return Response(value, media_type=JSON)


def nothing(status: int) -> Response:
    """An answer without a body."""
    return Response(status_code=status)


def error_answer(status: int, message: str | None, *, has_type: bool = True) -> Response:
    """The one shape. has_type: a path, method or media type that is not served has no Content-Type (reference, R11)."""
    body = orjson.dumps({"error_code": status, "message": message})
    return Response(body, status, media_type=JSON if has_type else None)


async def on_rest_error(_: Request, error: Exception) -> Response:
    """Answer what a handler raised on purpose."""
    assert isinstance(error, RestError)
    return error_answer(error.status, error.message)


async def on_http_error(_: Request, error: Exception) -> Response:
    """Answer what routing found: no such path, or not by this method."""
    assert isinstance(error, HTTPException)
    return error_answer(error.status_code, f"HTTP {error.status_code} {error.detail}", has_type=False)


async def on_client_gone(_: Request, __: Exception) -> Response:
    """Answer nobody: the client has closed its connection, or was too slow, before its body was there."""
    return Response(status_code=400)


async def on_other_error(_: Request, error: Exception) -> Response:
    """Answer a mistake of ours, and say where it is in the log."""
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    return error_answer(500, f"{type(error).__name__}: {error}")


async def body_of(request: Request) -> Any:
    """The body as JSON.

    Raises RestError: 413 for one too large, 415 for one without a type, 500, as Kafka Connect, for no JSON.
    """
    limit: int = request.app.state.body_bytes_max
    size = 0
    chunks = []
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise RestError(413, f"a body of more than {limit} bytes (rest.body.bytes.max) is not taken")
        chunks.append(chunk)
    body = b"".join(chunks)
    if not body.strip():
        raise RestError(500, "No content to map due to end-of-input: a JSON body is expected")
    if "content-type" not in request.headers:
        raise RestError(415, "HTTP 415 Unsupported Media Type")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RestError(500, f"Unexpected content in the body, no JSON: {error}") from error
