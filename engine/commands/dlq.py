"""`millrace dlq`: dead letters, of Millrace and of Kafka Connect, looked at and sent again.

    list       which there are, and how many of each error
    show       one of them, and what the connector's converters and transforms make of it now
    redrive    the records of those that are meant, to where they come from or into a sink, each once

Used by: engine.command_line.
Not here: what a letter is and which are meant (dead_letters.py), sending (redrive.py, into.py), how it looks
(dead_letters_report.py).
"""

from __future__ import annotations

import functools
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer
from msgspec import Struct
from msgspec.structs import replace

from engine.api.errors import ConfigError, ConnectError, NotFoundError, Problem, UnreachableError
from engine.clock import SystemClock
from engine.commands.session import AsJson, leave
from engine.exits import ExitCode
from engine.logs import masked

if TYPE_CHECKING:
    from engine.commands.dead_letters import Filters, Letter
    from engine.commands.into import Into
    from engine.commands.redrive import Redrive, Sending, Wanted
    from engine.config.line import LineSpec
    from engine.kafka.topic_reader import TopicReader

__all__ = ["add_to"]

_BROKER_SECONDS = 10.0
#: A broker may take so long to take part in a transaction, and to end one that somebody has left open.
_SENDING_SECONDS = 60.0
_ROWS = 100
_AT_ONCE = 500
#: Any of them may be refused, and make the note of what is done longer.
_AT_ONCE_MAX = 1000
_ATTEMPTS = 3
_GROUP = "millrace-redrive-"
_FROM_PANEL, _PANEL = "Where from", "Which letters (all that is given must hold)"


def _option(*names: str, help_text: str, panel: str = _PANEL, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **more)


_SOURCE: Mapping[str, tuple[Any, Any]] = {
    "files": (
        Annotated[
            list[Path] | None,
            typer.Argument(metavar="[FILE...]", help="The connector's and its worker's files, as for `run`."),
        ],
        None,
    ),
    "connector": (
        Annotated[str, _option("--connector", "-c", help_text="Letters of this one; which, where files have several.")],
        "",
    ),
    "topic": (
        Annotated[
            str,
            _option(
                "--topic",
                help_text="The dead letter topic; by default the file's errors.deadletterqueue.topic.name.",
                panel=_FROM_PANEL,
            ),
        ],
        "",
    ),
    "bootstrap": (
        Annotated[
            str, _option("--bootstrap", metavar="HOST:PORT", help_text="Brokers, without a file.", panel=_FROM_PANEL)
        ],
        "",
    ),
    "json": (AsJson, False),
}
_FILTERS: Mapping[str, tuple[Any, Any]] = {
    "error": (
        Annotated[str, _option("--error", metavar="CLASS", help_text="Its class, the last part will do; or code.")],
        "",
    ),
    "stage": (Annotated[str, _option("--stage", help_text="VALUE_CONVERTER, TRANSFORMATION, TASK_PUT ...")], ""),
    "original_topic": (Annotated[str, _option("--original-topic", help_text="Where the record was.")], ""),
    "original_partition": (
        Annotated[int | None, _option("--original-partition", min=0, help_text="Where the record was.")],
        None,
    ),
    "original_offsets": (
        Annotated[str, _option("--original-offsets", metavar="FROM[-TO]", help_text="Where it was: 12, 12-40, 12-.")],
        "",
    ),
    "since": (Annotated[str, _option("--since", metavar="TIME", help_text="By the record's timestamp, in UTC.")], ""),
    "until": (Annotated[str, _option("--until", metavar="TIME", help_text="Before this time.")], ""),
    "header": (Annotated[list[str] | None, _option("--header", metavar="NAME[=VALUE]", help_text="It has it.")], None),
    "place": (
        Annotated[
            list[str] | None,
            _option("--place", metavar="PLACE", help_text="Where the letter lies: 0@12, 0@12-40, 0@12-, 0."),
        ],
        None,
    ),
    "limit": (Annotated[int | None, _option("--limit", "-n", min=1, help_text="So many at most.")], None),
}


