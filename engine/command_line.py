"""What the command `millrace` takes.

    millrace demo                              a pipeline on an embedded Kafka, watched live
    millrace run FILE...                       pipelines as bulk jobs; --forever keeps them running
    millrace standalone WORKER CONNECTOR...    connect-standalone's arguments
    millrace validate FILE... | doctor [FILE...]
    millrace try FILE... --records FILE        what converters and transforms make of records, step by step
    millrace dlq list|show|redrive FILE...     dead letters: which there are, and their records sent again
    millrace plugins [install PACKAGE]         what is installed; an environment of its own for a package
    millrace connectors | status | apply ...   a worker that runs, over REST (engine.commands)
    millrace password                          the hash of a password, for rest.access.file

It reads the files, has the plan made in a probe (engine.plan, in a child), and hands it to the supervisor (boot.py).
What can be wrong is said before anything is started, all of it together; exit codes are those of engine.exits.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from engine import __version__
from engine.commands import apply, connectors, dlq, settings
from engine.exits import ExitCode

__all__ = ["main"]

app = typer.Typer(
    name="millrace",
    help="Moves data into and out of Apache Kafka: Kafka Connect's connectors and configurations, in Python.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
PLUGINS = Path("plugins")
logger = logging.getLogger("millrace")
plugins = typer.Typer()
app.add_typer(plugins, name="plugins")

Files = Annotated[list[Path], typer.Argument(help="TOML pipelines, or .properties and .json of worker and connectors.")]
Forever = Annotated[bool, typer.Option("--forever", help="Keep running instead of ending with the sources.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report for machines, on standard output.")]
MetricsPort = Annotated[
    int | None, typer.Option("--metrics-port", min=0, max=65535, help="Serve /metrics for Prometheus on this port.")
]
MetricsFile = Annotated[
    Path | None, typer.Option("--metrics-file", help="Leave a last snapshot of the metrics here (NAME.prom).")
]


class LogForm(StrEnum):
    """What --log-format takes."""

    TEXT = "text"
    JSON = "json"


class Level(StrEnum):
    """What --log-level takes."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


LogFormat = Annotated[LogForm, typer.Option("--log-format", case_sensitive=False, help="Lines or JSON objects.")]
LogLevel = Annotated[Level, typer.Option("--log-level", case_sensitive=False, help="The least grave that is logged.")]
Progress = Annotated[
    bool | None, typer.Option("--progress/--no-progress", help="The live display; by default on a terminal only.")
]
Bootstrap = Annotated[
    str | None, typer.Option("--bootstrap", metavar="HOST:PORT", help="Brokers of your own, not the embedded one.")
]


def main() -> NoReturn:
    """Do what the command line says."""
    app()
    sys.exit(ExitCode.BUG)  # typer leaves by itself


@app.callback(invoke_without_command=True)
def millrace(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"millrace {__version__}")
        raise typer.Exit


@app.command()
def run(
    files: Files,
    *,
    forever: Forever = False,
    json: AsJson = False,
    metrics_port: MetricsPort = None,
    metrics_file: MetricsFile = None,
    log_format: LogFormat = LogForm.TEXT,
    log_level: LogLevel = Level.INFO,
    progress: Progress = None,
) -> None:
    """Run pipelines as a bulk job: bounded sources end, sinks take all there is, then a report is printed."""
    from engine import launch

    _leave(
        lambda: launch.run_files(
            files,
            launch.Options(
                is_bulk=not forever,
                prints_json=json,
                metrics_port=metrics_port,
                metrics_file=metrics_file,
                log_format=log_format,
                log_level=log_level,
                progress=progress,
            ),
        )
    )


@app.command()
def standalone(
    worker: Annotated[Path, typer.Argument(help="The worker's properties.")],
    connectors: Annotated[list[Path] | None, typer.Argument(help="Files of connectors.")] = None,
    *,
    metrics_port: MetricsPort = None,
    metrics_file: MetricsFile = None,
    log_format: LogFormat = LogForm.TEXT,
    log_level: LogLevel = Level.INFO,
    progress: Progress = None,
) -> None:
    """Run connectors until stopped, with the arguments of connect-standalone."""
    from engine import launch

    _leave(
        lambda: launch.run_standalone(
            worker,
            connectors or [],
            launch.Options(
                is_bulk=False,
                serves_rest=True,
                metrics_port=metrics_port,
                metrics_file=metrics_file,
                log_format=log_format,
                log_level=log_level,
                progress=progress,
            ),
        )
    )


