"""A real schema registry, Apicurio, which speaks Confluent's REST API; 5 s from start to ready.

    with SchemaRegistry(folder) as registry:
        registry.url               "http://127.0.0.1:45123/apis/ccompat/v7"
        registry.port              for a proxy before it

Its Quarkus application comes by Maven (109 MB, once). Unlike Confluent's, it takes any schema for compatible until it
is told otherwise (`PUT /config`).

Used by: the fixture `registry` (tests/conftest.py), bench.line, bench.stages.
"""

from __future__ import annotations

import tarfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from converters.registry.converter import RegistryConverter
from tests.harness.jars import QUICK, cached, fetch_by_maven, java
from tests.harness.server import Server, UnavailableError, answers, free_ports

__all__ = ["REGISTRY_VERSION", "SchemaRegistry", "made_for"]

REGISTRY_VERSION = "3.0.9"
ASK_S = 5.0
HEAP = "384m"
Made = TypeVar("Made", bound=RegistryConverter)


class SchemaRegistry(Server):
    """A registry of ours over `folder`."""

    name = "registry"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self._management_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def command(self) -> Sequence[str]:
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": self._management_port,
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{self.folder / 'schemas'}",
            "java.util.logging.manager": "org.jboss.logmanager.LogManager",
        }
        options = [f"-Xmx{HEAP}", *QUICK]
        properties = [f"-D{key}={value}" for key, value in settings.items()]
        return [java("a real schema registry"), *options, *properties, "-jar", str(_runner())]

    def is_ready(self) -> bool:
        return answers(lambda: urllib.request.urlopen(f"{self.url}/subjects", timeout=ASK_S).close(), OSError)


def made_for(kind: type[Made], url: str, *, is_key: bool = False, **keys: object) -> Made:
    """A converter that asks the registry at an address. keys: with underscores for the dots."""
    made = kind()
    config: Any = kind.config
    properties = {name.replace("_", "."): str(value) for name, value in keys.items()}
    made.configure(config.parse({"schema.registry.url": url, **properties}), is_key=is_key)
    return made


def _runner() -> Path:
    """The application's jar."""
    artifact = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"

    def fetch(folder: Path) -> None:
        fetch_by_maven("the schema registry", folder, "dependency:copy", f"-Dartifact={artifact}")
        for packed in folder.glob("*.tar.gz"):
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="data")
            packed.unlink()

    folder = cached(f"registry-{REGISTRY_VERSION}", fetch)
    found = [*folder.glob("*-runner.jar"), *folder.glob("quarkus-run.jar")]
    if not found:
        raise UnavailableError(f"no runner in {folder}: {[one.name for one in folder.iterdir()]}")
    return found[0]