class Given(Struct, frozen=True):
    """What the commands have in common, as it was typed."""

    files: list[Path] | None = None
    connector: str = ""
    topic: str = ""
    bootstrap: str = ""
    json: bool = False
    error: str = ""
    stage: str = ""
    original_topic: str = ""
    original_partition: int | None = None
    original_offsets: str = ""
    since: str = ""
    until: str = ""
    header: list[str] | None = None
    place: list[str] | None = None
    limit: int | None = None

    def filters(self) -> Filters:
        """Raises ConfigError."""
        from engine.commands import dead_letters as kinds

        return kinds.Filters(
            connector=self.connector,
            error=self.error,
            stage=self.stage,
            topic=self.original_topic,
            partition=self.original_partition,
            offsets=kinds.span_of("--original-offsets", self.original_offsets) if self.original_offsets else None,
            since_ms=kinds.moment_of("--since", self.since) if self.since else None,
            until_ms=kinds.moment_of("--until", self.until) if self.until else None,
            headers=tuple(kinds.header_of("--header", one) for one in self.header or ()),
            places=tuple(kinds.place_of("--place", one) for one in self.place or ()),
        )


class Source(NamedTuple):
    """A dead letter topic, and how its cluster is reached."""

    topic: str
    reading: Mapping[str, Any]  # settings of a consumer
    writing: Mapping[str, Any]  # settings of a producer
    line: LineSpec | None  # of the connector whose letters they are, where there is a file

    def mask(self, text: str) -> str:
        """The text without secrets of the configuration."""
        return masked(text, self.line.secrets if self.line else ())


def add_to(app: typer.Typer) -> None:
    """Let the command line have these."""
    dlq = typer.Typer(no_args_is_help=True)
    app.add_typer(dlq, name="dlq", help="Look at dead letters, and send their records again.")
    dlq.command("list")(_as_command(list_letters, {**_SOURCE, **_FILTERS}))
    dlq.command("show")(_as_command(show, _SOURCE))
    dlq.command("redrive")(_as_command(redrive, {**_SOURCE, **_FILTERS}))


def list_letters(given: Given) -> ExitCode:
    """List dead letters, and how many there are of each error; 100 of them, unless --limit or --json is given.

    With --json a line for each of them. Ends with 1 if the topic has records and none of them says that it is one.
    """
    from engine.commands import dead_letters_report as report

    filters = given.filters()
    source = _source(given)
    shown: list[Letter] = []
    errors: Counter[str] = Counter()
    looked_at = with_context = 0
    with _reading(source) as reader:
        for letter in _letters(reader):
            looked_at += 1
            with_context += bool(letter.context)
            if not filters.take(letter):
                continue
            errors[letter.error] += 1
            if given.json:
                print(json.dumps(report.summary_json(letter, source.mask), ensure_ascii=False))
            elif len(shown) < (given.limit or _ROWS):
                shown.append(letter)
            if errors.total() == given.limit:
                break
    if not given.json:
        more = errors.total() - len(shown)
        print(report.listed_text(shown, source.mask) + (f"\nand {more} more (--limit)" if more else ""))
        print(f"\n{report.counts_text(errors)}")
    if looked_at and not with_context:
        raise ConnectError(_no_letters(source.topic))
    return ExitCode.OK


def show(
    given: Given,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="PARTITION@OFFSET, as `millrace dlq list` shows it.")],
) -> ExitCode:
    """Show a dead letter, and with files what the connector's converters and transforms make of it now.

    Ends with 1 if it fails now, or is no dead letter.
    """
    from engine.commands import dead_letters_report as report
    from engine.commands import trial, trial_report
    from engine.commands.dead_letters import letter_of, place_of

    partition, span = place_of("PLACE", place)
    if span.first != span.last:
        raise ConfigError([Problem("PLACE", f"{place}: expected one letter, as 0@12")])
    source = _source(given)
    with _reading(source) as reader:
        record = next(islice(reader.records(partition, span.first), 1), None) if partition in reader.borders else None
    if record is None or record.offset != span.first:
        there = ", ".join(f"{one}@{first}-{end - 1}" for one, (first, end) in reader.borders.items() if end > first)
        raise NotFoundError(f"topic {source.topic} has no record at {place}; it has {there or 'none at all'}")
    letter = letter_of(record)
    tried: list[trial.Tried] = []
    if source.line is not None and source.line.type == "sink":
        tried = trial.try_raw(source.line, [letter.original])
    if given.json:
        now = json.loads(trial_report.as_json(tried, source.mask))[0]["steps"] if tried else None
        print(json.dumps({**report.letter_json(letter, source.mask), "now": now}, indent=2, ensure_ascii=False))
    else:
        print(report.letter_text(letter, source.topic, source.mask))
        if tried:
            print(f"\nnow, with {', '.join(map(str, given.files or ()))}:\n{trial_report.as_text(tried, source.mask)}")
    return ExitCode.FAILED if not letter.context or any(one.has_failed for one in tried) else ExitCode.OK


