"""A disk that is full or may not be written is named and loses nothing: a sink fails by it, a store is waited for.

The small filesystem is a tmpfs that is mounted for a test, which takes root; without it the tests are skipped. The one
that turns read-only is an ext4 in a file, which Linux lets fail on request.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import wait
from tests.harness.engine import Millrace, pipeline_toml
from tests.harness.kafka import KafkaServer, UserKafka

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.slow]

Kafka = KafkaServer | UserKafka
TEXT = "org.apache.kafka.connect.storage.StringConverter"
DISK_BYTES = 4 * 1024 * 1024
RECORDS = 20_000
SIZE = 500
WAITS = "the offset store cannot be written"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of DISK_BYTES."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "millrace-test", str(folder)]
    if os.geteuid() != 0:
        pytest.skip("mounts a small tmpfs, which takes root")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounts a small tmpfs, which this machine refuses: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ext4:
    """A filesystem in a file; from `fail` on it is read-only, until it is repaired."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image

    def make(self) -> None:
        with self._image.open("wb") as file:
            file.truncate(4 * DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", str(self._image)], check=True)
        self._mount()

    def fail(self) -> None:
        """As after a bad block of its device."""
        device = Path(f"/sys/dev/block/{os.major(self._device())}:{os.minor(self._device())}").resolve().name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")

    def repair(self) -> None:
        """No process may have a file open there."""
        subprocess.run(["umount", str(self.folder)], check=True)
        subprocess.run(["e2fsck", "-fy", str(self._image)], check=False, capture_output=True)
        self._mount()

    def _device(self) -> int:
        return self.folder.stat().st_dev

    def _mount(self) -> None:
        options = "loop,errors=remount-ro"
        subprocess.run(["mount", "-o", options, str(self._image), str(self.folder)], check=True)


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Ext4]:
    """A filesystem that can turn read-only while files are open there."""
    folder = tmp_path / "failing"
    folder.mkdir()
    disk = Ext4(tmp_path / "failing.ext4", folder)
    if os.geteuid() != 0:
        pytest.skip("mounts a filesystem, which takes root")
    try:
        disk.make()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounts an ext4 in a file, which this machine refuses: {error}")
    yield disk
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int = 0) -> Path:
    """Take all room of a filesystem but so much."""
    hog = folder / "hog"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with contextlib.suppress(OSError):  # somebody else has written meanwhile: it is as full as that
        hog.write_bytes(bytes(max(0, free - leave_bytes)))
    return hog


def pipeline(kafka: Kafka, topic: str, folder: Path, out: Path, *, rate: float = 0, store: Path | None = None) -> None:
    worker = {
        "bootstrap.servers": kafka.bootstrap,
        "key.converter": TEXT,
        "value.converter": TEXT,
        "offset.flush.interval.ms": 100,
        **({} if store is None else {"offset.storage.file.filename": store}),
    }
    source = {
        "connector.class": "Generator",
        "topic": topic,
        "records": RECORDS,
        "rate": rate,
        "format": "text",
        "size": SIZE,
        "partitions": 4,
    }
    sink = {"connector.class": "FileStreamSink", "topics": topic, "file": out}
    # The group is the topic's own: these tests share a broker, but no sink.
    (folder / "pipeline.toml").write_text(pipeline_toml(worker, {"numbers": source, f"copy-{topic}": sink}))


def lines(out: Path) -> list[bytes]:
    return out.read_bytes().splitlines(keepends=True) if out.exists() else []


def check_lines(found: list[bytes], bound: int) -> None:
    """All numbers are there, and every line is whole."""
    assert all(len(line) == SIZE + 1 and line.endswith(b"\n") for line in found), "a torn line"
    numbers = [int(line[:12]) for line in found]
    assert set(numbers) == set(range(RECORDS))
    assert len(numbers) - RECORDS <= bound


def run(folder: Path, code: int) -> Millrace:
    with Millrace("run", "pipeline.toml", "--json", folder=folder) as millrace:
        assert millrace.wait() == code, millrace.stderr
    return millrace


def test_a_sink_whose_disk_is_full_fails_with_whole_lines_and_goes_on_when_there_is_room(
    kafka: Kafka, topic: str, tmp_path: Path, small_disk: Path
) -> None:
    out = small_disk / "out.txt"
    pipeline(kafka, topic, tmp_path, out)
    millrace = run(tmp_path, code=1)
    report = millrace.report()
    (task,) = report["connectors"][1]["tasks"]
    assert (task["state"], report["connectors"][0]["state"]) == ("FAILED", "DONE")
    assert str(out) in task["reason"]
    assert "No space left on device" in task["reason"]
    assert "Traceback" not in millrace.stderr
    found = lines(out)
    assert 0 < len(found) < RECORDS
    assert all(len(line) == SIZE + 1 and line.endswith(b"\n") for line in found), "a torn line"
    done = task["records"]
    assert done <= len(found), "more was committed than is in the file"
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    second = run(tmp_path, code=0)
    check_lines(lines(out), second.report()["totals"]["repeated_at_most"])


