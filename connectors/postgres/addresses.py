"""Where a connection goes and as whom: a URL of libpq or of JDBC, and credentials that may stand in a file.

    jdbc:postgresql://one:5432,two/shop?targetServerType=primary
        host=one,two  port=5432,5432  dbname=shop  target_session_attrs=read-write

Used by: config.py (checks the URL), session.py.
Not here: connecting.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from engine.api.config import Password
from engine.api.errors import RetriableError

__all__ = ["libpq_parameters", "read_credentials"]

FORMS = "expected postgresql://HOST:PORT/DATABASE or jdbc:postgresql://HOST:PORT/DATABASE"
PORT = "5432"
#: JDBC's parameters that libpq knows by another name, or by the same.
_OF_JDBC = {
    "ApplicationName": "application_name",
    "connectTimeout": "connect_timeout",
    "sslmode": "sslmode",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslrootcert": "sslrootcert",
    "sslNegotiation": "sslnegotiation",
    "channelBinding": "channel_binding",
    "gssEncMode": "gssencmode",
    "kerberosServerName": "krbsrvname",
    "options": "options",
    "loadBalanceHosts": "load_balance_hosts",
    "user": "user",
}
_SERVER_TYPES = {
    "any": "any",
    "primary": "read-write",
    "master": "read-write",
    "secondary": "standby",
    "slave": "standby",
    "preferSecondary": "prefer-standby",
    "preferSlave": "prefer-standby",
}
_USERS = ("user", "username", "connection.user")
_PASSWORDS = ("password", "connection.password")
#: Of libpq; what stands in a URL is shown to everybody.
_SECRETS = ("password", "sslpassword")


def libpq_parameters(url: str) -> dict[str, str]:
    """What a URL says, by libpq's names. Raises ValueError with what is wrong and what was expected."""
    text = url.strip().removeprefix("jdbc:")
    is_jdbc = text != url.strip()
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgresql", "postgres"):
        raise ValueError(FORMS)
    rest, _, query = rest.partition("?")
    authority, _, database = rest.partition("/")
    user, _, places = authority.rpartition("@")
    if ":" in user:
        raise ValueError("a password stands in it; expected it in connection.password or connection.credentials.file")
    found = {}
    hosts = [_place(place) for place in places.split(",")]
    if any(host for host, _ in hosts):
        found = {"host": ",".join(host for host, _ in hosts), "port": ",".join(port for _, port in hosts)}
    if database:
        found["dbname"] = unquote(database)
    pairs = parse_qsl(query, keep_blank_values=True)
    if "@" in database or any("@" in name for name, _ in pairs):
        # The end of a password, perhaps: it is shown to nobody.
        raise ValueError(f"an @ stands behind a / or ?; {FORMS}, with %2F and %3F for those before the @")
    if user:
        found["user"] = unquote(user)
    for name, value in pairs:
        found |= _of_jdbc(name, value) if is_jdbc else {name: value}
    if not found.keys().isdisjoint(_SECRETS):
        raise ValueError("a password stands in it; expected it in connection.password or connection.credentials.file")
    return found


def read_credentials(path: str) -> tuple[str | None, Password]:
    """User, if it names one, and password, as a file has them now.

    Raises RetriableError for a file that cannot be read, or has no password: it may be just being replaced.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise RetriableError(f"cannot read {path} (connection.credentials.file): {reason}") from error
    user, password = None, None
    for line in lines:
        name, separator, value = line.partition("=")
        if not separator or line.lstrip().startswith(("#", "!")):
            continue
        if name.strip() in _USERS:
            user = value.strip()
        elif name.strip() in _PASSWORDS:
            password = Password(value.strip())
    if password is None:
        raise RetriableError(
            f"no password in {path} (connection.credentials.file): expected lines user=... and password=..."
        )
    return user, password


def _place(text: str) -> tuple[str, str]:
    """Host and port; an IPv6 address stands in brackets."""
    host, bracket, port = text.partition("]")
    if bracket:
        return unquote(host.removeprefix("[")), port.removeprefix(":") or PORT
    host, _, port = text.partition(":")
    if port and not port.isdecimal():
        raise ValueError(f"a port is no number; {FORMS}")
    return unquote(host), port or PORT


def _of_jdbc(name: str, value: str) -> Mapping[str, str]:
    if name in _SECRETS:
        return {name: ""}
    if name == "targetServerType" and value in _SERVER_TYPES:
        return {"target_session_attrs": _SERVER_TYPES[value]}
    if name == "ssl":
        return {"sslmode": "verify-full"} if value in ("", "true") else {}
    if name == "currentSchema":
        escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
        return {"options": f"-c search_path={escaped}"}
    if name == "tcpKeepAlive":
        return {"keepalives": "1" if value == "true" else "0"}
    if name in _OF_JDBC:
        return {_OF_JDBC[name]: value}
    known = ", ".join(sorted([*_OF_JDBC, "currentSchema", "ssl", "targetServerType", "tcpKeepAlive"]))
    raise ValueError(f"JDBC's parameter {name} has no equal in libpq, or not with its value; expected of: {known}")
