"""What the worker's keys say of probes, read before anything is checked: what is no number is refused in the probe.

Used by: engine.plan, engine.answering.
Not here: what a probe is (engine.plugins.probe), what is asked in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.api.errors import ConfigError
from engine.config.files import Pipeline
from engine.connector_lines import PlanOptions
from engine.plugins.probe import DEADLINE_KEY, MEMORY_BYTES_MAX, MEMORY_KEY, Question, in_probe, in_probes

__all__ = ["ask_probe", "ask_probes", "plugin_path", "probe_seconds"]

PROBE_SECONDS = 30.0


def ask_probe(worker: Pipeline, options: PlanOptions, question: Question) -> bytes:
    """What a question answers in a probe with the worker's limits. Raises as engine.plugins.probe.in_probe."""
    seconds = probe_seconds(worker, options)
    return in_probe(question, timeout_seconds=seconds, memory_bytes=_memory_bytes(worker, options))


def ask_probes(worker: Pipeline, options: PlanOptions, questions: Sequence[Question]) -> Iterator[bytes | ConfigError]:
    """As `ask_probe`, of several questions: see engine.plugins.probe.in_probes."""
    seconds = probe_seconds(worker, options)
    return in_probes(questions, timeout_seconds=seconds, memory_bytes=_memory_bytes(worker, options))


def probe_seconds(worker: Pipeline, options: PlanOptions) -> float:
    """The time budget of a step."""
    text = _text(worker, options, DEADLINE_KEY)
    return max(1, int(text)) / 1000 if text.isdecimal() else PROBE_SECONDS


def plugin_path(worker: Pipeline, options: PlanOptions) -> str:
    """Where plugins are looked for beside Millrace's own place."""
    return _text(worker, options, "plugin.path")


def _memory_bytes(worker: Pipeline, options: PlanOptions) -> int:
    memory = _text(worker, options, MEMORY_KEY)
    return int(memory) if memory.isdecimal() else MEMORY_BYTES_MAX


def _text(worker: Pipeline, options: PlanOptions, key: str) -> str:
    return options.overrides.get(key, worker.worker.get(key, "")).strip()
