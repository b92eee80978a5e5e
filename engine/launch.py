"""What the commands do: read files, have them planned in a probe, run the plan, print the report.

    files ──► Pipeline ──► plan.prepare (in a child) ──► boot.run ──► report on standard output
      └─ what is wrong, all of it, on standard error; nothing was started

Used by: engine.command_line.
Not here: what a command line may say (command_line.py), processes (boot.py).
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from getpass import getpass
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine import boot, demo, logs, memory, plan
from engine.api.errors import ConnectError
from engine.config import files, passwords
from engine.config.files import Pipeline
from engine.exits import ExitCode, code_of_error, sentences_of, told
from engine.plugins import catalog, installing
from engine.plugins.apart import Apart
from engine.plugins.environment import unmet
from engine.plugins.listing import LISTING_SECONDS, PluginInfo, listing
from engine.report import Report, as_json, as_text, comes_out_even
from engine.supervisor.manager import Manager

__all__ = [
    "Options",
    "hash_password",
    "install_plugin",
    "list_plugins",
    "run_demo",
    "run_files",
    "run_standalone",
    "validate_files",
]

logger = logging.getLogger("millrace")


class Options(Struct, frozen=True, kw_only=True):
    """What the command line says beside the files."""

    is_bulk: bool
    prints_json: bool = False
    metrics_port: int | None = None
    metrics_file: Path | None = None
    log_format: str = "text"
    log_level: str = "INFO"
    progress: bool | None = None  # None: on a terminal
    serves_rest: bool = False

    @property
    def shows_progress(self) -> bool:
        """Whether a live display is wanted; it would garble what is read by machines."""
        if self.progress is not None:
            return self.progress
        return sys.stderr.isatty() and self.log_format == "text"


def run_files(paths: Sequence[Path], options: Options) -> ExitCode:
    """Run files of any kind together."""
    return _guarded(options, lambda: _run(files.load(paths), options))


def run_standalone(worker: Path, connectors: Sequence[Path], options: Options) -> ExitCode:
    """Run files as connect-standalone's arguments name them."""
    return _guarded(options, lambda: _run(files.load_standalone(worker, connectors), options))


def validate_files(paths: Sequence[Path], *, is_bulk: bool = True) -> ExitCode:
    """Say what is wrong with files, or that nothing is. is_bulk: for a run that ends with its sources."""

    def act() -> ExitCode:
        made = plan.prepare(files.load(paths), plan.PlanOptions(is_bulk=is_bulk), asks_kafka=False)
        for warning in made.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        connectors = {line.connector for line in made.lines}
        print(f"good: {len(connectors)} connectors, {len(made.lines)} tasks")
        print(memory.as_text(made.lines, made.worker.memory_max, has_metrics=made.worker.has_metrics))
        return ExitCode.OK

    return _guarded(Options(is_bulk=True), act)


def list_plugins(plugin_path: Sequence[str] = (), *, prints_json: bool = False) -> ExitCode:
    """Print what is installed, here and in the environments that these elements of `plugin.path` name."""

    def act() -> ExitCode:
        found = catalog.discover(plugin_path)
        for complaint in found.complaints:
            print(f"warning: {complaint}", file=sys.stderr)
        plugins = listing(found, Apart(lambda *_: None, LISTING_SECONDS))
        if prints_json:
            print(msgspec.json.format(msgspec.json.encode(plugins)).decode())
            return ExitCode.OK
        _print_plugins(plugins)
        return ExitCode.OK

    return _guarded(Options(is_bulk=True), act)


def install_plugin(package: str, folder: Path, *, version: str, name: str, options: Sequence[str]) -> ExitCode:
    """Make an environment with a package of plugins, and say how to use it. options: pip's."""

    def act() -> ExitCode:
        path = installing.install(package, folder, version=version, name=name, options=options)
        found = catalog.discover([str(path)])
        mine = [one for one in listing(found, Apart(lambda *_: None, LISTING_SECONDS)) if one.location]
        _print_plugins(mine)
        for text in [*found.complaints, *(text for one in found.environments for text in unmet(one))]:
            print(f"warning: {text}", file=sys.stderr)
        if not mine:
            print(f"warning: {package} registers no plugins: name its classes by their paths", file=sys.stderr)
        print(f"installed in {path}\nto use it, give the worker: plugin.path={folder.absolute()}")
        return ExitCode.OK

    return _guarded(Options(is_bulk=True), act)


