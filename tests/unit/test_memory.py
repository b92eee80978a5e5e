"""A line's bound is the sum of its places; rings are as large as `worker.memory.max` lets them be, and no larger."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine import memory
from engine.config.clients import consumer_settings, producer_settings
from engine.config.line import LineSpec
from engine.config.worker import WorkerConfig
from engine.connector_lines import ring_bytes_for
from engine.ledger.entries import PAGE_BYTES
from engine.shm.channel import Channel
from tests.harness.banks import line_spec

MIB = 1024 * 1024
WORKER = WorkerConfig(key_converter="x", value_converter="x", offset_storage_file_filename="offsets")


def source(record_bytes: int = MIB, ring: int | None = None, **override: str) -> LineSpec:
    """A source's line as it is planned without a bound."""
    properties = {f"producer.override.{name.replace('_', '.')}": value for name, value in override.items()}
    properties["producer.override.max.request.size"] = str(record_bytes)
    client = producer_settings({}, properties, worker_config=WORKER, name="numbers", task=0)
    return line("source", client.settings, client.given, record_bytes, ring)


def sink(record_bytes: int = MIB, ring: int | None = None, **override: str) -> LineSpec:
    """A sink's."""
    properties = {f"consumer.override.{name.replace('_', '.')}": value for name, value in override.items()}
    properties["consumer.override.max.partition.fetch.bytes"] = str(record_bytes)
    client = consumer_settings({}, properties, worker_config=WORKER, name="copy", task=0, worker_id="w")
    return line("sink", client.settings, client.given, record_bytes, ring)


def line(type: str, settings: Any, names: tuple[str, ...], record_bytes: int, ring: int | None) -> LineSpec:
    return line_spec(
        type,
        kafka=settings,
        given=names if ring is None else (*names, "ring.bytes"),
        ring_bytes=ring_bytes_for(ring or 8 * MIB, record_bytes),
        record_bytes_max=record_bytes,
    )


lines = st.lists(
    st.builds(
        lambda make, size, ring: make(size, ring),
        st.sampled_from([source, sink]),
        st.integers(1000, 16 * MIB),
        st.none() | st.integers(64 * 1024, 64 * MIB),
    ),
    max_size=5,
)


@given(lines, st.integers(1, 4096 * MIB), st.booleans())
def test_what_is_fitted_is_within_the_bound_or_the_least_that_would_be_is_told(
    specs: list[LineSpec], memory_max: int, has_metrics: bool
) -> None:
    made, problem = memory.fitted(specs, memory_max, has_metrics=has_metrics)
    if problem is None:
        assert memory.total_bytes(made, has_metrics=has_metrics) <= memory_max
        for before, after in zip(specs, made, strict=True):
            assert ring_bytes_for(0, after.record_bytes_max) <= after.ring_bytes <= before.ring_bytes
            assert all(after.kafka[name] == before.kafka[name] for name in before.given if name != "ring.bytes")
            assert "ring.bytes" not in before.given or after.ring_bytes == before.ring_bytes
        return
    assert made == specs
    least = int(problem.message.split("expected at least ")[1].split(":")[0])
    assert least > memory_max
    assert memory.fitted(specs, least, has_metrics=has_metrics)[1] is None


def test_a_larger_bound_gives_no_smaller_ring_and_a_large_one_leaves_rings_as_they_are() -> None:
    specs = [source(100_000), sink(100_000)]
    rings = [memory.fitted(specs, size * MIB, has_metrics=False)[0][0].ring_bytes for size in (180, 190, 200, 400)]
    assert rings == sorted(set(rings))
    assert rings[-1] == specs[0].ring_bytes


@pytest.mark.parametrize(
    ("spec", "more"),
    [
        (sink(), sink(queued_max_messages_kbytes="65536")),
        (sink(), sink(fetch_max_bytes="33554432")),
        (sink(), sink(queued_min_messages="1000000")),
        (sink(), sink(message_max_bytes="64000000")),
        (sink(), sink(4 * MIB)),
        (source(), source(8 * MIB)),
        (source(), source(ring=32 * MIB)),
        (sink(), sink(ring=32 * MIB)),
    ],
)
def test_what_a_user_sets_larger_counts(spec: LineSpec, more: LineSpec) -> None:
    assert memory.line_bound(more).total > memory.line_bound(spec).total
    bounds = [memory.fitted([line], 8192 * MIB, has_metrics=False)[0][0] for line in (spec, more)]
    assert memory.line_bound(bounds[0]).total < memory.line_bound(bounds[1]).total


def test_a_smaller_queue_of_the_producer_makes_the_bound_smaller() -> None:
    assert memory.line_bound(source(buffer_memory=str(5 * MIB))).total < memory.line_bound(source()).total


def test_people_are_shown_the_sum_and_each_line() -> None:
    text = memory.as_text([source()], None, has_metrics=True)
    assert "worker.memory.max is not set" in text
    assert "numbers/0" in text
    assert "worker.memory.max=5" in memory.as_text([], 5, has_metrics=True)


@pytest.mark.parametrize("make", [source, sink])
def test_stage_processes_count_with_their_rings_and_what_they_have_in_hand(make: Any) -> None:
    alone = make(MIB, 8 * MIB)
    bounds = [memory.line_bound(replace(alone, stage_processes=count)) for count in (0, 1, 2)]
    rings = [bound.ring for bound in bounds]
    assert rings[1] - rings[0] == rings[2] - rings[1] == 8 * MIB + 2 * 4096
    for part in ("processes", "batches"):
        none, one, two = (getattr(bound, part) for bound in bounds)
        assert two - one == one - none > MIB
    assert bounds[2].client == bounds[0].client


def test_rings_are_made_smaller_for_stage_processes() -> None:
    lines = [replace(source(64 * 1024), stage_processes=4)]
    at_most = 300 * MIB
    assert memory.total_bytes(lines, has_metrics=False) > at_most
    fitted, problem = memory.fitted(lines, at_most, has_metrics=False)
    assert problem is None
    assert fitted[0].ring_bytes < lines[0].ring_bytes
    assert memory.total_bytes(fitted, has_metrics=False) <= at_most


def test_the_memory_of_a_line_with_stage_processes_is_what_its_bound_says() -> None:
    channel = Channel.create("line", 8 * MIB, 3)
    try:
        ledger_page = PAGE_BYTES
        size = os.fstat(channel.memory).st_size + ledger_page
        assert size <= memory.line_bound(replace(source(MIB, 8 * MIB), stage_processes=3)).ring
    finally:
        channel.close()
