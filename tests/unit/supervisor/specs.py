"""A line of no plugin, for tests of the supervisor."""

from __future__ import annotations

from engine.config.line import LineSpec, PluginSpec, Timing

__all__ = ["spec"]

NOTHING = PluginSpec("none:None")


def spec(kind: str, connector: str = "orders") -> LineSpec:
    """One of an imaginary connector."""
    return LineSpec(
        connector=connector,
        task=0,
        type=kind,
        plugin="none",
        task_path="none:None",
        task_config={},
        key_converter=NOTHING,
        value_converter=NOTHING,
        header_converter=NOTHING,
        kafka={},
        ring_bytes=65536,
        timing=Timing(stop_timeout=0.2),
    )