def test_a_store_that_cannot_be_written_any_more_holds_its_source_back_until_there_is_room(
    kafka: Kafka, topic: str, tmp_path: Path, small_disk: Path
) -> None:
    out = tmp_path / "out.txt"
    pipeline(kafka, topic, tmp_path, out, rate=RECORDS / 4, store=small_disk / "offsets")
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as millrace:
        wait.until(lambda: len(lines(out)) > 100, "lines")
        hog = fill(small_disk)
        wait.until(lambda: WAITS in millrace.stderr, "a word on what is waited for")
        hog.unlink()
        assert millrace.wait() == 0, millrace.stderr
    report = millrace.report()
    assert report["totals"]["restarts"] == 0
    assert report["totals"]["records_in"] == RECORDS
    assert millrace.stderr.count("Traceback") == 0, millrace.stderr
    check_lines(lines(out), report["totals"]["repeated_at_most"])


@pytest.mark.long
def test_a_run_that_is_stopped_while_its_store_is_full_says_so_and_the_next_does_the_rest(
    kafka: Kafka, topic: str, tmp_path: Path, small_disk: Path
) -> None:
    out = tmp_path / "out.txt"
    pipeline(kafka, topic, tmp_path, out, rate=RECORDS / 4, store=small_disk / "offsets")
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as millrace:
        wait.until(lambda: len(lines(out)) > 100, "lines")
        hog = fill(small_disk)
        wait.until(lambda: WAITS in millrace.stderr, "a word on what is waited for")
        millrace.signal(signal.SIGTERM)
        assert millrace.wait() == 143, millrace.stderr
    (task,) = millrace.report()["connectors"][0]["tasks"]
    assert (task["state"], task["waits_for"]) == ("STOPPED", "store")
    hog.unlink()
    second = run(tmp_path, code=0)
    check_lines(lines(out), second.report()["totals"]["repeated_at_most"])


@pytest.mark.long
def test_a_store_whose_disk_turns_read_only_is_waited_for_by_name_and_the_next_run_does_the_rest(
    kafka: Kafka, topic: str, tmp_path: Path, failing_disk: Ext4
) -> None:
    out = tmp_path / "out.txt"
    pipeline(kafka, topic, tmp_path, out, rate=RECORDS / 4, store=failing_disk.folder / "offsets")
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as millrace:
        wait.until(lambda: len(lines(out)) > 100, "lines")
        failing_disk.fail()
        wait.until(lambda: WAITS in millrace.stderr, "a word on what is waited for")
        millrace.signal(signal.SIGTERM)
        assert millrace.wait() == 143, millrace.stderr
    first = millrace.report()
    source, sink = (connector["tasks"][0] for connector in first["connectors"])
    assert (source["state"], source["waits_for"]) == ("STOPPED", "store")
    assert source["restarts"] == sink["restarts"] == 0
    assert "Traceback" not in millrace.stderr
    failing_disk.repair()
    second = run(tmp_path, code=0)
    # What Kafka has and the store has not is sent again, which the first run could say of itself.
    check_lines(lines(out), sum(one["totals"]["repeated_at_most"] for one in (first, second.report())))


def test_a_run_on_a_full_disk_says_so_before_anything_starts(
    kafka: Kafka, topic: str, tmp_path: Path, small_disk: Path
) -> None:
    out = tmp_path / "out.txt"
    pipeline(kafka, topic, tmp_path, out, store=small_disk / "offsets")
    hog = fill(small_disk)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as millrace:
        assert millrace.wait() == 2, millrace.stderr
    assert str(small_disk / "offsets") in millrace.stderr, millrace.stderr
    assert "full" in millrace.stderr or "No space left" in millrace.stderr
    assert "Traceback" not in millrace.stderr
    hog.unlink()
    second = run(tmp_path, code=0)
    check_lines(lines(out), second.report()["totals"]["repeated_at_most"])


def test_a_place_that_may_not_be_written_is_named(kafka: Kafka, topic: str, tmp_path: Path, small_disk: Path) -> None:
    pipeline(kafka, topic, tmp_path, tmp_path / "out.txt", store=small_disk / "offsets")
    # Not by permissions: root may write everywhere but on what is mounted read-only.
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Millrace("run", "pipeline.toml", "--json", folder=tmp_path) as millrace:
        assert millrace.wait() == 2, millrace.stderr
    assert str(small_disk / "offsets") in millrace.stderr
    assert "offset.storage.file.filename" in millrace.stderr
    assert "Read-only file system" in millrace.stderr
    assert "Traceback" not in millrace.stderr
