"""Records handed to librdkafka as one array of its own structs: nothing is made of each in Python.

    values, keys ──► addresses and lengths, a column each ──► rd_kafka_message_t[n] ──► rd_kafka_produce_batch

`produce_batch` of the Python client wants a dict for each record and looks up seven names in it, which costs 1.0 to
1.5 us a record where this costs 0.5. What it does for an answer is left to it: records that want one go its way.

Used by: engine.kafka.producer.
Not here: when records go without an answer of their own (engine.pump.delivery).
Source: librdkafka's rdkafka.h, rd_kafka_produce_batch; CPython's layout of bytes, which is looked at before it is used.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Producer, libversion

from engine.api.errors import ConnectError
from engine.kafka.librdkafka_call import Library
from engine.shm.frame import Payloads

__all__ = ["Direct"]

logger = logging.getLogger("millrace.kafka")

#: A rd_kafka_message_t in words of 8 bytes, and the ones of them that are written or read; the rest is 0.
WORDS = 9
ERROR, PARTITION, PAYLOAD, LENGTH, KEY, KEY_LENGTH = 0, 2, 3, 4, 5, 6
#: RD_KAFKA_MSG_F_COPY and RD_KAFKA_MSG_F_PARTITION: each record has its own.
COPY, OF_EACH = 0x2, 0x8
#: RD_KAFKA_PARTITION_UA.
ANY = -1
#: RD_KAFKA_RESP_ERR_UNKNOWN.
UNKNOWN = -1
#: From an object's address to the first byte of a bytes object, and to what the client keeps first.
BYTES_AT = bytes.__basicsize__ - 1
CLIENT_AT = object.__basicsize__
PROBE = b"where the first byte lies"
#: So much of what the client points to must be mapped before any of it is read.
CLIENT_BYTES = 16 * 1024


class Direct:
    """One producer of the Python client, at whose librdkafka it sends; it must outlive this."""

    def __init__(self, library: Any, client: int) -> None:
        self._client = client
        self._make_topic = _call(library.rd_kafka_topic_new, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        self._make_topic.restype = ctypes.c_void_p
        self._forget_topic = _call(library.rd_kafka_topic_destroy, ctypes.c_void_p)
        self._send = _call(
            library.rd_kafka_produce_batch,
            *(ctypes.c_void_p, ctypes.c_int32, ctypes.c_int, ctypes.c_void_p, ctypes.c_int),
        )
        self._last_error = library.rd_kafka_last_error

    @classmethod
    def of(cls, producer: object) -> Direct | None:
        """The way to a producer of confluent_kafka's; None: it is not built as it is known to be."""
        try:
            found = cls._found(producer)
        except (ConnectError, OSError, AttributeError, ValueError) as error:
            # As where the library's file was replaced under a running worker.
            logger.info("librdkafka cannot be called: %s", error)
            found = None
        if found is None:
            logger.info("records go to the producer one dict each, which takes longer")
        return found

    @classmethod
    def _found(cls, producer: object) -> Direct | None:
        is_known = sys.implementation.name == "cpython" and sys.byteorder == "little" and sys.maxsize == (1 << 63) - 1
        if not is_known or not isinstance(producer, Producer) or type(producer).__basicsize__ < CLIENT_AT + 8:
            return None
        if ctypes.string_at(id(PROBE) + BYTES_AT, len(PROBE)) != PROBE:
            return None
        library = Library().loaded
        client = ctypes.c_uint64.from_address(id(producer) + CLIENT_AT).value
        if library.rd_kafka_version() != libversion()[1] or not _is_mapped(client, CLIENT_BYTES):
            return None
        opaque = _call(library.rd_kafka_opaque, ctypes.c_void_p)
        opaque.restype = ctypes.c_void_p
        # The client has given librdkafka its own address: so this is the librdkafka of that client.
        return cls(library, client) if opaque(client) == id(producer) else None

    def send(self, topic: str, values: Payloads, keys: Payloads | None, partitions: int | Sequence[int]) -> int:
        """Queue records; librdkafka copies them. Returns 0, or its code of the first that it did not take.

        values, keys: bytes, none of them empty. partitions: of all of them, or of each. Where each has its own,
        librdkafka does not give back the memory of a record whose partition the topic does not have.
        """
        count = len(values)
        records = array("Q", bytes(8 * WORDS * count))
        records[PAYLOAD::WORDS] = _addresses(values)
        records[LENGTH::WORDS] = _lengths(values)
        if keys is not None:
            records[KEY::WORDS] = _addresses(keys)
            records[KEY_LENGTH::WORDS] = _lengths(keys)
        one, flags = ANY, COPY | OF_EACH
        if isinstance(partitions, int):
            one, flags = partitions, COPY
        else:
            records[PARTITION::WORDS] = array("Q", partitions)
        at = self._make_topic(self._client, topic.encode(), None)
        if not at:
            return int(self._last_error()) or UNKNOWN
        try:
            taken = self._send(at, one, flags, records.buffer_info()[0], count)
        finally:
            self._forget_topic(at)
        codes = (ctypes.c_int32(word & 0xFFFFFFFF).value for word in records[ERROR::WORDS])
        return 0 if taken == count else next((code for code in codes if code), UNKNOWN)


def _call(function: Any, *arguments: Any) -> Any:
    function.argtypes = arguments
    return function


def _addresses(column: Payloads) -> array[int]:
    return array("Q", [address + BYTES_AT for address in map(id, column)])


def _lengths(column: Payloads) -> array[int]:
    return array("Q", [*map(len, column)])  # type: ignore[arg-type]  # none is None


def _is_mapped(address: int, size: int) -> bool:
    """Whether so many bytes from there are this process's own to read and write."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights = line.split(maxsplit=2)[:2]
        begin, end = (int(text, 16) for text in where.split("-"))
        if begin <= address and address + size <= end:
            return rights.startswith("rw")
    return False
