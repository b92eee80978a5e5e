"""A schema registry, asked over Confluent's REST API: subjects, ids, versions, references.

    registry.schema(7)                     what is registered under the id 7, with all that it refers to
    registry.register("orders-value", s)   7; the registry refuses what is not compatible

Nothing is asked twice: an id means one schema for ever, so answers are kept, the oldest given up beyond
`schemas.cache.config`. What an error means for a record:

    no answer, 5xx, 429, 408     RetriableError    it may pass: the task waits and asks again
    401, 403, a certificate      RefusedError      asked again slowly
    404, 409, 422                DataError         the schema does not exist, or is refused; says which

With several addresses the one that answered last is asked first, and the others in turn while it does not.

Used by: converter.py.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from converters.registry.config import RegistryConfig
from converters.registry.tls import client_context
from engine.api.errors import ConfigError, ConnectError, DataError, Problem, RefusedError, RetriableError

__all__ = ["Reference", "Registered", "Registry", "Text"]

#: Schemas that one may refer to, directly or through others.
REFERENCES_MAX = 1_000
#: Bytes of one answer.
ANSWER_BYTES_MAX = 64 * 1024 * 1024
_MEDIA = "application/vnd.schemaregistry.v1+json"
_PASSING = frozenset({408, 425, 429})
#: These are the connection that ends, and nobody who refuses.
_BROKEN = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


class Reference(Struct, frozen=True, gc=False):
    """That a schema uses another one, under a name of its own."""

    name: str
    subject: str
    version: int


class Text(Struct, frozen=True):
    """A schema as the registry has it."""

    kind: str  # AVRO, PROTOBUF, JSON
    schema: str
    references: tuple[Reference, ...] = ()


class Registered(Struct, frozen=True):
    """A schema with its id, and the texts of all that it refers to, by the names it uses; the inner ones first."""

    id: int
    text: Text
    referred: Mapping[str, str] = {}
    version: int | None = None  # where it was asked for by its subject


class Registry:
    """One converter's; it connects when it is asked first, with the certificates that there were when it was made."""

    def __init__(self, config: RegistryConfig) -> None:
        """Raises ConfigError, also for what is wrong with a store of certificates."""
        self._config = config
        self._urls, self._auth = _addresses(config)
        self._token = _token(config)
        is_https = any(urlsplit(url).scheme == "https" for url in self._urls)
        self._context = client_context(config) if is_https else None
        self._shown = [_without_login(url) for url in config.url]
        self._first = 0  # of the addresses, the one that answered last
        self._client: Any = None
        self._kept: dict[tuple[Any, ...], Any] = {}

    def schema(self, number: int) -> Registered:
        """The schema of an id. Raises DataError for an id that does not exist."""

        def ask() -> Registered:
            answer = self._ask("GET", ("schemas", "ids", str(number)), f"the schema id {number}")
            return self._registered(number, answer)

        return self._once(("id", number), ask)  # type: ignore[no-any-return]  # what `ask` gives

    def version_of(self, number: int, subject: str) -> int | None:
        """The version that an id has under a subject; None: it has none there."""

        def ask() -> int | None:
            found = self._ask("GET", ("schemas", "ids", str(number), "versions"), f"the versions of id {number}")
            versions = [one.get("version") for one in found if one.get("subject") == subject]
            return max((version for version in versions if isinstance(version, int)), default=None)

        try:
            return self._once(("version", number, subject), ask)  # type: ignore[no-any-return]  # as above
        except DataError:
            return None  # a registry that does not tell

    def register(self, subject: str, text: Text) -> int:
        """The id of a schema under a subject, where it is registered if it was not."""
        return self._id(subject, text, ("subjects", subject, "versions"), f"a schema of the subject {subject}")

    def lookup(self, subject: str, text: Text) -> int:
        """The id that a schema has under a subject. Raises DataError when it is not registered there."""
        try:
            return self._id(subject, text, ("subjects", subject), f"a schema of the subject {subject}")
        except DataError as error:
            raise DataError(
                f"{error}; auto.register.schemas=false, so it must be registered there before it is written: "
                f"{text.schema[:500]}"
            ) from error

    def latest(self, subject: str, age: int = 0) -> Registered:
        """The latest version of a subject. age: asked anew when it grows."""

        def ask() -> Registered:
            path = ("subjects", subject, "versions", "latest")
            answer = self._ask("GET", path, f"the latest version of the subject {subject}")
            return self._registered(_number(answer, "id"), answer)

        return self._once(("latest", subject, age), ask)  # type: ignore[no-any-return]  # as above

    def close(self) -> None:
        """Let go of its connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _id(self, subject: str, text: Text, path: tuple[str, ...], what: str) -> int:
        def ask() -> int:
            body: dict[str, Any] = {"schema": text.schema}
            if text.kind != "AVRO":
                body["schemaType"] = text.kind
            if text.references:
                body["references"] = [msgspec.structs.asdict(one) for one in text.references]
            query = "?normalize=true" if self._config.normalize else ""
            return _number(self._ask("POST", path, what, body, query), "id")

        return self._once((path, text), ask)  # type: ignore[no-any-return]  # as above

    def _registered(self, number: int, answer: Any) -> Registered:
        text = _text(answer)
        version = answer.get("version")
        referred: dict[str, str] = {}
        self._refer(text.references, referred)
        return Registered(number, text, referred, version if isinstance(version, int) else None)

    def _refer(self, references: tuple[Reference, ...], referred: dict[str, str]) -> None:
        for one in references:
            if one.name in referred:
                continue
            if len(referred) >= REFERENCES_MAX:
                raise DataError(f"a schema refers to more than {REFERENCES_MAX} others")
            referred[one.name] = ""  # a circle ends here
            path = ("subjects", one.subject, "versions", str(one.version))
            what = f"version {one.version} of the subject {one.subject}"
            found = _text(self._once(path, lambda path=path, what=what: self._ask("GET", path, what)))  # type: ignore[misc]
            del referred[one.name]
            self._refer(found.references, referred)
            referred[one.name] = found.schema

    def _once(self, key: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        found = self._kept.get(key)
        if found is None:
            found = ask()
            if len(self._kept) >= self._config.schemas_cache:
                self._kept.pop(next(iter(self._kept)))  # the oldest
            self._kept[key] = found
        return found

    def _ask(self, method: str, path: tuple[str, ...], what: str, body: Any = None, query: str = "") -> Any:
        """The answer's JSON. what: what is asked for, for messages."""
        import httpx  # noqa: PLC0415  only who asks pays for it

        if self._client is None:
            self._client = self._connect()
        content = None if body is None else msgspec.json.encode(body)
        place = "/".join(quote(part, safe="") for part in path) + query
        away = []
        count = len(self._urls)
        for number in range(self._first, self._first + count):
            at = number % count
            try:
                answer = self._client.request(method, f"{self._urls[at]}/{place}", content=content)
            except httpx.HTTPError as error:
                _raise_if_refused(error, what, self._shown[at])
                away.append(f"{self._shown[at]}: {type(error).__name__} {error}".rstrip())
                continue
            if answer.status_code >= 500 or answer.status_code in _PASSING:
                away.append(f"{self._shown[at]}: {answer.status_code} {_message(answer)}")
                continue
            self._first = at
            return self._understood(answer, what, self._shown[at])
        raise RetriableError(f"the schema registry does not tell {what}: {'; '.join(away)}")

    def _connect(self) -> Any:
        import httpx  # noqa: PLC0415  as above

        config = self._config
        headers = {"Accept": f"{_MEDIA}, application/json", "Content-Type": _MEDIA}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return httpx.Client(
            auth=self._auth if self._token is None else None,
            headers=headers,
            verify=False if self._context is None else self._context,
            timeout=httpx.Timeout(config.read_timeout_ms / 1000, connect=config.connect_timeout_ms / 1000),
            proxy=f"http://{config.proxy_host}:{config.proxy_port}" if config.proxy_host else None,
            trust_env=False,
        )

    def _understood(self, answer: Any, what: str, address: str) -> Any:
        status = answer.status_code
        told = _message(answer)
        if status in (401, 403):
            raise RefusedError(f"the schema registry at {address} refuses this client {what} ({status}): {told}")
        if status == 404:
            raise DataError(f"the schema registry at {address} does not have {what}: {told}")
        if status in (409, 422):
            raise DataError(f"the schema registry at {address} refuses {what} ({status}): {told}")
        if not answer.is_success:
            raise ConnectError(f"the schema registry at {address} answers {status} to {what}: {told}")
        if len(answer.content) > ANSWER_BYTES_MAX:
            raise DataError(f"{what} takes {len(answer.content)} bytes; at most {ANSWER_BYTES_MAX} are read")
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise RetriableError(f"what answers at {address} is no schema registry: {told[:200]}") from error


