"""The jars of Apache Kafka 4.3.1 and of its Connect, fetched once by Maven into the user's cache.

    ~/.cache/millrace/kafka-4.3.1/*.jar      97 jars, 55 MB; MILLRACE_CACHE is another root than ~/.cache/millrace
    ~/.cache/millrace/kafka-4.3.1/.complete  written last: without it the folder is filled again

A lock beside the folder lets several test runs start at once: one fetches, the others wait. The same cache holds other
servers that Maven fetches (registry.py).
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.harness.server import UnavailableError, require

__all__ = [
    "KAFKA_VERSION",
    "QUICK",
    "RUN_OPTIONS",
    "cached",
    "fetch_by_maven",
    "java",
    "java_command",
    "kafka_jars",
]

KAFKA_VERSION = "4.3.1"
JAVA_VERSION_MIN = 17
FETCH_S = 600.0
#: A server that lives for a minute is ready sooner with less of a compiler.
QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
POM = Path(__file__).with_name("pom.xml")
#: What bin/kafka-run-class.sh gives every server; the start scripts add the heap.
RUN_OPTIONS = (
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
)


def kafka_jars() -> Path:
    """The folder that holds the jars, complete. The first call on a machine downloads them (6 s to minutes).

    Raises UnavailableError without Maven or when the download fails.
    """
    goal = ("-f", str(POM), "dependency:copy-dependencies")
    return cached(f"kafka-{KAFKA_VERSION}", lambda folder: fetch_by_maven("Kafka's jars", folder, *goal))


def cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """A folder of the user's cache, complete: filled by `fetch` where it is not, once of all who ask at a time."""
    root = Path(os.environ.get("MILLRACE_CACHE") or Path.home() / ".cache" / "millrace")
    folder = root / name
    complete = folder / ".complete"
    if complete.exists():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            fetch(folder)
            complete.touch()
    return folder


def fetch_by_maven(what: str, folder: Path, *goal: str) -> None:
    """Have Maven put something into a folder. Raises UnavailableError without Maven or when it fails."""
    maven = require("mvn", f"fetching {what}")
    command = [maven, "-q", "-B", *goal, f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=FETCH_S)
    if done.returncode != 0:
        raise UnavailableError(f"Maven could not fetch {what}:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")


def java_command(main_class: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """A command that runs a main class over the jars. Raises UnavailableError without Java 17 or the jars."""
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [java("a real Kafka"), *options, "-cp", f"{kafka_jars()}/*", quiet, main_class, *arguments]


def java(what_for: str) -> str:
    """The path of Java, of a version that is new enough. Raises UnavailableError."""
    path = require("java", what_for)
    _check_version(path)
    return path


@functools.cache  # a third of a second each time
def _check_version(java: str) -> None:
    told = subprocess.run([java, "-version"], check=False, capture_output=True, text=True, timeout=FETCH_S).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        raise UnavailableError(f"a real Kafka needs Java {JAVA_VERSION_MIN}; `java -version` says: {told.strip()}")
