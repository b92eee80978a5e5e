"""Passwords that are kept as hashes: made by `millrace password`, compared in constant time.

    scrypt$16384$8$1$SALT$HASH        salt and hash in base64; the numbers are scrypt's n, r and p

Used by: engine.config.access (reads), engine.control.access (compares), engine.launch (makes).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

from msgspec import Struct

__all__ = ["Hash", "hashed", "read_hash"]

#: About 16 MiB and a twentieth of a second for each try.
_N, _R, _P = 2**14, 8, 1
#: More would let a file of passwords take the memory of the process that compares.
_BYTES_MAX = 64 * 1024 * 1024
_SALT_BYTES, _HASH_BYTES = 16, 32


class Hash(Struct, frozen=True):
    """One password, that nobody can read any more."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def fits(self, password: str) -> bool:
        """Whether it is this password's. Takes a twentieth of a second, whether it is or not."""
        return hmac.compare_digest(_digest(password, self.n, self.r, self.p, self.salt), self.digest)

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode() for part in (self.salt, self.digest))
        return f"scrypt${self.n}${self.r}${self.p}${salt}${digest}"


def hashed(password: str) -> Hash:
    """A hash of a password, with a salt of its own."""
    salt = os.urandom(_SALT_BYTES)
    return Hash(_N, _R, _P, salt, _digest(password, _N, _R, _P, salt))


def read_hash(text: str) -> Hash:
    """What `str` has made of a hash. Raises ValueError, which does not show the text."""
    try:
        scheme, n, r, p, salt, digest = text.split("$")
        made = Hash(int(n), int(r), int(p), base64.b64decode(salt, validate=True), base64.b64decode(digest))
    except (ValueError, binascii.Error):
        scheme, made = "", None
    if scheme != "scrypt" or made is None or len(made.digest) != _HASH_BYTES:
        raise ValueError("it is no hash of a password; `millrace password` makes one")
    is_power = made.n > 1 and made.n & (made.n - 1) == 0
    if not is_power or not 1 <= made.p <= 16 or made.r < 1 or 128 * made.n * made.r > _BYTES_MAX:
        raise ValueError("its hash needs other numbers than scrypt or this machine can bear")
    return made


def _digest(password: str, n: int, r: int, p: int, salt: bytes) -> bytes:
    text = password.encode(errors="surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=2 * _BYTES_MAX, dklen=_HASH_BYTES)
