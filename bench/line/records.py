"""The records of the benchmark: orders, each made from its number alone, and how each form of one reads.

    order_json(0)    {"id":10000000,"customer":"c-00000000",...}              146 bytes, a value in the topic
    envelope(0)      {"schema":{...},"payload":{"id":10000000,...}}           the same with Connect's schema
    order_map(0)     {customer=c-00000000, express=true, id=10000000, ...}    what a file sink prints of a map, sorted
    order_struct(0)  Struct{id=10000000,customer=c-00000000,...}              what it prints of a struct
    chained_map(0), chained_struct(0)                                         both behind the three transforms

Every field has the same width in every record, so a file's size says how many records are in it.
Record number n lies in partition n % partitions.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

__all__ = [
    "CHAINED_MAP",
    "CHAINED_STRUCT",
    "ENVELOPE",
    "FIRST_ID",
    "JSON",
    "MAP",
    "STRUCT",
    "TEXT",
    "Form",
    "full_key",
    "full_timestamp_ms",
    "order_json",
    "sum_of_ids",
]

FIRST_ID = 10_000_000  # ids have 8 digits up to record number 90,000,000
ID_DIGITS = 8
SCATTER = 2_654_435_761  # an odd constant that spreads neighbours (Knuth's multiplicative hash)
NOTE = "leave it at the door and ring twice!"
FIRST_TIMESTAMP_MS = 1_700_000_000_000

SCHEMA = (
    '{"type":"struct","fields":['
    '{"type":"int64","optional":false,"field":"id"},'
    '{"type":"string","optional":false,"field":"customer"},'
    '{"type":"string","optional":false,"field":"item"},'
    '{"type":"int32","optional":false,"field":"quantity"},'
    '{"type":"double","optional":false,"field":"price"},'
    '{"type":"boolean","optional":false,"field":"express"},'
    '{"type":"string","optional":true,"field":"note"}'
    '],"optional":false,"name":"order"}'
)


class Form(Struct, frozen=True):
    """One way an order is written."""

    write: Callable[[int], bytes]  # the bytes of record number n
    canonical: Callable[[bytes], bytes] | None = None  # what makes a line that was found comparable with `write`

    @property
    def bytes_each(self) -> int:
        """Of every record in this form, without an end of line."""
        return len(self.write(0))

    @property
    def id_slice(self) -> slice:
        """Where the digits of the id stand."""
        start = self.write(0).index(str(FIRST_ID).encode())
        return slice(start, start + ID_DIGITS)


def full_key(number: int) -> bytes:
    """The key of a record in the line with keys, timestamps and headers."""
    return b"c-%08d" % _customer(number)


def full_timestamp_ms(number: int) -> int:
    """The timestamp of such a record."""
    return FIRST_TIMESTAMP_MS + number


def order_json(number: int) -> bytes:
    """A JSON object without spaces."""
    return (
        f'{{"id":{FIRST_ID + number},"customer":"c-{_customer(number):08d}","item":"item-{number % 9_973:04d}",'
        f'"quantity":{number % 9 + 1},"price":{_price(number)},"express":true,"note":"{NOTE}"}}'
    ).encode()


def envelope(number: int) -> bytes:
    """The JSON object as payload of Connect's envelope."""
    return b'{"schema":%s,"payload":%s}' % (SCHEMA.encode(), order_json(number))


def order_map(number: int) -> bytes:
    """The fields of a printed map in alphabetical order: a printed map has none of its own."""
    return (
        f"{{customer=c-{_customer(number):08d}, express=true, id={FIRST_ID + number}, item=item-{number % 9_973:04d}, "
        f"note={NOTE}, price={_price(number)}, quantity={number % 9 + 1}}}"
    ).encode()


def order_struct(number: int) -> bytes:
    """A printed struct, fields in the order of the schema."""
    return (
        f"Struct{{id={FIRST_ID + number},customer=c-{_customer(number):08d},item=item-{number % 9_973:04d},"
        f"quantity={number % 9 + 1},price={_price(number)},express=true,note={NOTE}}}"
    ).encode()


def chained_map(number: int) -> bytes:
    """A printed map without its note, the quantity called a count, the customer masked, and a shop put in."""
    return (
        f"{{count={number % 9 + 1}, customer=, express=true, id={FIRST_ID + number}, item=item-{number % 9_973:04d}, "
        f"price={_price(number)}, shop=north}}"
    ).encode()


def chained_struct(number: int) -> bytes:
    """A printed struct after the same."""
    return (
        f"Struct{{id={FIRST_ID + number},customer=,item=item-{number % 9_973:04d},count={number % 9 + 1},"
        f"price={_price(number)},express=true,shop=north}}"
    ).encode()


def sum_of_ids(records: int) -> int:
    """Of the first so many records."""
    return records * FIRST_ID + records * (records - 1) // 2


def sorted_fields(line: bytes) -> bytes:
    """`{b=2, a=1}` as `{a=1, b=2}`."""
    return b"{%s}" % b", ".join(sorted(line[1:-1].split(b", ")))


def _customer(number: int) -> int:
    return number * SCATTER % 100_000_000


def _price(number: int) -> str:
    # Two digits and a quarter: written alike by Java and Python.
    return f"{10 + number % 90}.{('25', '75')[number % 2]}"


TEXT = Form(order_json)
JSON = TEXT
ENVELOPE = Form(envelope)
MAP = Form(order_map, sorted_fields)
STRUCT = Form(order_struct)
CHAINED_MAP = Form(chained_map, sorted_fields)
CHAINED_STRUCT = Form(chained_struct)