def _raise_if_refused(error: Exception, what: str, address: str) -> None:
    """Raise RefusedError when one of the two sides does not take the other's certificate."""
    found: BaseException | None = error
    while found is not None and (not isinstance(found, ssl.SSLError) or isinstance(found, _BROKEN)):
        found = found.__cause__ or found.__context__
    if found is None:
        return
    if isinstance(found, ssl.SSLCertVerificationError):
        told = f"its certificate is not trusted ({found.verify_message}); check schema.registry.ssl.truststore"
    else:
        told = f"{found.reason or found}; check schema.registry.ssl"
    raise RefusedError(f"no TLS with the schema registry at {address} to ask for {what}: {told}") from error


def _token(config: RegistryConfig) -> str | None:
    token = config.registry_bearer_token or config.bearer_token
    if token is None:
        return None
    text = token.reveal()
    # What is no header is refused here: the client's own error would show it.
    if not (text.isascii() and text.isprintable()) or " " in text or not text:
        key = "bearer.auth.token"
        expected = "expected visible ASCII characters, without a blank or an end of line"
        raise ConfigError([Problem(key, f"Invalid value for configuration {key}: {expected}")])
    return text


def _addresses(config: RegistryConfig) -> tuple[list[str], tuple[str, str] | None]:
    """The addresses without names and passwords in them, and who asks. Raises ConfigError."""
    key = "schema.registry.url"
    login = None
    urls = []
    for url in config.url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = _without_login(url)
            raise ConfigError(
                [Problem(key, f"Invalid value {shown} for configuration {key}: expected http://HOST:PORT, or https")]
            )
        if parts.username is not None:
            login = unquote(parts.username), unquote(parts.password or "")
        urls.append(_without_login(url).rstrip("/"))
    if (config.registry_basic_source or config.basic_source) == "USER_INFO":
        key = "basic.auth.user.info"
        secret = config.registry_basic_user_info or config.basic_user_info
        name, colon, password = ("" if secret is None else secret.reveal()).partition(":")
        if not colon:
            raise ConfigError([Problem(key, f"Invalid value for configuration {key}: expected name:password")])
        login = name, password
    return urls, login


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _text(answer: Any) -> Text:
    try:
        schema, kind = answer["schema"], answer.get("schemaType") or "AVRO"
        references = msgspec.convert(answer.get("references") or [], tuple[Reference, ...])
        return msgspec.convert({"kind": kind, "schema": schema, "references": references}, Text)
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise DataError(f"the schema registry answers no schema: {str(answer)[:200]}") from error


def _number(answer: Any, name: str) -> int:
    number = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(number, int):
        raise DataError(f"the schema registry answers no {name}: {str(answer)[:200]}")
    return number


def _message(answer: Any) -> str:
    try:
        told = msgspec.json.decode(answer.content)
        return f"{told['message']} (error {told.get('error_code')})"
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return str(answer.text[:200])
