"""Commands about connectors ask what they say, print stable tables and valid JSON, and end with the stated code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.commands.connectors import _reason
from engine.exits import ExitCode
from tests.harness.certificates import Authority
from tests.harness.command import run
from tests.harness.fake_connect import FakeConnect
from tests.harness.server import free_ports

CONFIG = {"connector.class": "Generator", "topic": "orders"}


@pytest.fixture
def connect() -> Iterator[FakeConnect]:
    with FakeConnect() as made:
        made.add("orders", CONFIG, tasks=("RUNNING", "FAILED"))
        made.add("a b/c%", CONFIG, state="PAUSED")
        yield made


def test_connectors_are_listed_with_their_states_and_tasks(connect: FakeConnect) -> None:
    done = run("connectors", "--url", connect.url)
    assert done.code == ExitCode.OK
    assert done.lines == [
        "NAME    TYPE    STATE    TASKS           CLASS",
        "a b/c%  source  PAUSED   0/0             Generator",
        "orders  source  RUNNING  1/2 (1 FAILED)  Generator",
    ]


def test_a_status_names_every_task_and_why_it_failed_and_ends_with_1_when_one_has(connect: FakeConnect) -> None:
    done = run("status", "--url", connect.url)
    assert done.code == ExitCode.FAILED
    assert done.lines == [
        "NAME    TASK  STATE    WORKER         REASON",
        "a b/c%  -     PAUSED   10.0.0.5:8083  -",
        "orders  -     RUNNING  10.0.0.5:8083  -",
        "orders  0     RUNNING  10.0.0.5:8083  -",
        "orders  1     FAILED   10.0.0.5:8083  it broke",
    ]
    assert run("status", "a b/c%", "--url", connect.url).code == ExitCode.OK


@pytest.mark.parametrize(
    "arguments",
    [
        ("connectors",),
        ("status",),
        ("status", "orders"),
        ("pause", "orders"),
        ("restart", "orders", "--failed"),
        ("config", "orders"),
        ("config", "orders", "rate=3"),
        ("offsets", "orders"),
        ("topics", "orders"),
        ("loggers",),
        ("loggers", "root"),
        ("plugins", "list"),
        ("plugins", "keys", "Generator"),
        ("delete", "orders"),
        ("delete", "nobody"),
    ],
)
def test_what_is_printed_for_machines_is_one_document(arguments: tuple[str, ...], connect: FakeConnect) -> None:
    done = run(*arguments, "--json", "--url", connect.url)
    assert done.json is not None


@pytest.mark.parametrize(("verb", "state"), [("pause", "PAUSED"), ("resume", "RUNNING"), ("stop", "STOPPED")])
def test_connectors_are_put_into_states_by_name_or_all_of_them(verb: str, state: str, connect: FakeConnect) -> None:
    assert run(verb, "a b/c%", "--url", connect.url).code == ExitCode.OK
    assert connect.states["a b/c%"][0] == state
    assert run(verb, "--all", "--url", connect.url).code == ExitCode.OK
    assert [states[0] for states in connect.states.values()] == [state, state]


@pytest.mark.parametrize("arguments", [(), ("orders", "--all")])
def test_nothing_is_done_unless_it_is_clear_to_whom(arguments: tuple[str, ...], connect: FakeConnect) -> None:
    done = run("pause", *arguments, "--url", connect.url)
    assert done.code == ExitCode.USAGE
    assert "expected names of connectors, or --all instead" in done.err
    assert connect.asked == []


@pytest.mark.parametrize(
    ("options", "target", "says"),
    [
        ((), "/connectors/orders/restart", "orders: starts again, its tasks go on"),
        (
            ("--with-tasks",),
            "/connectors/orders/restart?includeTasks=true&onlyFailed=false",
            "orders: tasks 0, 1 start again",
        ),
        (("--failed",), "/connectors/orders/restart?includeTasks=true&onlyFailed=true", "orders: tasks 1 start again"),
        (("--task", "1"), "/connectors/orders/tasks/1/restart", "orders: task 1 starts again"),
    ],
)
def test_a_restart_is_as_wide_as_it_is_asked_to_be(
    options: tuple[str, ...], target: str, says: str, connect: FakeConnect
) -> None:
    done = run("restart", "orders", *options, "--url", connect.url)
    assert (done.code, done.lines) == (ExitCode.OK, [says])
    assert connect.asked == [("POST", target)]


def test_one_that_is_refused_does_not_keep_the_others_from_it(connect: FakeConnect) -> None:
    done = run("delete", "nobody", "orders", "--json", "--url", connect.url)
    assert done.code == ExitCode.FAILED
    assert done.json == {"done": ["orders"], "refused": {"nobody": "Connector nobody not found"}}
    assert "millrace: nobody: Connector nobody not found" in done.err
    assert list(connect.configs) == ["a b/c%"]


def test_a_worker_that_rebalances_is_asked_again(connect: FakeConnect) -> None:
    connect.rebalances = 1
    assert run("pause", "orders", "--url", connect.url).code == ExitCode.OK
    assert len(connect.asked) == 2


def test_one_that_is_not_there_is_named_with_what_to_look_at() -> None:
    (port,) = free_ports(1)
    done = run("status", "--url", f"http://anna:hunter2@127.0.0.1:{port}")
    assert done.code == ExitCode.UNREACHABLE
    assert f"http://127.0.0.1:{port}: nobody answers there" in done.err
    assert "--url, MILLRACE_URL" in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize(
    "url",
    ["localhost:8083", "ftp://x", "http://", "http://x:port", "http://[::1", "http://x:99999", "http://a:hunter2@x:y"],
)
def test_an_address_that_is_none_is_refused_before_anybody_is_asked(url: str) -> None:
    done = run("status", "--url", url)
    assert done.code == ExitCode.USAGE
    assert "expected http://HOST:PORT" in done.err
    assert "hunter2" not in done.err


def test_a_worker_that_wants_a_user_gets_it_from_options_or_variables(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    with FakeConnect(user="anna", password="hunter2") as connect:
        refused = run("status", "--url", connect.url)
        assert refused.code == ExitCode.FAILED
        assert "wants to know the user: give --user" in refused.err
        wrong = run("status", "--url", connect.url, "--user", "anna", environment={"MILLRACE_PASSWORD": "wrong"})
        assert "does not accept the user anna" in wrong.err
        file = ("--user", "anna", "--password-file", str(tmp_path / "password"))
        assert run("status", "--url", connect.url, *file).code == ExitCode.OK
        variables = {"MILLRACE_URL": connect.url, "MILLRACE_USER": "anna", "MILLRACE_PASSWORD": "hunter2"}
        assert run("status", environment=variables).code == ExitCode.OK


@pytest.mark.slow
def test_a_worker_s_certificate_is_looked_at_and_one_s_own_is_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.issue(tmp_path / "worker.both", "worker")
    own = authority.issue(tmp_path / "own.both", "anna")
    with FakeConnect(certificate=certificate) as connect:
        refused = run("status", "--url", connect.url)
        assert refused.code == ExitCode.UNREACHABLE
        assert "its certificate is not trusted" in refused.err
        assert "give its CA as --ca FILE" in refused.err
        assert run("status", "--url", connect.url, "--insecure").code == ExitCode.OK
        assert run("status", "--url", connect.url, "--ca", str(authority.file)).code == ExitCode.OK
        plain = run("status", "--url", connect.url.replace("https", "http"))
        assert (plain.code, "does it want https://?" in plain.err) == (ExitCode.UNREACHABLE, True)
    with FakeConnect(certificate=certificate, authority=authority.file) as connect:
        access = ("--url", connect.url, "--ca", str(authority.file))
        refused = run("status", *access)
        assert (refused.code, "give --cert and --key" in refused.err) == (ExitCode.UNREACHABLE, True)
        assert run("status", *access, "--cert", str(own)).code == ExitCode.OK


def test_a_worker_without_tls_is_told_from_one_that_is_not_trusted(connect: FakeConnect) -> None:
    done = run("status", "--url", connect.url.replace("http", "https"))
    assert (done.code, "try http://" in done.err) == (ExitCode.UNREACHABLE, True)


def test_why_a_task_of_millrace_does_not_go_on_is_shown() -> None:
    task = {"id": 0, "state": "RUNNING", "worker_id": "w"}
    assert _reason(task) == ""
    assert _reason({**task, "millrace": {"last_cause": "it broke\nhere"}}) == "it broke"
    assert (
        _reason({**task, "millrace": {"last_cause": "it broke", "waits": {"reason": "no broker"}}})
        == "waits: no broker"
    )
    assert _reason({**task, "millrace": {"stalled": {"reason": "in poll"}}}) == "stalled: in poll"
    assert len(_reason({**task, "trace": "x" * 1000})) == 120
    refused = {"last_cause": "refused", "next_attempt_ms": 299_000}
    assert _reason({**task, "millrace": refused}) == "refused (again in 4 min 59 s)"


@pytest.mark.parametrize(("option", "text"), [("--ca", "--ca"), ("--cert", "--cert"), ("--password-file", "password")])
def test_a_file_that_is_not_there_is_named(option: str, text: str, tmp_path: Path) -> None:
    done = run("status", "--url", "https://127.0.0.1:1", option, str(tmp_path / "nothing"))
    assert done.code == ExitCode.USAGE
    assert text in done.err
    assert "No such file" in done.err
