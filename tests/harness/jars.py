"""The jars of Apache Kafka 4.3.1 and of its Connect, fetched once by Maven into the user's cache.

    ~/.cache/millrace/kafka-4.3.1/*.jar      97 jars, 55 MB; MILLRACE_CACHE is another root than ~/.cache/millrace
    ~/.cache/millrace/kafka-4.3.1/.complete  written last: without it the folder is filled again

A lock beside the folder lets several test runs start at once: one fetches, the others wait.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from pathlib import Path

from tests.harness.server import UnavailableError, require

__all__ = ["KAFKA_VERSION", "java_command", "kafka_jars"]

KAFKA_VERSION = "4.3.1"
JAVA_VERSION_MIN = 17
FETCH_S = 600.0
POM = Path(__file__).with_name("pom.xml")


def kafka_jars() -> Path:
    """The folder that holds the jars, complete. The first call on a machine downloads them (6 s to minutes).

    Raises UnavailableError without Maven or when the download fails.
    """
    root = Path(os.environ.get("MILLRACE_CACHE") or Path.home() / ".cache" / "millrace")
    folder = root / f"kafka-{KAFKA_VERSION}"
    complete = folder / ".complete"
    if complete.exists():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"kafka-{KAFKA_VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            _fetch(folder)
            complete.touch()
    return folder


def java_command(main_class: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """A command that runs a main class over the jars. Raises UnavailableError without Java 17 or the jars."""
    java = require("java", "a real Kafka")
    _check_version(java)
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [java, *options, "-cp", f"{kafka_jars()}/*", quiet, main_class, *arguments]


def _fetch(folder: Path) -> None:
    maven = require("mvn", "fetching Kafka's jars")
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=FETCH_S)
    if done.returncode != 0:
        raise UnavailableError(f"Maven could not fetch Kafka's jars:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")


def _check_version(java: str) -> None:
    told = subprocess.run([java, "-version"], check=False, capture_output=True, text=True, timeout=FETCH_S).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        raise UnavailableError(f"a real Kafka needs Java {JAVA_VERSION_MIN}; `java -version` says: {told.strip()}")
