"""Certificates for tests, in PEM, by the `openssl` program: an authority, and what it has signed for 127.0.0.1.

    authority = Authority(folder)
    authority.file                            what clients trust
    authority.issue(path, "broker", days=1)   key and certificate in one file, the form Kafka's PEM key store takes

A file is replaced at once, so that whoever reads it while it is renewed has the old one or the new one.

Used by: secure.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.harness.server import require

__all__ = ["Authority"]

OPENSSL_S = 60.0
NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost"
#: Made in a millisecond, where RSA takes up to a second.
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority over a folder. Raises UnavailableError without the `openssl` program."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = folder / f"{name}.key"
        self.file = folder / f"{name}.pem"
        _openssl("req", "-x509", *KEY, "-keyout", self._key, "-out", self.file, "-days", "2", "-subj", f"/CN={name}")

    def issue(self, path: Path, name: str, *, days: int = 1) -> Path:
        """Write a new key and its certificate, valid from now for so many days (less than 0: already over)."""
        key, request, signed = (path.with_name(f"{path.name}.{part}") for part in ("key", "request", "signed"))
        extensions = path.with_name(f"{path.name}.extensions")
        extensions.write_text(NAMES)
        _openssl("req", *KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial"),
            *("-out", signed, "-days", str(days), "-extfile", extensions),
        )
        both = path.with_name(f"{path.name}.new")
        both.write_bytes(key.read_bytes() + signed.read_bytes())
        both.replace(path)
        return path


def _openssl(*arguments: str | Path) -> None:
    command = [require("openssl", "TLS"), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=OPENSSL_S)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
