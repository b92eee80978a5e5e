"""What stage processes bring: one task, one partition, without Kafka, so that the cores are the task's alone.

    python -m bench.stages                      all lines, with 0 and 2 stage processes, by turns
    python -m bench.stages --line sink --stages 0 1 2 3 --records 1000000

The task process and the stage processes are those of a run, forked as the supervisor forks them. This process stands
in for the pump: it writes frames of records into a sink's ring, or takes those of a source out of it; that costs
little. The sink fails when a record is not the one after the last, and so does this process for a source, so each run
is a test of the order. The ledger is on.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from msgspec import Raw, Struct, json
from msgspec.structs import replace

from bench.line.records import ENVELOPE, FIRST_ID, JSON, Form, order_json
from bench.line.registry import avro_order, register
from bench.stages.machine import Cores, scaling
from bench.stages.plugins import write_orders
from converters.registry import zigzag
from converters.registry.wire import HEADER_BYTES
from engine import logs
from engine.api.batch import Run
from engine.config.line import LineSpec, PluginSpec, StepSpec, Timing
from engine.ledger import sink, source
from engine.ledger.entries import ledger_bytes
from engine.shm import frame, segment
from engine.shm.acts import stage_name
from engine.shm.board import Board, Identity, Measure, Phase, Row, Stage, StageWord, Target, Word, board_bytes
from engine.shm.channel import Channel, PumpSide
from engine.shm.frame import Assigned, End, PassingSinkFrame, Stored
from engine.stage import main as stage
from engine.supervisor.fork import Child, fork
from engine.task import main as task
from tests.harness.registry import SchemaRegistry

FRAME_RECORDS = 2000
WARM_PART = 10  # the first tenth of the records is not measured
#: The bell is rung for whatever there is to do; this is how soon an end that nobody tells is seen.
LOOK_S = 0.005
#: Nobody rings for the last records that are put.
END_S = 0.001
PLUGINS = "bench.stages.plugins"
JSON_PATH = "converters.json.converter:JsonConverter"
STRING_PATH = "converters.string:StringConverter"
AVRO_PATH = "converters.avro.converter:AvroConverter"
#: Stands for orders under the schema that the registry of a run has numbered.
AVRO = Form(order_json)


class Line(Struct, frozen=True):
    """One line of the table."""

    name: str
    title: str
    type: str
    form: Form  # of what is read
    value_converter: PluginSpec
    transforms: tuple[PluginSpec, ...]
    source: str = "connectors.file.source:FileStreamSourceTask"

    def has_id(self, value: bytes, number: int) -> bool:
        """Whether this is the n-th order, as a source has written it."""
        if self.value_converter.path == AVRO_PATH:
            return value.startswith(zigzag.written(FIRST_ID + number), HEADER_BYTES)
        return b'"id":%d,' % (FIRST_ID + number) in value


PARSE, ENRICH = (PluginSpec(f"{PLUGINS}:{name}") for name in ("ParseOrder", "Enrich"))
THREE = (
    PluginSpec("engine.transforms.insert_field:InsertFieldValue", {"static.field": "shop", "static.value": "north"}),
    PluginSpec("engine.transforms.replace_field:ReplaceFieldValue", {"exclude": "note"}),
    PluginSpec("engine.transforms.mask_field:MaskFieldValue", {"fields": "customer"}),
)
LINES = (
    Line(
        "sink", "JSON with envelope -> a transform of a user's -> sink", "sink", ENVELOPE,
        PluginSpec(JSON_PATH, {"schemas.enable": "true"}), (ENRICH,),
    ),
    Line(
        "source", "file -> two transforms of a user's -> JSON with envelope", "source", JSON,
        PluginSpec(JSON_PATH, {"schemas.enable": "true"}), (PARSE, ENRICH),
    ),
    Line(
        "three", "JSON with envelope -> InsertField, ReplaceField, MaskField -> sink", "sink", ENVELOPE,
        PluginSpec(JSON_PATH, {"schemas.enable": "true"}), THREE,
    ),
    Line(
        "avro", "Avro with registry -> InsertField, ReplaceField, MaskField -> sink", "sink", AVRO,
        PluginSpec(AVRO_PATH), THREE,
    ),
    Line(
        "avro-source", "file of structs -> InsertField, ReplaceField, MaskField -> Avro with registry", "source", JSON,
        PluginSpec(AVRO_PATH), THREE, f"{PLUGINS}:Orders",
    ),
    Line("plain", "JSON schemaless -> sink: where it does not pay", "sink", JSON,
         PluginSpec(JSON_PATH, {"schemas.enable": "false"}), ()),
)  # fmt: skip


class Result(Struct, frozen=True):
    """What one run has shown."""

    rate_per_s: float
    cpu_us: dict[str, float]  # of a record, by process
    cores: Cores  # of the machine, meanwhile
    used_s: float  # of them, by these processes

    def told(self) -> str:
        """All of it, in a line."""
        cpu = ", ".join(f"{name} {us:.2f}" for name, us in self.cpu_us.items())
        others_s = self.cores.all - self.cores.idle - self.cores.stolen - self.used_s
        parts = {"idle": self.cores.idle, "stolen": self.cores.stolen, "others": max(0.0, others_s)}
        cores = ", ".join(f"{name} {seconds / self.cores.all:.0%}" for name, seconds in parts.items())
        return f"{self.rate_per_s:,.0f}/s; us of CPU: {cpu}; cores: {cores}"


class Rig:
    """The processes of one task, and the memory that they share."""

    def __init__(self, line: Line, stages: int, file: Path) -> None:
        self.board_descriptor = segment.create("board", board_bytes(1))
        self.board = Board(self.board_descriptor)
        self.board.begin(1)
        self.ledger = segment.create("ledger", ledger_bytes(1))
        self.row: Row = self.board.row(self.board.add(Identity("bench", 0, line.type, "none")))
        self.spec = spec_of(line, stages, file, self.ledger)
        self.channel = Channel.create("bench", self.spec.ring_bytes, stages)
        self.side = PumpSide(self.channel)
        self.children: dict[str, Child] = {}

    def start(self) -> None:
        """Fork them, as a supervisor does."""
        stages = range(self.spec.stage_processes)
        mains: dict[str, Callable[..., int]] = {"task": task.run}
        mains |= {stage_name(number): partial(stage.run, number=number) for number in stages}
        keep = [self.board_descriptor, self.ledger, *self.channel.descriptors()]
        for name, main in mains.items():
            self.children[name] = self._fork(name, main, keep)
        self.row.set(Word.TASK_PID, self.children["task"].pid)
        self.row.set(Word.PUMP_PID, os.getpid())
        for number in stages:
            self.row.stage_set(number, StageWord.PID, self.children[stage_name(number)].pid)

    def _fork(self, name: str, main: Callable[..., int], keep: list[int]) -> Child:
        def body(say: Callable[[str], None]) -> int:
            return main(self.spec, self.channel, self.board_descriptor, 0, logs.LogSettings(), say)

        return fork(f"bench/0 {name}", body, keep)

    def cpu_s(self) -> dict[str, float]:
        """What each process has used so far."""
        ticks = os.sysconf("SC_CLK_TCK")
        used = {}
        for name, child in self.children.items():
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            used[name] = (int(fields[11]) + int(fields[12])) / ticks
        me = resource.getrusage(resource.RUSAGE_SELF)
        return {**used, "bench": me.ru_utime + me.ru_stime}

    def end(self) -> None:
        """End them all; raises AssertionError with what one has said."""
        for child in self.children.values():
            os.kill(child.pid, signal.SIGTERM)
        said = []
        for name, child in self.children.items():
            _, status = os.waitpid(child.pid, 0)
            words = child.last_words()
            if words or status:
                said.append(f"{name}: {status} {words}")
        self.channel.close()
        for descriptor in (self.board_descriptor, self.ledger):
            os.close(descriptor)
        assert not said, said


def spec_of(line: Line, stages: int, file: Path, ledger: int) -> LineSpec:
    """The specification of the task."""
    is_sink = line.type == "sink"
    return LineSpec(
        connector="bench",
        task=0,
        type=line.type,
        plugin="none",
        task_path=f"{PLUGINS}:InOrder" if is_sink else line.source,
        task_config={} if is_sink else {"file": str(file), "topic": "orders"},
        key_converter=PluginSpec(STRING_PATH),
        value_converter=line.value_converter,
        header_converter=PluginSpec(STRING_PATH),
        transforms=tuple(map(StepSpec, line.transforms)),
        kafka={},
        stage_processes=stages,
        ledger=ledger,
        is_bulk=True,
        timing=Timing(lease=3600),
    )


def run(line: Line, stages: int, records: int, file: Path) -> Result:
    """One run."""
    rig = Rig(line, stages, file)
    rig.start()
    try:
        feed = feed_sink if line.type == "sink" else take_source
        marks: list[tuple[float, dict[str, float], Cores]] = []
        feed(rig, line, records, lambda: marks.append((time.perf_counter(), rig.cpu_s(), Cores.now())))
    finally:
        rig.end()
    (since, cpu_before, cores_before), (ended, cpu, cores) = marks
    measured = records - records // WARM_PART
    used_s = {name: cpu[name] - cpu_before[name] for name in cpu}
    cpu_us = {name: seconds / measured * 1e6 for name, seconds in used_s.items()}
    return Result(measured / (ended - since), cpu_us, cores.since(cores_before), sum(used_s.values()))


def feed_sink(rig: Rig, line: Line, records: int, mark: Callable[[], None]) -> None:
    """Write frames, until all their records are put; mark where what is measured begins, and ends."""
    ring = rig.side.data_writer(is_checked=True)
    account = sink.PumpAccount.of(rig.spec, rig.board, 0)
    assert account is not None
    place = ("orders", 0)
    account.assigned({place: 0})
    write(rig, ring.write, frame.encode(Assigned([("orders", 0, 1, 0)])))
    written = [line.form.write(number) for number in range(FRAME_RECORDS)]
    values, nothing = Raw(frame.encode(written)), Raw(frame.encode(None))
    size = sum(map(len, written))
    is_warm = False
    for first in range(0, records, FRAME_RECORDS):
        if not is_warm and put(rig) >= records // WARM_PART:
            is_warm = True
            mark()
        run = Run("orders", 0, 1, FRAME_RECORDS, first, first + FRAME_RECORDS - 1)
        account.fetched(place, run)
        whole = PassingSinkFrame([run], size, values, nothing, nothing, 1, before=account.before([run]))
        account.framed([run], FRAME_RECORDS)
        account.settle()
        write(rig, ring.write, frame.encode(whole))
    while put(rig) < records:
        rig.side.bell.wait(END_S)
        listen(rig)
    mark()
    rig.row.set(Word.TARGET, Target.STOP)
    rig.side.task_bell.ring()
    while rig.row.get(Word.TASK_PHASE) != Phase.ENDED:
        rig.side.bell.wait(LOOK_S)
        listen(rig)


def take_source(rig: Rig, line: Line, records: int, mark: Callable[[], None]) -> None:
    """Take frames, look at their order, and answer the last one; mark as `feed_sink` does."""
    ring = rig.side.data_reader(is_checked=True)
    account = source.PumpAccount.of(rig.spec, rig.board, 0)
    assert account is not None
    done = 0
    is_warm = False
    while True:
        raw = ring.read()
        if raw is None:
            rig.side.bell.wait(LOOK_S)
            look(rig)
            continue
        going = frame.decode_source(raw)
        if isinstance(going, End):
            break
        account.arrived(going)
        for at in (0, going.count - 1) if going.count else ():
            value = going.values[at]
            assert value is not None
            assert line.has_id(value, done + at), f"{value!r} where record {done + at} was next"
        done += going.count
        ring.release()
        rig.side.task_bell.ring()
        if not is_warm and done >= records // WARM_PART:
            is_warm = True
            mark()
    mark()
    assert done == records, f"{done} of {records}"
    rig.side.down.write(frame.encode(Stored(done, is_end=True)))
    rig.side.task_bell.ring()


def write(rig: Rig, into: Callable[[bytes], bool], message: bytes) -> None:
    """Write a frame once there is room."""
    while not into(message):
        rig.side.bell.wait(LOOK_S)
        listen(rig)
    rig.side.task_bell.ring()


def put(rig: Rig) -> int:
    """Records that the sink has."""
    return rig.row.measured(Stage.PUT, Measure.RECORDS)


def listen(rig: Rig) -> None:
    """Take what the task says, as a pump does."""
    while rig.side.up.read() is not None:
        rig.side.up.release()
    look(rig)


def look(rig: Rig) -> None:
    """Fail where one of the processes has ended."""
    for name, child in rig.children.items():
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            raise AssertionError(f"{name} has ended")


def with_schema(line: Line, url: str) -> Line:
    """The same with this registry, which knows the schema of the orders that a sink reads."""
    form = Form(avro_order(register(url, "orders-value"))) if line.form is AVRO else line.form
    return replace(line, form=form, value_converter=PluginSpec(AVRO_PATH, {"schema.registry.url": url}))


def written(line: Line, records: int, folder: Path) -> Path:
    """The file that a source reads."""
    file = folder / f"{line.source.rpartition(':')[2]}.orders"
    if line.type == "source" and not file.exists():
        lines = map(JSON.write, range(records))
        if line.source == f"{PLUGINS}:Orders":
            write_orders(file, map(json.decode, lines), FRAME_RECORDS)
        else:
            file.write_bytes(b"".join(one + b"\n" for one in lines))
    return file


def main() -> None:
    """Run what is asked for, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--line", choices=[line.name for line in LINES], action="append")
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    gains = ", ".join(f"{kind} {times:.2f}x" for kind, times in scaling().items())
    print(f"two processes at once do, of what one does: {gains}", flush=True)
    records = asked.records // FRAME_RECORDS * FRAME_RECORDS
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        url = ""
        for line in LINES:
            if asked.line and line.name not in asked.line:
                continue
            if line.value_converter.path == AVRO_PATH:
                url = url or stack.enter_context(SchemaRegistry(folder / "registry")).url
                line = with_schema(line, url)
            file = written(line, records, folder)
            rates: dict[int, list[float]] = {}
            for _ in range(asked.rounds):
                for stages in asked.stages:
                    result = run(line, stages, records, file)
                    rates.setdefault(stages, []).append(result.rate_per_s)
                    print(f"{line.name} stage.processes={stages}: {result.told()}", flush=True)
            best = {stages: sorted(found)[len(found) // 2] for stages, found in rates.items()}
            base = best[asked.stages[0]]
            told = ", ".join(f"{stages}: {rate:,.0f}/s ({rate / base:.2f}x)" for stages, rate in best.items())
            print(f"{line.title}: {told}", flush=True)


if __name__ == "__main__":
    main()