def redrive(
    given: Given,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Send them. Without it nothing is sent: a dry run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, which is so without --yes.")] = False,
    to: Annotated[str, typer.Option("--to", metavar="TOPIC", help="Where to, instead of the original topics.")] = "",
    into: Annotated[
        str,
        typer.Option("--into", metavar="CONNECTOR", help="Straight into this sink; or a file of its own, as mended."),
    ] = "",
    attempts_max: Annotated[
        int, typer.Option("--attempts-max", min=1, help="Leave what was sent again so often.")
    ] = _ATTEMPTS,
    group: Annotated[
        str, typer.Option("--group", help="Which keeps what is done; by default millrace-redrive-TOPIC.")
    ] = "",
    at_once: Annotated[
        int | None,
        typer.Option(
            "--at-once",
            min=1,
            max=_AT_ONCE_MAX,
            help=f"Letters in one transaction, at most; {_AT_ONCE} by default, 1 into a sink whose put is not atomic.",
        ),
    ] = None,
) -> ExitCode:
    """Send the records of dead letters again, as they were, to the topics they come from, or into a sink.

    A dry run, unless --yes is given. Each letter is sent once, whatever the filters: what is done is kept in a consumer
    group. Ends with 1 if any that is meant is left.
    """
    from engine.commands.into import line_into
    from engine.commands.redrive import Wanted

    is_dry = dry_run or not yes
    filters = given.filters()
    if to and into:
        raise ConfigError([Problem("--into", "letters go one way; expected either --to TOPIC or --into CONNECTOR")])
    source = _source(given)
    line = line_into(given.files or (), into) if into else None
    if line is None:
        _require_one_cluster(source)
    wanted = Wanted(filters, to, line.connector if line else "", attempts_max, given.limit, at_once or 0)
    name = group or _GROUP + source.topic
    if to == source.topic:
        raise ConfigError([Problem("--to", f"--to {to}: it is the dead letter topic itself; expected another one")])
    about = {"topic": source.topic, "group": name, "dry_run": is_dry} if given.json else None
    tell = functools.partial(_tell, source.mask, about, is_dry=is_dry)
    done = _redriven(source, wanted, name, line, None if is_dry else _SENDING_SECONDS, tell)
    return ExitCode.OK if done.is_whole else ExitCode.FAILED


def _tell(mask: Callable[[str], str], about: Mapping[str, Any] | None, done: Redrive, *, is_dry: bool) -> None:
    """Print what has become of the letters. about: None: for people; else what JSON has beside it."""
    from engine.commands import dead_letters_report as report

    if about is not None:
        print(json.dumps(report.redrive_json(done, about, mask), indent=2, ensure_ascii=False))
    else:
        print(report.redrive_text(done, mask, is_dry=is_dry))


def _require_one_cluster(source: Source) -> None:
    """Raises ConfigError where letters are in another cluster than their topics: one transaction has one cluster."""
    if source.line is None:
        return
    servers = "bootstrap.servers"
    here, there = str(source.reading.get(servers, "")), str(source.line.kafka.get(servers, ""))
    if {*here.split(",")}.isdisjoint(there.split(",")):
        text = (
            f"letters are in {here}, and the connector's topics in {there}: records and the note of what is done are "
            "written in one transaction, which one cluster has; expected --into CONNECTOR, or the same "
            "bootstrap.servers"
        )
        raise ConfigError([Problem(servers, text, source.line.connector)])


def _redriven(
    source: Source,
    wanted: Wanted,
    group: str,
    line: LineSpec | None,
    seconds: float | None,
    tell: Callable[[Redrive], None],
) -> Redrive:
    """The work, done and told, also where it fails in the middle. Raises ConnectError.

    line: of the sink that they go into; None: they go to topics. seconds: for what may pass; None: a dry run.
    """
    from engine.commands.into import Into
    from engine.commands.redrive import Redrive, begin_at
    from engine.kafka.resender import Resender
    from engine.kafka.topic_reader import reading_alone

    _check(source)
    with ExitStack() as opened:
        sender: Sending | None = None
        resender: Resender | None = None
        sink: Into | None = None
        if seconds is not None:
            alone = reading_alone(source.reading, group)
            sender = resender = Resender(source.writing, alone, source.topic, group, seconds)
            opened.callback(resender.close)
            resender.begin()  # before anything is read: what an earlier one has left open is settled then
        reader = opened.enter_context(_reader(source, group))
        if wanted.to and wanted.to not in reader.counts:
            raise UnreachableError(f"--to {wanted.to}: there is no such topic that this user may see; create it")
        progress = reader.progress()
        if group != _GROUP + source.topic:
            begin_at({at: progress[at] for at in reader.anew}, wanted.filters.places, reader.borders)
        if resender is not None:
            resender.renew(progress)
        if line is not None:
            sender = sink = Into(line, source.topic, progress, sender, _SENDING_SECONDS, SystemClock())
            opened.push(sink.ended)
        # Of a put that fails nobody may know what it has written: then it has one letter, unless somebody wants more.
        is_single = sink is not None and resender is not None and not sink.is_atomic
        at_once = wanted.at_once or (1 if is_single else _AT_ONCE)
        done = Redrive(replace(wanted, at_once=at_once), progress, reader.counts, sender)
        done.anew = reader.anew
        _run(done, reader, sink, tell)
        return done


