"""The worker's keys, declared: Kafka Connect's, with its defaults, and ours.

Used by: engine.config.worker (reads them), engine.config.connector_keys, engine.config.document.
Not here: those of the REST interface (rest_keys.py).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from engine.config.line import Timing
from engine.config.rest_keys import RestKeys

__all__ = [
    "OFFSETS_FILE",
    "RING_BYTES_MIN",
    "WANTED_VERSION",
    "Bytes",
    "MemoryBytes",
    "Milliseconds",
    "Nice",
    "Processes",
    "Stall",
    "WorkerConfig",
]

#: A quarter of a ring is its largest frame; below this a frame would hold a few records only.
RING_BYTES_MIN = 64 * 1024
RING_BYTES_MAX = 2**31
#: A sink's flush before its partitions are given up: this part of consumer's max.poll.interval.ms by default (5 min).
_REVOCATION_SECONDS = 60.0
#: Kafka Connect's pause between calls of a source that raised RetriableError has no key; this is ours.
_RETRY_SECONDS = 3.0

Milliseconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]
SomeMilliseconds = Annotated[int, Meta(ge=1, le=2**31 - 1)]
#: Shorter than this a supervisor that forks many tasks would seem to stand still.
Lease = Annotated[int, Meta(ge=1000, le=2**31 - 1)]
#: Shorter than this a busy machine stalls everybody.
Stall = Annotated[int, Meta(ge=1000, le=2**31 - 1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Processes = Annotated[int, Meta(ge=1, le=2)]
Nice = Annotated[int, Meta(ge=-20, le=19)]
MemoryBytes = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=RING_BYTES_MIN, le=RING_BYTES_MAX)]

OFFSETS_FILE = "offset.storage.file.filename"
#: Of every key `plugin.version`.
WANTED_VERSION = (
    "Of several versions that are installed, the one wanted: `1.2`, a range of Maven's such as `[1.0,2.0)`, or "
    "`latest`. Absent: the newest."
)


class WorkerConfig(RestKeys, frozen=True, kw_only=True):
    """Keys of a standalone worker."""

    ignore_case: ClassVar[frozenset[str]] = RestKeys.ignore_case | {"plugin.discovery"}

    # Kafka Connect's, with effect
    bootstrap_servers: Annotated[
        list[str], Meta(min_length=1, description="Brokers to begin with: HOST:PORT, separated by commas.")
    ] = field(name="bootstrap.servers", default_factory=lambda: ["localhost:9092"])
    key_converter: Annotated[
        str, Meta(min_length=1, description="Converter of keys; its own keys begin with `key.converter.`.")
    ] = field(name="key.converter")
    value_converter: Annotated[
        str, Meta(min_length=1, description="Converter of values; its own keys begin with `value.converter.`.")
    ] = field(name="value.converter")
    header_converter: Annotated[
        str, Meta(min_length=1, description="Converter of headers; its own keys begin with `header.converter.`.")
    ] = field(name="header.converter", default="org.apache.kafka.connect.storage.SimpleHeaderConverter")
    offset_storage_file_filename: Annotated[
        str,
        Meta(
            min_length=1,
            description="Where sources keep their offsets: in a file of this name with `.millrace.db` added, never in "
            "Kafka Connect's own. In a TOML pipeline the default is `offsets` in the folder of the file.",
        ),
    ] = field(name=OFFSETS_FILE)
    offset_flush_interval_ms: Annotated[
        SomeMilliseconds, Meta(description="How often offsets of sources are stored and those of sinks committed.")
    ] = field(name="offset.flush.interval.ms", default=60_000)
    offset_flush_timeout_ms: Annotated[
        SomeMilliseconds, Meta(description="How long one such store or commit may take.")
    ] = field(name="offset.flush.timeout.ms", default=5_000)
    task_shutdown_graceful_timeout_ms: Annotated[
        Milliseconds, Meta(description="How long all tasks together may take to stop before they are ended.")
    ] = field(name="task.shutdown.graceful.timeout.ms", default=5_000)
    config_providers: Annotated[
        list[str], Meta(description="Names of config providers, for `${name:path:key}` in values.")
    ] = field(name="config.providers", default_factory=list)
    plugin_path: Annotated[
        list[str] | None,
        Meta(
            description="Where plugins are beside Millrace's own place: virtual environments, folders of Python "
            "packages, and folders of those, separated by commas. Each is an environment of its own."
        ),
    ] = field(name="plugin.path", default=None)
    key_converter_version: Annotated[str | None, Meta(description=WANTED_VERSION)] = field(
        name="key.converter.plugin.version", default=None
    )
    value_converter_version: Annotated[str | None, Meta(description=WANTED_VERSION)] = field(
        name="value.converter.plugin.version", default=None
    )
    header_converter_version: Annotated[str | None, Meta(description=WANTED_VERSION)] = field(
        name="header.converter.plugin.version", default=None
    )
    override_policy: Annotated[
        str,
        Meta(
            min_length=1,
            description="Which client settings a connector may override: All, None, or Principal "
            "(security.protocol, sasl.jaas.config, sasl.mechanism).",
        ),
    ] = field(name="connector.client.config.override.policy", default="All")
    topic_creation_enable: Annotated[
        bool, Meta(description="Whether `topic.creation.*` of source connectors counts. Not built yet: see there.")
    ] = field(name="topic.creation.enable", default=True)
    topic_tracking_enable: Annotated[
        bool, Meta(description="Whether it is noted which topics a connector uses (`/connectors/NAME/topics`).")
    ] = field(name="topic.tracking.enable", default=True)
    topic_tracking_allow_reset: Annotated[
        bool, Meta(description="Whether that may be forgotten on request (`/connectors/NAME/topics/reset`).")
    ] = field(name="topic.tracking.allow.reset", default=True)

    # Ours
    connectors_keep: Annotated[
        bool,
        Meta(
            description="Ours. Whether connectors that were made over REST, and their target states, come back when a "
            "standalone worker is started again. Kafka Connect's do not."
        ),
    ] = field(name="standalone.connectors.keep", default=True)
    tasks_max: Annotated[int, Meta(ge=1, le=10_000, description="Ours. The most tasks of all connectors together.")] = (
        field(name="worker.tasks.max", default=256)
    )
    task_processes: Annotated[
        Processes,
        Meta(
            description="Ours. Processes of a task: 2, or 1 for small tasks, which share one with Kafka's client. With "
            "1 a sink's `put` must take less than its consumer's max.poll.interval.ms."
        ),
    ] = field(name="task.processes", default=2)
    task_memory_max: Annotated[
        MemoryBytes | None,
        Meta(
            description="Ours. The most bytes that the process of a task's plugins may have for itself; beyond it the "
            "kernel ends it, where the worker may make cgroups, and elsewhere they get MemoryError. With "
            "task.processes=1 Kafka's client counts as well. Absent: no limit."
        ),
    ] = field(name="task.memory.max", default=None)
    task_nice: Annotated[
        Nice, Meta(description="Ours. How readily a task's processes give way to others: 19 most; below 0 for root.")
    ] = field(name="task.nice", default=0)
    task_cpu_affinity: Annotated[
        str, Meta(description="Ours. CPUs that a task's processes run on, e.g. `0,2-3`. Empty: any.")
    ] = field(name="task.cpu.affinity", default="")
    ledger_enable: Annotated[
        bool,
        Meta(
            description="Ours. Whether every record is accounted for at each border of its line, and what does not add "
            "up fails the task: docs/reliability.md."
        ),
    ] = field(name="ledger.enable", default=True)
    ring_bytes: Annotated[
        Bytes,
        Meta(
            description="Ours. Memory between a task's two processes, rounded up to a multiple of 8; more where a "
            "source's max.request.size or a sink's max.partition.fetch.bytes needs it: a record takes a quarter of it "
            "at most."
        ),
    ] = field(name="ring.bytes", default=8 * 1024 * 1024)
    memory_max: Annotated[
        MemoryBytes | None,
        Meta(
            description="Ours. The most bytes that the worker may come to hold, all its processes together; rings and "
            "client queues that are not set are made small enough. Absent: no bound.",
        ),
    ] = field(name="worker.memory.max", default=None)
    metrics_port: Annotated[
        Port | None,
        Meta(description="Ours. Port that serves Prometheus' `/metrics`; 0: any that is free. Absent: none."),
    ] = field(name="metrics.port", default=None)
    metrics_file: Annotated[
        str | None, Meta(description="Ours. File that is left with the last values of all metrics. Absent: none.")
    ] = field(name="metrics.file", default=None)
    startup_timeout_ms: Annotated[
        SomeMilliseconds, Meta(description="Ours. How long brokers, topics and offsets are looked for at the start.")
    ] = field(name="startup.timeout.ms", default=15_000)
    probe_timeout_ms: Annotated[
        SomeMilliseconds, Meta(description="Ours. How long a connector may take to say what its tasks are.")
    ] = field(name="probe.timeout.ms", default=30_000)
    probe_memory_max: Annotated[
        int,
        Meta(
            ge=64 * 1024**2,
            description="Ours. How many bytes a process may take in which plugins are asked what their tasks are, or "
            "what is wrong with a configuration.",
        ),
    ] = field(name="probe.memory.max", default=2 * 1024**3)
    task_lease_ms: Annotated[
        Lease,
        Meta(
            description="Ours. A task whose processes have stood still for longer (stopped by a signal, frozen with "
            "their container) does nothing more and is started again; a sink after its consumer's session.timeout.ms "
            "less heartbeat.interval.ms and half a second, where that is shorter, but a second at least."
        ),
    ] = field(name="task.lease.ms", default=45_000)
    stall_timeout_ms: Annotated[
        Stall,
        Meta(
            description="Ours. A task that has work and does not go on for so long is shown as stalled: a call of the "
            "connector, a converter or a transform has not returned, or records wait and none goes on. A source's "
            "`poll` has as much longer as its class declares."
        ),
    ] = field(name="task.stall.timeout.ms", default=4_000)
    stall_kill_ms: Annotated[
        Milliseconds,
        Meta(
            description="Ours. A task that is stalled for so long is killed and started again, as after any other "
            "failure; 0: never. A call that may take longer needs more."
        ),
    ] = field(name="task.stall.kill.ms", default=600_000)
    stall_reports_failed: Annotated[
        bool,
        Meta(
            description="Ours. Whether a stalled task reads FAILED in the REST status, for tools that know Kafka "
            "Connect's states only; else it reads what it would without."
        ),
    ] = field(name="task.stall.reports.failed", default=False)
    restart_policy: Annotated[
        Literal["auto", "none"],
        Meta(
            description="Ours. What becomes of a task or connector that has failed: `auto` looks at the cause "
            "(docs/operations.md); `none`, as in Kafka Connect, leaves it failed until somebody restarts it."
        ),
    ] = field(name="restart.policy", default="auto")
    restart_max: Annotated[
        Milliseconds,
        Meta(
            description="Ours. Restarts of a task that makes no progress in between before its circuit opens; those "
            "for what is away or refused outside do not count."
        ),
    ] = field(name="restart.max", default=5)
    restart_max_window_ms: Annotated[
        Milliseconds,
        Meta(description="Ours. Restarts that are longer ago do not count for restart.max; 0: all count."),
    ] = field(name="restart.max.window.ms", default=600_000)
    restart_circuit_ms: Annotated[
        Milliseconds,
        Meta(
            description="Ours. A task whose circuit is open is FAILED, and started by way of trial after so long, half "
            "of it at random; 0: never by itself, as always in a run that ends."
        ),
    ] = field(name="restart.circuit.ms", default=300_000)
    restart_backoff_ms: Annotated[
        Milliseconds,
        Meta(
            description="Ours. Pause before the first restart, half of it at random; it doubles with each that follows."
        ),
    ] = field(name="restart.backoff.ms", default=200)
    restart_backoff_max_ms: Annotated[Milliseconds, Meta(description="Ours. The longest pause before a restart.")] = (
        field(name="restart.backoff.max.ms", default=10_000)
    )
    restart_backoff_refused_ms: Annotated[
        Milliseconds,
        Meta(
            description="Ours. Pause, half of it at random, before a task starts again whose credentials were refused; "
            "it ends at once when a file changes that secrets come from. 0: never by itself, as in a run that ends."
        ),
    ] = field(name="restart.backoff.refused.ms", default=300_000)

    lost_range_policy: Annotated[
        Literal["stop", "continue"],
        Meta(
            description="Ours. What a sink does about records that are gone before it has read them, and about a "
            "committed offset that its group has lost: stop with their range as the reason, or go on behind it. "
            "Both name the range in the log and the report."
        ),
    ] = field(name="lost.range.policy", default="stop")

    # Kafka Connect's, read and checked, without effect yet
    plugin_discovery: Literal["only_scan", "hybrid_warn", "hybrid_fail", "service_load"] = field(
        name="plugin.discovery", default="hybrid_warn"
    )
    metrics_sample_window_ms: Milliseconds = field(name="metrics.sample.window.ms", default=30_000)
    metrics_num_samples: Annotated[int, Meta(ge=1)] = field(name="metrics.num.samples", default=2)
    metrics_recording_level: Literal["INFO", "DEBUG"] = field(name="metrics.recording.level", default="INFO")
    metric_reporters: list[str] = field(
        name="metric.reporters", default_factory=lambda: ["org.apache.kafka.common.metrics.JmxReporter"]
    )
    client_dns_lookup: Literal["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"] = field(
        name="client.dns.lookup", default="use_all_dns_ips"
    )

    @property
    def has_metrics(self) -> bool:
        """Whether a process for metrics is wanted."""
        return self.metrics_port is not None or self.metrics_file is not None

    @property
    def timing(self) -> Timing:
        """Intervals and budgets of every line of this worker."""
        return Timing(
            commit_interval=self.offset_flush_interval_ms / 1000,
            commit_timeout=self.offset_flush_timeout_ms / 1000,
            revocation_timeout=_REVOCATION_SECONDS,
            broker_timeout=self.startup_timeout_ms / 1000,
            stop_timeout=self.task_shutdown_graceful_timeout_ms / 1000,
            retry_backoff=_RETRY_SECONDS,
            lease=self.task_lease_ms / 1000,
        )
