"""`millrace doctor`: looks at everything a worker needs before it runs, and says what to do about what is wrong.

    without files    this machine: processor, Python, libraries, plugins, limits, clock, room
    with files       theirs as well: configuration, store, listeners, descriptors, memory, brokers, topics, rights

Nothing is started, made or changed. Every check is a function that gets what it judges and returns a Finding
(machine.py); here they are asked in their order, those that fork before the first Kafka client is made.

Used by: engine.command_line.
Not here: what is judged good (machine.py), rights (engine.kafka.rights).
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from engine import descriptors, memory, plan
from engine.api.errors import ConfigError, ConnectError
from engine.commands import machine
from engine.commands.machine import Finding
from engine.commands.tables import table
from engine.config import files
from engine.config.files import ConnectorFile
from engine.config.line import LineSpec
from engine.config.listeners import read_listeners
from engine.exits import ExitCode
from engine.kafka import rights
from engine.kafka.check import KafkaCheck, check_kafka
from engine.offsets.check import check_store
from engine.plugins import catalog
from engine.plugins.apart import Apart
from engine.plugins.environment import unmet
from engine.plugins.listing import LISTING_SECONDS, listing

__all__ = ["examine", "look_at_listeners", "look_at_plugins", "look_at_store"]

#: Without files: limits are judged for one task of two processes and a small cluster.
ONE_LINE, FEW_BROKERS = (2, 0), 3
#: What a file that is wrong keeps from being looked at.
AFTERWARDS = "brokers, topics and rights can be looked at afterwards"
#: Stands for connectors, where there are none, to ask brokers with the settings of the worker's clients.
STAND_IN = ConnectorFile("doctor", {"name": "doctor", "connector.class": "Generator", "topic": "doctor"}, "")


def examine(places: Sequence[Path], *, prints_json: bool) -> ExitCode:
    """Print what every check has found, and what to do; FAILED if anything is bad."""
    found = [*_here(), *(_with(places) if places else _limits([ONE_LINE], FEW_BROKERS))]
    if prints_json:
        print(json.dumps([finding.as_document() for finding in found], indent=2, ensure_ascii=False))
    else:
        print(table(("CHECK", "IS", "WHAT WAS FOUND"), [(one.check, one.verdict, one.text) for one in found]))
        for one in found:
            if one.advice:
                print(f"\n{one.check}: {one.text}\n  -> {one.advice}")
    return ExitCode.FAILED if any(one.verdict == "bad" for one in found) else ExitCode.OK


def _here() -> Iterator[Finding]:
    """This machine and what is installed on it."""
    yield machine.processor(sys.platform, platform.machine())
    yield machine.python(sys.version_info[:3], has_gil=not sysconfig.get_config_var("Py_GIL_DISABLED"))
    yield machine.libraries(*rights.versions())
    yield from look_at_plugins(())
    yield _room("temporary files", Path(tempfile.gettempdir()))
    yield machine.clock(time.time(), is_synchronised=machine.is_synchronised())


def _with(places: Sequence[Path]) -> Iterator[Finding]:
    """What the files say, and the world they name."""
    try:
        pipeline = files.load(places) if len(places) > 1 else files.load_standalone(places[0], [])
        made = plan.prepare(pipeline, plan.PlanOptions(is_bulk=False), asks_kafka=False)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("configuration", "bad", str(problem), f"mend the file; {AFTERWARDS}")
        return
    connectors = {line.connector for line in made.lines}
    yield Finding("configuration", "good", f"{len(connectors)} connectors, {len(made.lines)} tasks")
    for warning in made.warnings:
        yield Finding("configuration", "warning", warning)
    if elements := [one.strip() for one in pipeline.worker.get("plugin.path", "").split(",") if one.strip()]:
        yield from look_at_plugins(elements)
    yield look_at_store(Path(made.store))
    if Path(made.store).parent.is_dir():
        yield _room("room of the store", Path(made.store).parent)
    yield from look_at_listeners(made.worker.listeners)
    # A worker whose connectors come over REST has brokers all the same.
    lines = (
        made.lines
        or plan.prepare(replace(pipeline, connectors=(STAND_IN,)), plan.PlanOptions(), asks_kafka=False).lines
    )
    # A worker starts without a topic that nobody makes; here it is what is wrong all the same, as for a run that ends.
    asked = [replace(line, is_bulk=True) for line in lines]
    check = check_kafka(asked, timeout_seconds=made.worker.startup_timeout_ms / 1000)
    yield from _brokers(check)
    if not check.problems:
        yield from _rights(made.lines)
    yield from _limits([(line.processes, line.stage_processes) for line in made.lines], check.brokers)
    bound = memory.total_bytes(made.lines, has_metrics=made.worker.has_metrics)
    yield machine.memory(bound, machine.available_bytes(), machine.cgroup_number("memory.max"))


def _limits(lines: Sequence[tuple[int, int]], brokers: int) -> Iterator[Finding]:
    """lines: of each, its processes but for stage processes, and those."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = descriptors.needed((processes + 2 * stages for processes, stages in lines), brokers)
    yield machine.open_files(soft, hard, files)
    allowed = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    yield machine.processes(allowed, machine.cgroup_number("pids.max"), sum(map(sum, lines)))


