"""What cannot be the store is refused by each command, with what to do, before a broker is asked; not a byte changes.

A store that another worker has, and one that may not be written or has no room: test_processes.py, test_disk.py. The
single looks at a file: tests/unit/offsets/test_check.py.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from engine.offsets.store import FORMAT, OffsetStore, encode_part
from tests.harness.engine import Millrace
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
#: A port of nobody: whoever asks a broker first ends with another code.
NOWHERE = "127.0.0.1:1"
COMMANDS = [
    pytest.param(("run", "worker.properties", "source.properties"), id="run"),
    pytest.param(("standalone", "worker.properties", "source.properties"), id="standalone"),
]
#: How Java writes its file of offsets: a serialized HashMap.
JAVA = bytes.fromhex("aced0005737200116a6176612e7574696c2e486173684d6170") + bytes(64)


def files(bootstrap: str, folder: Path, offsets: Path, topic: str = "lines") -> None:
    """Kafka Connect's own files of a file source."""
    (folder / "in.txt").write_text("one\ntwo\n")
    (folder / "worker.properties").write_text(
        f"bootstrap.servers={bootstrap}\nkey.converter={TEXT}\nvalue.converter={TEXT}\n"
        f"offset.storage.file.filename={offsets}\n"
    )
    (folder / "source.properties").write_text(
        f"name=lines\nconnector.class=FileStreamSource\nfile={folder}/in.txt\ntopic={topic}\n"
    )


def used(path: Path) -> None:
    """A store that has been written."""
    store = OffsetStore(path)
    store.write("lines", [(encode_part({"file": f"{number}"}), b'{"position":1}') for number in range(500)])
    store.close()


def damage(path: Path) -> None:
    used(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4200] + b"\xff" * 8000 + whole[12_200:])


def raise_format(path: Path) -> None:
    used(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")


def put_javas_file(path: Path) -> None:
    path.write_bytes(JAVA)


def put_folder(path: Path) -> None:
    path.mkdir()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but what SQLite makes to read one."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (damage, ("is damaged", "put a copy of the file back", "or name another file")),
        (raise_format, (f"is of format {FORMAT + 1}", "use the later one", "or name another file")),
        (put_javas_file, ("is damaged", "was left as it is", "name another file")),
        (put_folder, ("Is a directory", "name a place that can be written")),
    ],
    ids=["damaged", "newer", "java", "folder"],
)
def test_what_cannot_be_the_store_is_refused_by_each_command_and_left_as_it_is(
    spoil: Callable[[Path], None], told: tuple[str, ...], command: tuple[str, ...], tmp_path: Path
) -> None:
    place = tmp_path / "kept"
    place.mkdir()
    files(NOWHERE, tmp_path, place / "offsets")
    spoil(place / "offsets.millrace.db")
    before = contents(place)
    with Millrace(*command, folder=tmp_path) as run:
        assert run.wait() == 2, run.stderr
    assert "offset.storage.file.filename" in run.stderr
    assert all(words in run.stderr for words in told), run.stderr
    assert "Traceback" not in run.stderr
    assert contents(place) == before


@pytest.mark.kafka
def test_javas_file_of_offsets_stays_as_it_is_and_a_folder_that_is_missing_is_made(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    place = tmp_path / "not" / "there" / "yet"
    files(kafka.bootstrap, tmp_path, place / "offsets", topic)
    with Millrace("run", "worker.properties", "source.properties", "--json", folder=tmp_path) as first:
        assert first.wait() == 0, first.stderr
    assert first.report()["totals"]["records_in"] == 2
    (place / "offsets").write_bytes(JAVA)
    (tmp_path / "in.txt").write_text("one\ntwo\nthree\n")
    with Millrace("run", "worker.properties", "source.properties", "--json", folder=tmp_path) as second:
        assert second.wait() == 0, second.stderr
    assert json.loads(second.stdout)["totals"]["records_in"] == 1, "it goes on where the first run has ended"
    assert (place / "offsets").read_bytes() == JAVA