def _run(done: Redrive, reader: TopicReader, sink: Into | None, tell: Callable[[Redrive], None]) -> None:
    """Do it and tell what has become of it. Raises ConnectError."""
    try:
        if sink is not None:
            sink.start()
        done.run(reader)
    except BaseException as error:
        done.error = str(error) or type(error).__name__
        raise
    finally:
        if sink is not None:
            done.sent += sink.kept
            done.dropped = sink.dropped
        tell(done)


def _as_command(act: Callable[..., ExitCode], options: Mapping[str, tuple[Any, Any]]) -> Callable[..., None]:
    """A command of typer's: its own parameters behind the first, and these options, which the first one carries."""
    own_parameters = list(inspect.signature(act).parameters.values())[1:]
    hints = get_type_hints(act, include_extras=True)
    own = [parameter.replace(annotation=hints[parameter.name]) for parameter in own_parameters]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in options.items()
    ]

    def command(**values: Any) -> None:
        given = Given(**{name: values.pop(name) for name in options})
        leave(lambda: act(given, **values))

    functools.update_wrapper(command, act)
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    return command


def _source(given: Given) -> Source:
    """Raises ConfigError."""
    from engine.commands import trial
    from engine.config import files
    from engine.kafka.access import client_settings

    if bool(given.files) == bool(given.bootstrap):
        raise ConfigError("letters come from one place; expected either files of a connector or --bootstrap HOST:PORT")
    # As Java's producers do: a key goes where others with the same key are.
    ours = {"partitioner": "murmur2_random", "message.max.bytes": 1_000_000_000}
    if not given.files:
        if not given.topic:
            raise ConfigError("expected --topic TOPIC beside --bootstrap: the dead letter topic")
        settings = {"bootstrap.servers": given.bootstrap}
        return Source(given.topic, settings, {**settings, **ours}, None)
    line = trial.line_of(files.load(given.files), given.connector)
    dead = line.errors.dead_letters
    topic = given.topic or (dead.topic if dead is not None else "")
    if not topic:
        key = "errors.deadletterqueue.topic.name"
        text = f"it has no {key}; expected that key, or --topic TOPIC"
        raise ConfigError([Problem(key, text, line.connector, str(given.files[0]))])
    if dead is None:
        way = client_settings(line.kafka)
        return Source(topic, way, {**way, **ours}, line)
    # Letters are where their producer writes them, which need not be where the connector reads.
    return Source(topic, client_settings(dead.kafka), dead.kafka, line)


@contextmanager
def _reading(source: Source) -> Iterator[TopicReader]:
    """A reader of the topic, once its cluster has answered. Raises ConnectError."""
    _check(source)
    with _reader(source, _GROUP + source.topic) as reader:
        yield reader


def _check(source: Source) -> None:
    """Raises ConnectError, and says what to do, where the cluster does not answer."""
    from engine.kafka.access import client_settings
    from engine.kafka.check import check_kafka

    check = check_kafka([], own=client_settings(source.reading), timeout_seconds=_BROKER_SECONDS)
    if check.problems:
        text = source.mask("\n".join(problem.message for problem in check.problems))
        raise UnreachableError(text) if check.is_unreachable else ConfigError(text)


@contextmanager
def _reader(source: Source, group: str) -> Iterator[TopicReader]:
    """A reader of the topic. group: which keeps what is done. Raises ConnectError."""
    from engine.kafka.topic_reader import TopicReader, reading_alone

    reader = TopicReader(reading_alone(source.reading, group), source.topic, _BROKER_SECONDS, SystemClock())
    try:
        yield reader
    finally:
        reader.close()


def _letters(reader: TopicReader) -> Iterator[Letter]:
    from engine.commands.dead_letters import letter_of

    for partition in sorted(reader.borders):
        yield from map(letter_of, reader.records(partition, 0))


def _no_letters(topic: str) -> str:
    return (
        f"topic {topic} has records, and none of them has the headers of a dead letter (__connect.errors.*): is it? "
        "They are written with errors.deadletterqueue.context.headers.enable=true"
    )