def look_at_plugins(elements: Sequence[str]) -> Iterator[Finding]:
    """Whether all that are installed can be imported. elements: of `plugin.path`, beside what is installed here."""
    found = catalog.discover(elements)
    plugins = listing(found, Apart(lambda *_: None, LISTING_SECONDS))
    for text in [*found.complaints, *(text for one in found.environments for text in unmet(one))]:
        yield Finding("plugins", "warning", text, "install what is missing, or another version of the package")
    for one in plugins:
        if one.problem:
            place = f" in {one.location}" if one.location else ""
            text = f"{one.path} of {one.origin or 'nobody knows what'}{place}: {one.problem}"
            yield Finding("plugins", "warning", text, "mend or uninstall that package")
    good = [one for one in plugins if not one.problem]
    connectors = sum(one.type in ("source", "sink") for one in good)
    if connectors:
        yield Finding("plugins", "good", f"{len(good)}, {connectors} of them connectors")
    else:
        advice = "install a package of connectors: `millrace plugins install PACKAGE`"
        yield Finding("plugins", "bad", "no connector can be used", advice)


def look_at_store(path: Path) -> Finding:
    """Whether a store is good, or can be made; nothing is made."""
    folder = path.parent
    if not folder.is_dir():
        parent = next(one for one in folder.parents if one.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return Finding("store", "good", f"{path} will be made")
        advice = "name a place that this user can write (offset.storage.file.filename)"
        return Finding("store", "bad", f"{folder} is not there, and {parent} cannot be written", advice)
    if not path.exists() and not os.access(folder, os.W_OK | os.X_OK):
        advice = "let this user write it, or name another place (offset.storage.file.filename)"
        return Finding("store", "bad", f"{folder} cannot be written", advice)
    try:
        if path.exists():
            check_store(path)
    except (OSError, ConnectError) as error:
        return Finding("store", "bad", str(error), "see docs/operations.md, files on disk")
    if machine.is_locked(path.with_name(path.name + ".lock")):
        return Finding("store", "warning", f"{path} is in use by a worker that runs", "a second one ends with code 4")
    return Finding("store", "good", str(path))


def look_at_listeners(texts: Sequence[str]) -> Iterator[Finding]:
    """Whether these places are free."""
    for place in read_listeners(texts):
        name = f"{place.host or '*'}:{place.port}"
        try:
            family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
            socket.create_server((place.host, place.port), family=family).close()
        except OSError as error:
            advice = "end the program that listens there (`ss -ltnp`), or name another place (listeners)"
            yield Finding("listeners", "warning", f"{name}: {error.strerror or error}", advice)
        else:
            yield Finding("listeners", "good", name)


def _brokers(check: KafkaCheck) -> Iterator[Finding]:
    for problem in check.problems:
        yield Finding("brokers", "bad", str(problem), rights.ADVICE)
    for warning in check.warnings:
        yield Finding("topics", "warning", warning, "create it, or let the broker do it (auto.create.topics.enable)")
    if not check.problems:
        yield Finding("brokers", "good", f"{check.brokers} in cluster {check.cluster_id or '(unnamed)'}")


def _rights(lines: Sequence[LineSpec]) -> Iterator[Finding]:
    asked = 0
    for connector, right, is_allowed in rights.of(lines):
        asked += 1
        if not is_allowed:
            advice = f"allow it: kafka-acls --add --allow-principal User:... {right.option}"
            yield Finding("rights", "bad", f"connector {connector}: this user may not {right}", advice)
    if asked:
        yield Finding("rights", "good", f"{asked} were looked at")


def _room(what: str, folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(what, "bad", f"{folder}: {error.strerror}", "name another place")
    return machine.room(what, str(folder), free, is_writable=os.access(folder, os.W_OK | os.X_OK))
