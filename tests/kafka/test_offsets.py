"""Offsets and used topics of connectors are read and set over REST, and what was set is where they go on.

The worker, its processes and the broker are real.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from tests.harness import topics, wait
from tests.harness.standalone import Kafka, Worker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ALTERED = {"message": "The offsets for this connector have been altered successfully"}
RESET = {"message": "The offsets for this connector have been reset successfully"}
IN_USE = " either because its tasks haven't stopped completely yet or the connector was resumed before the request to "


@pytest.fixture(scope="module")
def worker(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(kafka, tmp_path_factory.mktemp("worker"))
    made.start()
    yield made
    made.end()
    made.close()


class Offsets:
    """Those of one connector."""

    def __init__(self, worker: Worker, name: str) -> None:
        self._client = worker.client
        self._path = f"/connectors/{name}"

    def read(self) -> list[dict[str, Any]]:
        answer = self._client.get(f"{self._path}/offsets")
        assert answer.status_code == 200, answer.text
        listed: list[dict[str, Any]] = answer.json()["offsets"]
        return listed

    def alter(self, *pairs: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]) -> tuple[int, dict[str, Any]]:
        listed = [{"partition": partition, "offset": offset} for partition, offset in pairs]
        answer = self._client.patch(f"{self._path}/offsets", json={"offsets": listed})
        return answer.status_code, answer.json()

    def reset(self) -> tuple[int, dict[str, Any]]:
        answer = self._client.delete(f"{self._path}/offsets")
        return answer.status_code, answer.json()

    def stop(self) -> None:
        assert self._client.put(f"{self._path}/stop").status_code == 204

    def resume(self) -> None:
        assert self._client.put(f"{self._path}/resume").status_code == 202

    def topics(self) -> list[str]:
        (told,) = self._client.get(f"{self._path}/topics").json().values()
        listed: list[str] = told["topics"]
        return listed


def error(answered: tuple[int, dict[str, Any]], status: int) -> str:
    assert (answered[0], answered[1]["error_code"]) == (status, status), answered
    return str(answered[1]["message"])


def place(topic: str, partition: int) -> dict[str, Any]:
    return {"kafka_topic": topic, "kafka_partition": partition}


def test_a_source_goes_on_where_its_offsets_were_set_and_begins_anew_where_they_were_reset(
    kafka: Kafka, topic: str, worker: Worker, tmp_path: Path
) -> None:
    file = tmp_path / "in.txt"
    file.write_text("".join(f"{number}\n" for number in range(10)))
    partition = {"filename": str(file)}
    worker.make("read", {"connector.class": "FileStreamSource", "topic": topic, "file": str(file)})
    read = Offsets(worker, "read")
    stored = [{"partition": partition, "offset": {"position": 20}}]
    wait.until(lambda: read.read() == stored, "the offset of all lines")
    assert read.topics() == [topic]
    assert "STOPPED" in error(read.alter((partition, {"position": 10})), 400)
    read.stop()
    assert "non-negative" in error(read.alter((partition, {"position": -1})), 500)
    assert read.read() == stored
    assert read.alter((partition, {"position": 10}), ({"filename": "other"}, {"position": 3})) == (200, ALTERED)
    assert {"partition": partition, "offset": {"position": 10}} in read.read()
    assert read.alter(({"filename": "other"}, None)) == (200, ALTERED)
    assert worker.client.put("/connectors/read/topics/reset").status_code == 202
    assert read.topics() == []
    read.resume()
    wait.until(lambda: read.read() == stored, "the offset of all lines again")
    assert read.topics() == [topic]
    read.stop()
    assert read.reset() == (200, RESET)
    assert read.read() == []
    assert read.reset() == (200, RESET)
    read.resume()
    wait.until(lambda: read.read() == stored, "the offset of all lines once more")
    values = [record.value or b"" for part in topics.consume_all(kafka.bootstrap, topic).values() for record in part]
    assert sorted(values) == sorted(b"%d" % number for number in [*range(10), *range(5, 10), *range(10)])


def test_a_sink_goes_on_where_its_groups_offsets_were_set_and_begins_anew_where_they_were_reset(
    kafka: Kafka, topic: str, worker: Worker, tmp_path: Path
) -> None:
    out, group = tmp_path / "out.txt", f"group-{topic}"
    topics.produce(kafka.bootstrap, topic, [f"{n % 2}-{n // 2}" for n in range(12)], partitions=[0, 1] * 6)
    config = {"connector.class": "FileStreamSink", "topics": topic, "file": str(out)}
    worker.make("copy", {**config, "consumer.override.group.id": group})
    copy = Offsets(worker, "copy")

    def committed() -> list[tuple[int, int]]:
        return [(one["partition"]["kafka_partition"], one["offset"]["kafka_offset"]) for one in copy.read()]

    def await_everything() -> None:
        # Asked beside REST, which makes a process for each answer.
        wait.until(lambda: topics.group_offsets(kafka.bootstrap, group) == offsets, "the offsets of all records")

    everything = [(0, 6), (1, 6), (2, 0), (3, 0)]
    offsets = {(topic, partition): offset for partition, offset in everything}
    wait.until(lambda: out.exists() and len(out.read_text().split()) == 12, "all records")  # the group has begun
    await_everything()
    assert copy.topics() == [topic]
    assert copy.read()[0] == {"partition": place(topic, 0), "offset": {"kafka_offset": 6}}
    copy.stop()
    assert "integers" in error(copy.alter((place(topic, 0), {"kafka_offset": "six"})), 400)
    failed = "Failed to alter consumer group offsets for connector copy"
    assert error(copy.alter((place(f"no-{topic}", 0), {"kafka_offset": 1})), 500) == failed
    below = error(copy.alter((place(topic, 0), {"kafka_offset": -1})), 500)
    assert below == "Failed to modify offsets for sink connector copy"
    assert committed() == everything
    altered = copy.alter((place(topic, 0), {"kafka_offset": "4"}), (place(topic, 1), None))
    assert altered == (200, ALTERED)
    assert committed() == [(0, 4), (2, 0), (3, 0)]
    copy.resume()
    await_everything()
    again = ["0-4", "0-5", *(f"1-{n}" for n in range(6))]
    first = [f"{n % 2}-{n // 2}" for n in range(12)]
    assert sorted(out.read_text().split()) == sorted([*first, *again])
    copy.stop()
    with member(kafka, group, topic):
        assert error(copy.alter((place(topic, 0), {"kafka_offset": 1})), 500).startswith(failed + IN_USE + "alter its")
        words = "Failed to reset consumer group offsets for connector copy"
        assert error(copy.reset(), 500).startswith(words + IN_USE + "reset its")
    assert copy.reset() == (200, RESET)
    assert committed() == []
    copy.resume()
    await_everything()
    assert sorted(out.read_text().split()) == sorted([*first, *again, *first])


class member:  # noqa: N801  reads as a context
    """A member that is left of a group."""

    def __init__(self, kafka: Kafka, group: str, topic: str) -> None:
        self._client = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
        self._client.subscribe([topic])

    def __enter__(self) -> None:
        def is_there() -> bool:
            self._client.poll(0.1)
            return bool(self._client.assignment())

        wait.until(is_there, "an assignment")

    def __exit__(self, *_: object) -> None:
        self._client.close()
