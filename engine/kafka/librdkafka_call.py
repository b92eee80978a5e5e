"""librdkafka, called by its own names where confluent_kafka passes a call not on: to forget offsets of partitions.

The library is the one that confluent_kafka has loaded, found among the process's mappings. Deleting the group and
setting all other offsets again would do the same with the Python client alone, and lose them when it is interrupted.

Used by: group_offsets.py; direct.py and tests.harness.mock_cluster (the library alone).
Source: librdkafka's rdkafka.h, DeleteConsumerGroupOffsets.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError

from engine.api.errors import ConnectError

__all__ = ["Library", "delete_offsets"]

PRODUCER = 0  # a client of either kind takes admin requests
DELETE_OFFSETS = 8  # RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS
TEXT_BYTES = 512
#: The answer may come so much later than the end of its time.
LATE_MS = 1000


class _Partition(ctypes.Structure):
    """rd_kafka_topic_partition_t."""

    _fields_ = (
        ("topic", ctypes.c_char_p),
        ("partition", ctypes.c_int32),
        ("offset", ctypes.c_int64),
        ("metadata", ctypes.c_void_p),
        ("metadata_size", ctypes.c_size_t),
        ("opaque", ctypes.c_void_p),
        ("err", ctypes.c_int),
        ("private", ctypes.c_void_p),
    )


class _Partitions(ctypes.Structure):
    """rd_kafka_topic_partition_list_t."""

    _fields_ = (("cnt", ctypes.c_int), ("size", ctypes.c_int), ("elems", ctypes.POINTER(_Partition)))


def delete_offsets(
    settings: Mapping[str, Any], group: str, places: Collection[tuple[str, int]], seconds: float
) -> KafkaError | None:
    """Forget the group's offsets of these partitions; returns the first error of the answer, if there is one.

    Raises ConnectError when it cannot be asked.
    """
    library = Library()
    with ExitStack() as stack:
        client = library.client(settings)
        stack.callback(library.rd_kafka_destroy, client)
        wanted = library.pointer("rd_kafka_topic_partition_list_new", len(places))
        stack.callback(library.rd_kafka_topic_partition_list_destroy, wanted)
        for topic, partition in places:
            library.pointer("rd_kafka_topic_partition_list_add", wanted, topic.encode(), partition)
        request = library.pointer("rd_kafka_DeleteConsumerGroupOffsets_new", group.encode(), wanted)
        stack.callback(library.rd_kafka_DeleteConsumerGroupOffsets_destroy, request)
        options = library.pointer("rd_kafka_AdminOptions_new", client, DELETE_OFFSETS)
        stack.callback(library.rd_kafka_AdminOptions_destroy, options)
        text = ctypes.create_string_buffer(TEXT_BYTES)
        milliseconds = int(seconds * 1000)
        library.rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, text, ctypes.c_size_t(TEXT_BYTES))
        queue = library.pointer("rd_kafka_queue_new", client)
        stack.callback(library.rd_kafka_queue_destroy, queue)
        requests = (ctypes.c_void_p * 1)(request)
        library.rd_kafka_DeleteConsumerGroupOffsets(client, requests, ctypes.c_size_t(1), options, queue)
        event = library.pointer("rd_kafka_queue_poll", queue, milliseconds + LATE_MS)
        stack.callback(library.rd_kafka_event_destroy, event)
        return library.error_of(event)


class Library:
    """librdkafka, called by its own names."""

    def __init__(self) -> None:
        mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
        for path in sorted(path for path in mapped if "librdkafka" in path or "cimpl" in path):
            self._library = ctypes.CDLL(path)
            if hasattr(self._library, "rd_kafka_DeleteConsumerGroupOffsets"):
                return
        raise ConnectError(
            "this build of confluent_kafka does not let librdkafka be called: offsets of single partitions cannot be "
            "forgotten; reset all of the connector's, or set them to where it should begin"
        )

    @property
    def loaded(self) -> Any:
        """The library as ctypes has it."""
        return self._library

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name)
        function.restype = None
        return function

    def pointer(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """What a call returns that makes or finds something. Raises ConnectError when it is nothing."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_void_p
        found = function(*arguments)
        if not found:
            raise ConnectError(f"librdkafka has no answer: {name}")
        return ctypes.c_void_p(found)

    def client(self, settings: Mapping[str, Any]) -> ctypes.c_void_p:
        """A client with these settings. Raises ConnectError."""
        text = ctypes.create_string_buffer(TEXT_BYTES)
        size = ctypes.c_size_t(TEXT_BYTES)
        drawn = self.pointer("rd_kafka_conf_new")
        for key, value in settings.items():
            written = str(value).lower() if isinstance(value, bool) else str(value)
            if self._library.rd_kafka_conf_set(drawn, key.encode(), written.encode(), text, size):
                raise ConnectError(f"the client's settings are wrong: {text.value.decode(errors='replace')}")
        self._library.rd_kafka_new.restype = ctypes.c_void_p
        made = self._library.rd_kafka_new(PRODUCER, drawn, text, size)
        if not made:
            raise ConnectError(f"the client's settings are wrong: {text.value.decode(errors='replace')}")
        return ctypes.c_void_p(made)

    def error_of(self, event: ctypes.c_void_p) -> KafkaError | None:
        """The first error in the answer to a request: of all of it, of the group, of a partition."""
        code = self._library.rd_kafka_event_error(event)
        if code:
            return KafkaError(code)
        count = ctypes.c_size_t()
        result = self.pointer("rd_kafka_event_DeleteConsumerGroupOffsets_result", event)
        groups = self.pointer("rd_kafka_DeleteConsumerGroupOffsets_result_groups", result, ctypes.byref(count))
        (group,) = ctypes.cast(groups, ctypes.POINTER(ctypes.c_void_p))[: count.value]
        self._library.rd_kafka_group_result_error.restype = ctypes.c_void_p
        error = self._library.rd_kafka_group_result_error(ctypes.c_void_p(group))
        if error:
            return KafkaError(self._library.rd_kafka_error_code(ctypes.c_void_p(error)))
        partitions = self.pointer("rd_kafka_group_result_partitions", ctypes.c_void_p(group))
        listed = ctypes.cast(partitions, ctypes.POINTER(_Partitions)).contents
        codes = (listed.elems[index].err for index in range(listed.cnt))
        return next((KafkaError(code) for code in codes if code), None)