@app.command()
def validate(
    files: Files,
    *,
    forever: Annotated[bool, typer.Option("--forever", help="As for `run --forever` and `standalone`.")] = False,
) -> None:
    """Check files without running anything: everything that is wrong is named, with file, connector and key."""
    from engine import launch

    _leave(lambda: launch.validate_files(files, is_bulk=not forever))


@app.command("try")
def try_records(
    files: Files,
    *,
    connector: Annotated[str, typer.Option("--connector", "-c", help="Which one, where the files have several.")] = "",
    records: Annotated[
        Path | None, typer.Option("--records", help="A file with a line of JSON for each record.")
    ] = None,
    topic: Annotated[str, typer.Option("--topic", help="A topic to read from, for a sink; nothing is committed.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many records at most.")] = 5,
    json: AsJson = False,
) -> None:
    """Show what a connector's converters and transforms make of records, step by step; nothing is written.

    Ends with 1 if a step fails.
    """
    from engine.commands import trial
    from engine.commands.session import code_of

    wanted = trial.Wanted(connector, records, topic, count)
    _leave(lambda: code_of(lambda: trial.try_files(files, wanted, prints_json=json)))


@app.command()
def password() -> None:
    """Make the hash of a password, for a user in the file that `rest.access.file` names."""
    from engine import launch

    _leave(launch.hash_password)


@plugins.callback(invoke_without_command=True)
def list_plugins(
    context: typer.Context,
    path: Annotated[
        list[str] | None, typer.Option("--path", help="As plugin.path: environments to look into as well.")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print them for machines.")] = False,
) -> None:
    """List the plugins that are installed, with version, place and the names they answer to; or install some."""
    from engine import launch

    if context.invoked_subcommand is None:
        elements = [element for text in path or () for element in text.split(",")]
        _leave(lambda: launch.list_plugins(elements, prints_json=json))


@plugins.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def install(
    context: typer.Context,
    package: Annotated[str, typer.Argument(help="A package as pip takes it: name, wheel, or folder of a project.")],
    path: Annotated[Path, typer.Option("--path", help="The folder of environments, for plugin.path.")] = PLUGINS,
    *,
    version: Annotated[str, typer.Option("--version", help="Its version; without it the newest.")] = "",
    name: Annotated[str, typer.Option("--name", help="Of the environment; by default the package's.")] = "",
) -> None:
    """Install a package of plugins into an environment of its own; further options are pip's (--no-index ...)."""
    from engine import launch

    options = list(context.args)
    _leave(lambda: launch.install_plugin(package, path, version=version, name=name, options=options))


@app.command()
def demo(
    bootstrap: Bootstrap = None,
    records: Annotated[int | None, typer.Option("--records", min=1, help="How many records to move.")] = None,
    rate: Annotated[float, typer.Option("--rate", min=0, help="Records a second; 0: as fast as it goes.")] = 0,
    *,
    delete_topic: Annotated[
        bool, typer.Option("--delete-topic", help="With --bootstrap: drop the demo's topic and group at the end.")
    ] = False,
    json: AsJson = False,
    metrics_port: MetricsPort = None,
    metrics_file: MetricsFile = None,
    log_format: LogFormat = LogForm.TEXT,
    log_level: LogLevel = Level.WARNING,
    progress: Progress = None,
) -> None:
    """Move generated orders through Kafka and watch: source, converter, topic, converter, sink."""
    from engine import launch

    _leave(
        lambda: launch.run_demo(
            bootstrap,
            records,
            rate,
            launch.Options(
                is_bulk=True,
                prints_json=json,
                metrics_port=metrics_port,
                metrics_file=metrics_file,
                log_format=log_format,
                log_level=log_level,
                progress=progress,
            ),
            deletes_topic=delete_topic,
        )
    )


@app.command()
def doctor(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="A worker's and connectors' files, as for `run` and `standalone`."),
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Look for what would keep Millrace from running here, with these files, and say what to do.

    Ends with 1 if anything is bad; warnings alone end with 0.
    """
    from engine.commands.doctor import examine

    _leave(lambda: examine(files or [], prints_json=json))


for _commands in (dlq, connectors, settings, apply):
    _commands.add_to(app)
settings.add_plugins_to(plugins)


def _leave(act: Callable[[], Any]) -> NoReturn:
    try:
        code = int(act())
    except Exception as error:  # a process's main: it becomes an exit code
        # As a line of the log, without secrets; before a log is set up, Python writes it as it is.
        logger.exception("unexpected %s", type(error).__name__)
        code = int(ExitCode.BUG)
    sys.exit(code)
