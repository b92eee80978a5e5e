"""A real Prometheus that scrapes one target every second; 0.2 s from start to ready.

    with Prometheus(folder, "127.0.0.1:8083") as prometheus:
        prometheus.wait_for("millrace_sink_records_total > 0")

Its first scrape may come 5 s after it is ready, whatever the interval: wait for values, never for a time.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tests.harness import wait
from tests.harness.server import Server, answers, free_ports, require

__all__ = ["Prometheus", "Sample"]

ASK_S = 10.0
VALUE_S = 30.0
CONFIGURATION = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: millrace
    metrics_path: {path}
    static_configs: [{{targets: ["{target}"]}}]
"""


class Sample(Struct, frozen=True):
    """One series at one moment."""

    labels: dict[str, str]
    value: float


class Prometheus(Server):
    """Prometheus over `folder`, scraping `target` ("host:port")."""

    name = "prometheus"

    def __init__(self, folder: Path, target: str, *, path: str = "/metrics") -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._configuration = CONFIGURATION.format(target=target, path=path)

    def command(self) -> Sequence[str]:
        configuration = self.folder / "prometheus.yml"
        configuration.write_text(self._configuration)
        return [
            installed("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--storage.tsdb.retention.time=1h",
            "--log.level=warn",
        ]

    def is_ready(self) -> bool:
        return answers(lambda: urllib.request.urlopen(f"{self.url}/-/ready", timeout=ASK_S).close(), OSError)

    def query(self, expression: str) -> list[Sample]:
        """The instant vector of a PromQL expression now."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=ASK_S) as answer:
            found = json.load(answer)["data"]["result"]
        return [Sample(labels=series["metric"], value=float(series["value"][1])) for series in found]

    def wait_for(self, expression: str, *, timeout_s: float = VALUE_S) -> list[Sample]:
        """The first answer of an expression that is not empty."""
        return wait.until(lambda: self.query(expression), f"answer to {expression!r}", timeout_s=timeout_s)


def installed(program: str) -> str:
    """The path of a program of Prometheus. Raises UnavailableError when it is not there."""
    return require(program, "a check by a real Prometheus (Debian's package prometheus)")