def hash_password() -> ExitCode:
    """Take a password, twice from a person, and print its hash."""
    if sys.stdin.isatty():
        given = getpass("Password: ")
        if getpass("Again: ") != given:
            print("millrace: the two differ; nothing was made", file=sys.stderr)
            return ExitCode.USAGE
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        print("millrace: an empty password is none; expected one line on standard input", file=sys.stderr)
        return ExitCode.USAGE
    print(passwords.hashed(given))
    return ExitCode.OK


def run_demo(
    bootstrap: str | None, records: int | None, rate: float, options: Options, *, deletes_topic: bool
) -> ExitCode:
    """Run the demo's pipeline, on the embedded Kafka or on brokers of the user's."""

    def say(text: str) -> None:
        if options.log_format == "text":
            print(text, file=sys.stderr, flush=True)
        else:
            logger.warning("%s", text)  # a demo shows no less grave ones, and it is to be seen

    def act() -> ExitCode:
        with (
            tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder,
            demo.kafka(bootstrap, say, deletes_topic=deletes_topic) as where,
        ):
            pipeline = demo.demo_pipeline(where, records, rate, folder=Path(folder))
            return _run(pipeline, options, is_embedded=where.is_embedded, must_match=True)

    return _guarded(options, act)


def _run(pipeline: Pipeline, options: Options, *, is_embedded: bool = False, must_match: bool = False) -> ExitCode:
    manager = Manager.of(os.environ)  # before any child has the variables too
    overrides = {}
    if options.metrics_port is not None:
        overrides["metrics.port"] = str(options.metrics_port)
    if options.metrics_file is not None:
        overrides["metrics.file"] = str(options.metrics_file)
    wanted = plan.PlanOptions(
        is_bulk=options.is_bulk,
        is_embedded=is_embedded,
        is_run=True,
        serves_rest=options.serves_rest,
        overrides=overrides,
    )
    made = plan.prepare(pipeline, wanted, asks_kafka=True)
    settings = logs.LogSettings(options.log_level, options.log_format, is_above_display=options.shows_progress)
    logs.set_up(settings, process="supervisor", secrets=made.secrets)
    for warning in made.warnings:
        logger.warning("%s", warning)
    rest = boot.RestOptions(pipeline, replace(wanted, worker_id=made.worker_id)) if options.serves_rest else None
    code, report = boot.run(made, boot.RunOptions(options.is_bulk, options.shows_progress, settings, rest, manager))
    if must_match and code == ExitCode.OK and not comes_out_even(report):
        code = ExitCode.INCOMPLETE
        report = replace(report, exit_code=int(code))
        logger.error("the number of records that came out is not the number that went in")
    _print(report, options)
    return code


def _print_plugins(plugins: Sequence[PluginInfo]) -> None:
    location = max((len(plugin.location) for plugin in plugins), default=0)
    for plugin in plugins:
        names = ", ".join(plugin.aliases)
        where = f"{plugin.location or '-':<{location}} " if location else ""
        print(f"{plugin.type:<16} {plugin.path:<58} {plugin.version:<10} {where}{names}")
        if plugin.problem:
            print(f"{'':<16} cannot be used: {plugin.problem}")


def _print(report: Report, options: Options) -> None:
    if options.prints_json:
        sys.stdout.buffer.write(as_json(report) + b"\n")
    else:
        print(as_text(report))
    sys.stdout.flush()


def _guarded(options: Options, act: Callable[[], ExitCode]) -> ExitCode:
    """Do it; what is wrong before anything runs becomes a message and a code."""
    try:
        logs.set_up(logs.LogSettings(options.log_level, options.log_format), process="supervisor")
        return act()
    except ConnectError as error:
        if options.log_format == "text":
            return told(error, place="in the configuration")
        for sentence in sentences_of(error):  # whoever reads objects reads nothing else
            logger.error("%s", sentence)  # noqa: TRY400  it is told as a sentence
        return code_of_error(error)
