"""A plan holds everything the processes need, or tells everything that is wrong; either way nothing was started."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from engine import memory
from engine.api.errors import ConfigError, UnreachableError
from engine.config.files import Pipeline, load
from engine.config.line import LineSpec
from engine.connector_lines import ring_bytes_for
from engine.offsets.store import OffsetStore, store_path
from engine.plan import Plan, PlanOptions, make_plan, prepare
from engine.plugins.probe import ProbeError
from engine.shm.ring import largest_frame_bytes
from engine.task import framing

PLUGINS = "tests.unit.plugins.plugins_of_tests"
OPTIONS = PlanOptions(worker_id="w1")
WORKER = """
[worker]
"bootstrap.servers" = "localhost:1"
"key.converter" = "StringConverter"
"value.converter" = "JsonConverter"
"value.converter.schemas.enable" = false
"header.converter" = "StringConverter"
"""


def pipeline(folder: Path, connectors: str, worker: str = WORKER) -> Pipeline:
    file = folder / "pipeline.toml"
    file.write_text(f"{worker}\n{connectors.replace('PLUGINS', PLUGINS)}")
    return load([file])


def connector(name: str, plugin: str, *lines: str) -> str:
    return "\n".join([f"[connectors.{name}]", f'"connector.class" = "PLUGINS:{plugin}"', *lines, ""])


def complaints(caught: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def counting(tmp_path: Path) -> Plan:
    """Of a source of three tasks and a sink."""
    return make_plan(
        pipeline(
            tmp_path,
            connector("numbers", "Counting", "topic = 'a'", '"tasks.max" = 3')
            + connector("out", "Writing", "topics = ['a', 'b']"),
        ),
        OPTIONS,
    )


def test_each_task_gets_its_line_with_what_the_connector_gave_it(counting: Plan) -> None:
    sources = [line for line in counting.lines if line.type == "source"]
    assert [line.title for line in sources] == ["numbers/0", "numbers/1", "numbers/2"]
    assert [line.task_config["number"] for line in sources] == ["0", "1", "2"]
    assert {line.task_path for line in sources} == {f"{PLUGINS}:NumbersTask"}
    assert len({line.kafka["client.id"] for line in sources}) == 3


def test_a_sinks_task_gets_its_topics_as_kafka_connect_adds_them(counting: Plan) -> None:
    sink = counting.lines[-1]
    assert sink.type == "sink"
    assert sink.subscription.topics == ("a", "b")
    assert sink.task_config == {"number": "0", "topics": "a,b", "task.class": f"{PLUGINS}:WritingTask"}
    assert sink.kafka["group.id"] == "connect-out"
    assert sink.kafka["group.instance.id"] == "w1-out-0"


def test_a_plan_crosses_as_bytes_and_is_the_same(counting: Plan) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(counting), type=Plan) == counting


def test_offsets_of_a_toml_pipeline_are_kept_beside_it(counting: Plan, tmp_path: Path) -> None:
    assert counting.store == str(tmp_path / "offsets.millrace.db")
    assert {line.store for line in counting.lines} == {counting.store}


def test_converters_are_the_workers_with_the_workers_keys(counting: Plan) -> None:
    line = counting.lines[0]
    assert line.value_converter.path == "converters.json.converter:JsonConverter"
    assert line.value_converter.config == {"schemas.enable": "false"}
    assert line.key_converter.path == "converters.string:StringConverter"


def test_a_connectors_own_converter_has_the_connectors_keys_only(tmp_path: Path) -> None:
    plan = make_plan(
        pipeline(
            tmp_path,
            connector("a", "Counting", "topic = 'a'", '"value.converter" = "JsonConverter"')
            + connector(
                "b",
                "Counting",
                "topic = 'a'",
                f'"key.converter" = "{PLUGINS}.Upper"',
                '"key.converter.language" = "fi"',
            ),
        ),
        OPTIONS,
    )
    assert plan.lines[0].value_converter.config == {}
    assert plan.lines[1].key_converter.path == f"{PLUGINS}:Upper"
    assert plan.lines[1].key_converter.config == {"language": "fi"}


def test_transforms_keep_their_order_aliases_and_keys(tmp_path: Path) -> None:
    plan = make_plan(
        pipeline(
            tmp_path,
            connector(
                "a",
                "Counting",
                "topic = 'a'",
                'transforms = ["second", "first"]',
                f'"transforms.first.type" = "{PLUGINS}:Same"',
                f'"transforms.second.type" = "{PLUGINS}:Same"',
                '"transforms.second.language" = "fi"',
            ),
        ),
        OPTIONS,
    )
    assert [step.transform.name for step in plan.lines[0].transforms] == ["second", "first"]
    assert plan.lines[0].transforms[0].transform.config["language"] == "fi"


INSERT = '"transforms.t.type" = "InsertField$Value"\n'
FILTER = '"transforms.t.type" = "Filter"\n"transforms.t.predicate" = "p"\n'


@pytest.mark.parametrize(
    ("chain", "timestamps", "headers"),
    [
        ("", False, False),
        (INSERT + '"transforms.t.static.field" = "a"\n"transforms.t.static.value" = "b"', False, False),
        (INSERT + '"transforms.t.timestamp.field" = "at"', True, False),
        ('"transforms.t.type" = "TimestampRouter"', True, True),  # its error tells the whole record
        ('"transforms.t.type" = "DropHeaders"\n"transforms.t.headers" = "h"', False, True),
        (f'"transforms.t.type" = "{PLUGINS}:Same"', True, True),
        (FILTER + '"predicates.p.type" = "RecordIsTombstone"', False, False),
        (FILTER + '"predicates.p.type" = "HasHeaderKey"\n"predicates.p.name" = "h"', False, True),
        (FILTER + '"predicates.p.type" = "ExpressionPredicate"\n"predicates.p.expression" = "key > 0"', True, True),
        ('"errors.tolerance" = "all"', False, True),
        ('"errors.log.enable" = true', True, True),
    ],
)
def test_timestamps_and_headers_are_read_where_a_transform_a_predicate_or_a_dead_letter_may_want_them(
    tmp_path: Path, chain: str, timestamps: bool, headers: bool
) -> None:
    lists = ('transforms = ["t"]\n' * ("transforms.t" in chain)) + ('predicates = ["p"]\n' * ("predicates.p" in chain))
    sink = f'[connectors.a]\n"connector.class" = "FileStreamSink"\ntopics = ["a"]\n{lists}{chain}\n'
    plan = make_plan(pipeline(tmp_path, sink), OPTIONS)
    assert [(line.wants_timestamps, line.wants_headers) for line in plan.lines] == [(timestamps, headers)]


def test_a_task_that_wants_to_hear_of_each_record_is_known_by_its_method(tmp_path: Path) -> None:
    plan = make_plan(
        pipeline(tmp_path, connector("a", "Listening", "topic = 'a'") + connector("b", "Counting", "topic = 'a'")),
        OPTIONS,
    )
    assert [line.wants_commit_record for line in plan.lines] == [True, False]


def test_all_mistakes_of_all_connectors_are_told_together(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    with pytest.raises(ConfigError) as caught:
        make_plan(
            pipeline(
                tmp_path,
                connector(
                    "one", "Counting", '"batch.size" = 0', '"tasks.max" = "many"', '"producer.override.linger.mss" = 3'
                )
                + connector("two", "Picky", "topic = 'a'", '"btch.size" = 3')
                + connector("three", "Nothing")
                + connector("four", "Counting", "topic = 'a'", '"value.converter" = "ThriftConverter"')
                + connector("five", "Writing", "topics = 'a'", '"consumer.override.fetch.min.byte" = 3'),
                WORKER.replace("localhost:1", "localhost"),
            ),
            OPTIONS,
        )
    found = complaints(caught)
    for place, text in (
        ("", "bootstrap.servers"),
        ("connector one: ", 'Missing required configuration "topic"'),
        ("connector one: ", "Invalid value 0 for configuration batch.size"),
        ("connector one: ", "Invalid value many for configuration tasks.max"),
        ("connector one: ", "producer.override.linger.mss"),
        ("connector two: ", "topic must be plural"),
        ("connector two: ", "batch.size must be odd"),
        ("connector two: ", 'unknown key "btch.size"; did you mean "batch.size"?'),
        ("connector three: ", "there is no such class in module"),
        ("connector four: ", "Invalid value ThriftConverter for configuration value.converter"),
        ("connector five: ", "consumer.override.fetch.min.byte"),
    ):
        assert any(line.startswith(f"{file}: {place}") and text in line for line in found), (place, text, found)


def test_keys_that_are_called_after_what_the_user_has_are_known_by_their_beginning(tmp_path: Path) -> None:
    lines = ("topics = 'a'", '"table.orders.name" = "o"')
    assert make_plan(pipeline(tmp_path, connector("a", "Prefixed", *lines)), OPTIONS).lines
    with pytest.raises(ConfigError) as caught:
        make_plan(pipeline(tmp_path, connector("a", "Prefixed", *lines, '"tables.orders.name" = "o"')), OPTIONS)
    (complaint,) = complaints(caught)
    assert 'unknown key "tables.orders.name"' in complaint


def test_a_wrong_converter_of_the_worker_is_told_once_as_the_workers(tmp_path: Path) -> None:
    worker = WORKER.replace("schemas.enable", "schemas.cache.size").replace("= false", '= "all"')
    with pytest.raises(ConfigError) as caught:
        make_plan(
            pipeline(
                tmp_path, connector("a", "Counting", "topic = 'a'") + connector("b", "Counting", "topic = 'b'"), worker
            ),
            OPTIONS,
        )
    (complaint,) = complaints(caught)
    assert complaint.startswith(f"{tmp_path / 'pipeline.toml'}: Invalid value all")
    assert "value.converter.schemas.cache.size" in complaint


def test_a_misspelled_key_of_the_workers_converter_is_told(tmp_path: Path) -> None:
    worker = WORKER.replace("schemas.enable", "schemas.enabled")
    with pytest.raises(ConfigError) as caught:
        make_plan(pipeline(tmp_path, connector("a", "Counting", "topic = 'a'"), worker), OPTIONS)
    (complaint,) = complaints(caught)
    assert 'unknown key "value.converter.schemas.enabled"; did you mean "value.converter.schemas.enable"?' in complaint


def test_a_converter_that_refuses_its_keys_when_it_is_configured_is_told(tmp_path: Path) -> None:
    lines = ("topic = 'a'", '"key.converter" = "StringConverter"', '"key.converter.converter.encoding" = "klingon"')
    with pytest.raises(ConfigError) as caught:
        make_plan(pipeline(tmp_path, connector("a", "Counting", *lines)), OPTIONS)
    assert "Invalid value klingon for configuration key.converter.converter.encoding" in complaints(caught)[0]


def test_more_tasks_than_asked_for_are_refused_or_if_so_wished_only_mentioned(tmp_path: Path) -> None:
    lines = ("topic = 'a'", '"tasks.max" = 2', "extra = 1")
    with pytest.raises(ConfigError) as caught:
        make_plan(pipeline(tmp_path, connector("a", "Generous", *lines)), OPTIONS)
    words = "The connector a has generated 3 tasks, which is greater than 2, the maximum number of tasks"
    assert words in complaints(caught)[0]
    assert "with 'tasks.max.enforce' set to false" in complaints(caught)[0]
    plan = make_plan(pipeline(tmp_path, connector("a", "Generous", *lines, '"tasks.max.enforce" = false')), OPTIONS)
    assert len(plan.lines) == 3
    assert any(words in warning and "taskConfigs() method" in warning for warning in plan.warnings)


def test_a_connector_is_told_its_stored_offsets_and_what_of_the_workers_configuration_is_its_own(
    tmp_path: Path,
) -> None:
    store = OffsetStore(store_path(str(tmp_path / "offsets")))
    store.write("a", [(b'{"a":"x","b":1}', b'{"position":7}')])
    store.write("b", [(b'{"a":"x","b":1}', b'{"position":8}')])
    store.close()
    worker = f'{WORKER}"producer.linger.ms" = 5\n"consumer.fetch.min.bytes" = 1\n'
    plan = make_plan(pipeline(tmp_path, connector("a", "Remembering", "topic = 'a'"), worker), OPTIONS)
    given = plan.lines[0].task_config
    assert given["stored"] == "{'position': 7}"
    known = {key: value for key, value in given.items() if key.startswith("worker.")}
    assert known == {"worker.bootstrap.servers": "localhost:1", "worker.producer.linger.ms": "5"}


def test_a_task_configuration_of_anything_but_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan(pipeline(tmp_path, connector("a", "NotText", "topic = 'a'")), OPTIONS)
    assert "task 0, 'number' is int; expected text" in complaints(caught)[0]


def test_more_tasks_than_the_worker_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan(
            pipeline(
                tmp_path,
                connector("a", "Counting", "topic = 'a'", '"tasks.max" = 3'),
                WORKER + '"worker.tasks.max" = 2\n',
            ),
            OPTIONS,
        )
    assert "3 tasks in all; expected at most worker.tasks.max=2" in complaints(caught)[0]


def test_secrets_are_in_no_complaint_and_known_to_the_plan(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "word").write_text("open-sesame")
    worker = (
        WORKER + '"config.providers" = "d"\n'
        '"config.providers.d.class" = "org.apache.kafka.common.config.provider.DirectoryConfigProvider"\n'
    )
    lines = ("topic = 'a'", f'password = "${{d:{tmp_path / "secret"}:word}}"', "other = 'xyz'")
    with pytest.raises(ConfigError) as caught:
        make_plan(
            pipeline(tmp_path, connector("a", "Raising", *lines[:2], '"batch.size" = 3'), worker),
            OPTIONS,
        )
    assert "no such table" in str(caught.value)
    assert "open-sesame" not in str(caught.value)
    plan = make_plan(pipeline(tmp_path, connector("a", "Counting", *lines[:2]), worker), OPTIONS)
    assert "open-sesame" in plan.secrets
    assert all(line.secrets == plan.secrets for line in plan.lines)


def test_unknown_keys_of_properties_files_are_warned_about_as_in_kafka_connect(tmp_path: Path) -> None:
    worker, source_file = tmp_path / "worker.properties", tmp_path / "source.properties"
    worker.write_text(
        "bootstrap.servers=localhost:1\nkey.converter=org.apache.kafka.connect.storage.StringConverter\n"
        "value.converter=org.apache.kafka.connect.storage.StringConverter\nheader.converter=StringConverter\n"
        f"offset.storage.file.filename={tmp_path / 'connect.offsets'}\n"
    )
    source_file.write_text(f"name=f\nconnector.class=FileStreamSource\ntopic=a\nfile={worker}\ntask.max=1\n")
    plan = make_plan(load([worker, source_file]), OPTIONS)
    assert plan.store == str(tmp_path / "connect.offsets.millrace.db")
    assert any('unknown key "task.max"; did you mean "tasks.max"?' in warning for warning in plan.warnings)
    assert plan.lines[0].task_path == "connectors.file.source:FileStreamSourceTask"


def test_a_ring_grows_with_the_largest_record_and_says_so(tmp_path: Path) -> None:
    lines = ("topic = 'a'", '"producer.override.max.request.size" = 20000000')
    plan = make_plan(pipeline(tmp_path, connector("a", "Counting", *lines)), OPTIONS)
    (line,) = plan.lines
    assert line.record_bytes_max == 20_000_000
    assert line.ring_bytes == ring_bytes_for(8 * 1024 * 1024, 20_000_000) > 80_000_000
    assert any("ring.bytes=8388608 is less than 4 records" in warning for warning in plan.warnings)


@pytest.mark.parametrize("record_bytes", [1, 1000, 1_048_576, 20_000_001])
def test_a_ring_planned_for_a_record_takes_the_frame_of_that_record(record_bytes: int) -> None:
    frame_bytes = record_bytes + framing.OVERHEAD_BYTES + framing.RECORD_OVERHEAD_BYTES
    assert largest_frame_bytes(ring_bytes_for(0, record_bytes)) >= frame_bytes


def test_who_makes_a_dead_letter_topic_has_the_settings_of_admin_clients(tmp_path: Path) -> None:
    lines = ("topics = 'a'", '"admin.override.bootstrap.servers" = "other:2"')
    worker = WORKER + '"admin.client.id" = "maker"\n'
    told = "admin.override.bootstrap.servers has no effect: this connector has no admin"
    without = make_plan(pipeline(tmp_path, connector("a", "Writing", *lines)), OPTIONS)
    assert any(told in warning for warning in without.warnings)
    dead = '"errors.deadletterqueue.topic.name" = "dead"'
    plan = make_plan(pipeline(tmp_path, connector("a", "Writing", *lines, dead), worker), OPTIONS)
    letters = plan.lines[0].errors.dead_letters
    assert letters is not None
    assert (letters.admin["bootstrap.servers"], letters.admin["client.id"]) == ("other:2", "maker")
    assert letters.kafka["bootstrap.servers"] == "localhost:1"
    assert not any("has no effect" in warning for warning in plan.warnings)


def test_what_is_paused_is_checked_and_has_no_lines(tmp_path: Path) -> None:
    file = tmp_path / "source.json"
    worker = tmp_path / "worker.toml"
    worker.write_text(WORKER)
    config = {"connector.class": f"{PLUGINS}:Raising", "topic": "a"}
    file.write_bytes(msgspec.json.encode({"name": "a", "initial_state": "PAUSED", "config": config}))
    plan = make_plan(load([worker, file]), OPTIONS)
    assert plan.lines == ()
    assert any("initial_state is PAUSED" in warning for warning in plan.warnings)


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    options = PlanOptions(overrides={"metrics.port": "9100", "bootstrap.servers": "other:1234"})
    plan = make_plan(pipeline(tmp_path, connector("a", "Counting", "topic = 'a'")), options)
    assert plan.worker.metrics_port == 9100
    assert plan.lines[0].kafka["bootstrap.servers"] == "other:1234"


def test_member_ids_are_the_same_in_every_run_on_a_store_and_differ_between_stores(tmp_path: Path) -> None:
    def member(store: str) -> str:
        worker = WORKER + f'"offset.storage.file.filename" = "{tmp_path / store}"\n'
        plan = make_plan(
            pipeline(tmp_path, connector("a", "Writing", "topics = 'a'"), worker), PlanOptions(is_run=True)
        )
        return str(plan.lines[0].kafka["group.instance.id"])

    assert member("one") == member("one")
    assert member("one") != member("two")


def test_a_plan_that_is_only_looked_at_makes_no_store(tmp_path: Path) -> None:
    make_plan(pipeline(tmp_path, connector("a", "Writing", "topics = 'a'")), PlanOptions())
    assert not list(tmp_path.glob("*.millrace.db*"))


def test_a_store_that_cannot_be_made_is_a_problem_of_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    worker = WORKER + f'"offset.storage.file.filename" = "{tmp_path}/file/offsets"\n'
    files = pipeline(tmp_path, connector("a", "Writing", "topics = 'a'"), worker)
    with pytest.raises(ConfigError) as refused:
        make_plan(files, PlanOptions(is_run=True))
    assert [problem.key for problem in refused.value.problems] == ["offset.storage.file.filename"]


def test_a_plan_made_in_a_probe_is_the_plan(tmp_path: Path) -> None:
    files = pipeline(tmp_path, connector("a", "Printing", "topic = 'a'", '"tasks.max" = 2'))
    assert prepare(files, OPTIONS, asks_kafka=False).lines == make_plan(files, OPTIONS).lines


def test_a_plugin_that_hangs_is_named_with_what_it_was_asked(tmp_path: Path) -> None:
    files = pipeline(tmp_path, connector("slow", "Hanging", "topic = 'a'"), WORKER + '"probe.timeout.ms" = 200\n')
    with pytest.raises(ProbeError, match=r"connector slow: task_configs: no answer within 0.2 s \(probe.timeout.ms\)"):
        prepare(files, OPTIONS, asks_kafka=False)


def test_a_plugin_that_exits_is_named_with_what_it_was_asked(tmp_path: Path) -> None:
    files = pipeline(tmp_path, connector("gone", "Exiting", "topic = 'a'"))
    with pytest.raises(ProbeError, match="connector gone: start: its process left with exit code 0"):
        prepare(files, OPTIONS, asks_kafka=False)


def test_brokers_that_do_not_answer_are_told_with_connector_key_and_value(tmp_path: Path) -> None:
    files = pipeline(tmp_path, connector("a", "Counting", "topic = 'a'"), WORKER + '"startup.timeout.ms" = 300\n')
    expected = re.escape(f"{tmp_path / 'pipeline.toml'}: connector a: bootstrap.servers=localhost:1: no broker answers")
    with pytest.raises(UnreachableError, match=f"{expected} within 0.3 s"):
        prepare(files, OPTIONS, asks_kafka=True)


def test_a_line_names_its_plugin_as_people_do(counting: Plan) -> None:
    line: LineSpec = counting.lines[0]
    assert line.plugin == f"{PLUGINS}:Counting"


MEMORY = WORKER + '"worker.memory.max" = {}\n'
TWO = connector("numbers", "Counting", "topic = 'a'") + connector("out", "Writing", "topics = ['a']")


def test_lines_are_made_small_enough_for_the_memory_that_the_worker_may_take(tmp_path: Path) -> None:
    plain = make_plan(pipeline(tmp_path, TWO), OPTIONS)
    plan = make_plan(pipeline(tmp_path, TWO, MEMORY.format(210_000_000)), OPTIONS)
    assert memory.total_bytes(plan.lines, has_metrics=False) <= 210_000_000
    assert memory.total_bytes(plain.lines, has_metrics=False) > 210_000_000
    assert all(line.ring_bytes < 8 * 1024 * 1024 for line in plan.lines)


def test_a_bound_that_is_too_small_names_what_would_be_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan(pipeline(tmp_path, TWO, MEMORY.format(1000)), OPTIONS)
    (complaint,) = complaints(caught)
    assert "worker.memory.max" in complaint
    least = int(complaint.split("expected at least ")[1].split(":")[0])
    plan = make_plan(pipeline(tmp_path, TWO, MEMORY.format(least)), OPTIONS)
    assert memory.total_bytes(plan.lines, has_metrics=False) == least


def test_what_a_user_sets_is_kept_and_a_bound_that_it_breaks_is_told(tmp_path: Path) -> None:
    large = TWO + '"ring.bytes" = 134217728\n'
    with pytest.raises(ConfigError) as caught:
        make_plan(pipeline(tmp_path, large, MEMORY.format(250_000_000)), OPTIONS)
    assert "worker.memory.max" in complaints(caught)[0]
    plan = make_plan(pipeline(tmp_path, large, MEMORY.format(900_000_000)), OPTIONS)
    assert plan.lines[-1].ring_bytes == 134_217_728


def test_a_sinks_lease_is_shorter_than_its_session_by_a_heartbeat_that_is_late(tmp_path: Path) -> None:
    times = ['"consumer.override.session.timeout.ms" = 6000', '"consumer.override.heartbeat.interval.ms" = 1500']
    both = connector("numbers", "Counting", "topic = 'a'") + connector("out", "Writing", "topics = ['a']", *times)
    source, sink = make_plan(pipeline(tmp_path, both), OPTIONS).lines
    assert (source.timing.lease, sink.timing.lease) == (45.0, 4.0)
    shorter = make_plan(pipeline(tmp_path, both, f'{WORKER}"task.lease.ms" = 2000\n'), OPTIONS)
    assert [line.timing.lease for line in shorter.lines] == [2.0, 2.0]


def test_members_hear_sooner_of_others_where_somebody_waits_for_the_end(tmp_path: Path) -> None:
    sink = pipeline(tmp_path, connector("out", "Writing", "topics = ['a']"))
    lines = [make_plan(sink, PlanOptions(worker_id="w1", is_bulk=is_bulk)).lines[0] for is_bulk in (True, False)]
    assert [line.kafka["heartbeat.interval.ms"] for line in lines] == [500, 3000]


def test_whoever_asks_what_is_wrong_hears_of_the_keys_of_rest_and_a_run_does_not(tmp_path: Path) -> None:
    worker = (
        f'{WORKER}"listeners" = "http://:8083"\n"access.control.allow.origin" = "[a"\n"rest.access.file" = "absent"\n'
    )
    asked = pipeline(tmp_path, connector("one", "Counting", "topic = 'a'"), worker)
    with pytest.raises(ConfigError) as caught:
        make_plan(asked, OPTIONS)
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"access.control.allow.origin", "rest.access.file"}
    options = PlanOptions(worker_id="w1", is_run=True)
    assert len(make_plan(asked, options).lines) == 1


def test_files_are_run_though_a_system_is_away_and_not_good_for_who_validates_them(tmp_path: Path) -> None:
    files = pipeline(tmp_path, connector("numbers", "ValidatingAway", "topic = 'a'"))
    plan = make_plan(files, PlanOptions(worker_id="w1", is_run=True))
    assert len(plan.lines) == 1
    assert "connector numbers: it could not be checked whole: the database is away" in plan.warnings
    with pytest.raises(ConfigError, match="connector numbers: validate: the database is away"):
        make_plan(files, OPTIONS)
