"""The line with a schema registry: topic -> null, Avro, beside a plain loop over fastavro (loop.py) in one process.

Kafka Connect has no Avro of its own, so it is not a side here. The records are written by fastavro. What the sink drops
nobody can read back: a run counts its records and sums their ids (tally.py), and before all of them one run that is not
measured writes the same topic to a file, whose content is checked as on the other lines.
"""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable

import fastavro
import msgspec
from msgspec import Struct

from bench.line.check import check_file
from bench.line.fill import fill_topic
from bench.line.goals import Goal
from bench.line.records import STRUCT, Form, order_json, sum_of_ids
from bench.line.results import RATE, Result
from bench.line.sides import LOOP, Job, MillraceSide, Side
from bench.line.tally import TallySinkConnector, read_tally
from bench.line.throughput import ASK_S, PARTITIONS, Place, file_size, sink_config
from bench.line.watch import watch
from tests.harness import topics

__all__ = ["LINES", "SCHEMA", "URL_KEY", "RegistryLine", "avro_order", "register"]

URL_KEY = "value.converter.schema.registry.url"
AVRO_CONVERTER = "io.confluent.connect.avro.AvroConverter"
SINK = f"{TallySinkConnector.__module__}:{TallySinkConnector.__name__}"
MEDIA = "application/vnd.schemaregistry.v1+json"
SCHEMA = {
    "type": "record",
    "name": "order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "customer", "type": "string"},
        {"name": "item", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "price", "type": "double"},
        {"name": "express", "type": "boolean"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}


class RegistryLine(Struct, frozen=True):
    """One format."""

    name: str
    title: str
    rate_to_reach: float  # times the loop's

    @property
    def goals(self) -> tuple[Goal, ...]:
        """Of the rate."""
        return (Goal(RATE, self.rate_to_reach, LOOP, is_least=True),)

    def prepare(self, place: Place) -> None:
        """Have the schema registered, the topic filled, and its content seen once in a file."""
        topic = self._topic(place)
        topics.create_topic(place.bootstrap, topic, partitions=PARTITIONS)
        number = register(place.registry().url, f"{topic}-value")
        fill_topic(place.bootstrap, topic, Form(avro_order(number)), place.records, PARTITIONS)
        self._look_at_content(place)

    def run(self, side: Side, place: Place, number: int) -> Result:
        """One run, measured. Raises AssertionError when a record came twice or never."""
        name = f"{self.name}-{side.name}-{number}"
        file = place.folder / f"{name}.tally"
        config = {"connector.class": SINK, "topics": self._topic(place), "file": str(file), **_converter(place)}
        pid = side.begin(Job(name, config, is_bounded=True))
        curve = watch(lambda: read_tally(file)[0], place.records, pid, side.log_tail)
        side.end()
        seen, wanted = read_tally(file), (place.records, sum_of_ids(place.records))
        assert seen == wanted, f"{name}: records and the sum of their ids are {seen}, not {wanted}"
        file.unlink()
        return Result(
            line=self.name,
            side=side.name,
            round=number,
            records=place.records,
            rate_per_s=curve.rate(place.records),
            cpu_us_per_record=curve.cpu_us(place.records),
            peak_pss_mb=curve.pss_bytes_max / 1e6,
        )

    def _topic(self, place: Place) -> str:
        """A topic for each start of the benchmark: the ids in it are those of its registry."""
        return f"{self.name}-{place.folder.name}"

    def _look_at_content(self, place: Place) -> None:
        name = f"{self.name}-content"
        file = place.folder / f"{name}.txt"
        side = MillraceSide(place.bootstrap, place.folder / name)
        try:
            pid = side.begin(Job(name, sink_config(self._topic(place), file, _converter(place)), is_bounded=True))
            watch(lambda: file_size(file), place.records * (STRUCT.bytes_each + 1), pid, side.log_tail)
            side.end()
        finally:
            side.close()
        check_file(file, STRUCT, place.records, PARTITIONS)
        file.unlink()


def avro_order(number: int) -> Callable[[int], bytes]:
    """What writes the n-th order under the schema of this id."""
    parsed = fastavro.parse_schema(SCHEMA)
    header = b"\0" + number.to_bytes(4, "big")

    def write(n: int) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, msgspec.json.decode(order_json(n)))
        return header + out.getvalue()

    return write


def register(url: str, subject: str) -> int:
    """The id of the schema under a subject."""
    body = json.dumps({"schema": json.dumps(SCHEMA)}).encode()
    request = urllib.request.Request(f"{url}/subjects/{subject}/versions", body, {"Content-Type": MEDIA})
    with urllib.request.urlopen(request, timeout=ASK_S) as answer:
        return int(json.load(answer)["id"])


def _converter(place: Place) -> dict[str, str]:
    return {"value.converter": AVRO_CONVERTER, URL_KEY: place.registry().url}


LINES = (RegistryLine("sink-avro", "topic -> null, Avro with registry, 7 fields", 1.0),)
