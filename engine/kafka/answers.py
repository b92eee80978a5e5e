"""The answer to a question of an AdminClient, without a trace that would keep the client alive.

A future that raises its own error is held by it: error ──► traceback ──► frame ──► future ──► error, and the frame of
whoever asked holds the client. Such a ring is garbage, which the collector finds in whichever thread allocates next.
If that is a background thread of librdkafka, it destroys the client there: librdkafka aborts the process, or hangs.

Used by: engine.kafka.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException

__all__ = ["answer_of"]


def answer_of(future: Future[Any], seconds: float | None = None) -> Any:
    """The answer. seconds: waited for at most; None: as long as the request itself may take.

    Raises KafkaException with the broker's or librdkafka's error, TimeoutError.
    """
    error = future.exception(seconds)
    if error is not None:
        raise KafkaException(*error.args)
    return future.result()
