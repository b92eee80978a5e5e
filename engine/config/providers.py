"""Values that stand elsewhere: `${provider:path:key}` and `${provider:key}`.

    password=${file:/run/secrets/db.properties:password}      ──►  password=..., and `password` is a secret

A variable that no provider knows stays the text it is; what a provider answers is not looked through again.
Each value that came from a provider counts as a secret: it is never shown.

Used by: engine.plan, for the worker's keys first and, with the same providers, for each connector's.
Source: Kafka's ConfigTransformer and its three providers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from msgspec import Struct

from engine.api.errors import ConfigError, Problem
from engine.api.java_regex import compiled
from engine.api.provider import ConfigProvider
from engine.config.problems import raise_all
from engine.config.properties import PropertiesSyntaxError, parse_properties

__all__ = [
    "DirectoryConfigProvider",
    "EnvVarConfigProvider",
    "FileConfigProvider",
    "Resolved",
    "as_given",
    "make_providers",
    "resolve",
    "variables",
    "with_values",
]

_VARIABLE = re.compile(r"\$\{([^}]*?):(?:([^}]*?):)?([^}]*?)\}")
_JAVA_PACKAGE = "org.apache.kafka.common.config.provider."

LoadClass = Callable[[str], type[ConfigProvider]]


class Resolved(Struct, frozen=True):
    """Properties without variables."""

    properties: dict[str, str]
    secret_keys: frozenset[str]  # keys of which a part or all came from a provider
    secrets: frozenset[str]  # what the providers answered: values that no log may show


class FileConfigProvider(ConfigProvider):
    """The path is a properties file, the key one of its keys. `allowed.paths`: where such files may be."""

    def configure(self, parameters: Mapping[str, str]) -> None:
        self._allowed = _allowed_paths(parameters)

    def get(self, path: str, keys: Collection[str]) -> Mapping[str, str]:
        if not path.strip() or not _is_allowed(path, self._allowed):
            return {}
        try:
            properties = parse_properties(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, PropertiesSyntaxError) as error:
            raise ConfigError(f"could not read properties from file {path}: {_reason(error)}") from error
        return {key: properties[key] for key in keys if key in properties}

    def files(self, path: str, keys: Collection[str]) -> Collection[str]:
        return [path] if path.strip() and _is_allowed(path, self._allowed) else []


class DirectoryConfigProvider(ConfigProvider):
    """The path is a directory, the key a file in it, the value what the file holds."""

    def configure(self, parameters: Mapping[str, str]) -> None:
        self._allowed = _allowed_paths(parameters)

    def get(self, path: str, keys: Collection[str]) -> Mapping[str, str]:
        if not path.strip() or not _is_allowed(path, self._allowed):
            return {}
        folder = Path(path)
        if not folder.is_dir():
            raise ConfigError(f"{path} is not a directory")
        values = {}
        for key in keys:
            file = folder / key
            # A key names a file of this directory; one with a slash or dots would leave it.
            if not key or file.parent != folder or key in (".", "..") or not file.is_file():
                continue
            try:
                values[key] = file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"could not read file {file}: {_reason(error)}") from error
        return values

    def files(self, path: str, keys: Collection[str]) -> Collection[str]:
        if not path.strip() or not _is_allowed(path, self._allowed):
            return []
        return [str(Path(path) / key) for key in keys if key and (Path(path) / key).parent == Path(path)]


class EnvVarConfigProvider(ConfigProvider):
    """The key is an environment variable; there is no path. `allowlist.pattern`: which may be read."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._pattern = re.compile(".*", re.DOTALL)

    def configure(self, parameters: Mapping[str, str]) -> None:
        pattern = parameters.get("allowlist.pattern", "")
        if pattern.strip():
            try:
                self._pattern = compiled(pattern)
            except ValueError as error:
                raise ConfigError(
                    f'allowlist.pattern is "{pattern}"; expected a regular expression of Java: {error}'
                ) from error

    def get(self, path: str, keys: Collection[str]) -> Mapping[str, str]:
        if path:
            raise ConfigError(f'path is "{path}"; expected none: variables of the environment have only a key')
        return {
            key: self._environment[key] for key in keys if key in self._environment and self._pattern.fullmatch(key)
        }


_OURS: dict[str, type[ConfigProvider]] = {
    provider.__name__: provider for provider in (FileConfigProvider, DirectoryConfigProvider, EnvVarConfigProvider)
}


def make_providers(worker: Mapping[str, str], load_class: LoadClass) -> dict[str, ConfigProvider]:
    """The providers that the worker's `config.providers` names, configured.

    load_class: finds the class of a provider that is not one of these three. Raises ConfigError.
    """
    providers: dict[str, ConfigProvider] = {}
    problems: list[Problem] = []
    names = [name.strip() for name in worker.get("config.providers", "").split(",")]
    for name in filter(None, names):
        key = f"config.providers.{name}.class"
        class_name = worker.get(key, "").strip()
        if not class_name:
            problems.append(
                Problem(key, f'Missing required configuration "{key}": expected the class of provider "{name}"')
            )
            continue
        prefix = f"config.providers.{name}.param."
        parameters = {key[len(prefix) :]: value for key, value in worker.items() if key.startswith(prefix)}
        try:
            provider_class = _OURS.get(class_name.removeprefix(_JAVA_PACKAGE)) or load_class(class_name)
            provider = provider_class()
            provider.configure(parameters)
        except ConfigError as error:
            problems += [Problem(key, f'config provider "{name}": {problem.message}') for problem in error.problems]
        else:
            providers[name] = provider
    raise_all(problems)
    return providers


def resolve(properties: Mapping[str, str], providers: Mapping[str, ConfigProvider]) -> Resolved:
    """Every variable that a provider knows, replaced. Raises ConfigError with each key whose provider fails."""
    answers, failures = _ask(variables(properties, providers), providers)
    resolved: dict[str, str] = {}
    secret_keys: set[str] = set()
    secrets: set[str] = set()
    problems: list[Problem] = []
    for key, text in properties.items():

        def value(variable: re.Match[str], key: str = key) -> str:
            name, path, wanted = variable[1], variable[2] or "", variable[3]
            failure = failures.get((name, path))
            if failure is not None:
                problems.append(Problem(key, f'{key}: config provider "{name}": {failure}'))
            answer = answers.get((name, path), {}).get(wanted)
            if answer is None:
                return variable[0]
            secret_keys.add(key)
            secrets.add(answer)
            return answer

        resolved[key] = _VARIABLE.sub(value, text)
    raise_all(problems)
    return Resolved(resolved, frozenset(secret_keys), frozenset(secrets - {""}))


def variables(
    properties: Mapping[str, str], providers: Mapping[str, ConfigProvider]
) -> dict[tuple[str, str], dict[str, None]]:
    """The keys that are wanted of each provider's name and path, in their order."""
    wanted: dict[tuple[str, str], dict[str, None]] = {}
    for text in properties.values():
        for name, path, key in _VARIABLE.findall(text):
            if name in providers:
                wanted.setdefault((name, path), {})[key] = None
    return wanted


def _ask(
    wanted: Mapping[tuple[str, str], Collection[str]], providers: Mapping[str, ConfigProvider]
) -> tuple[dict[tuple[str, str], Mapping[str, str]], dict[tuple[str, str], str]]:
    answers = {}
    failures = {}
    for (name, path), keys in wanted.items():
        try:
            answers[name, path] = providers[name].get(path, list(keys))
        except ConfigError as error:
            failures[name, path] = str(error)
    return answers, failures


def _allowed_paths(parameters: Mapping[str, str]) -> list[Path] | None:
    text = parameters.get("allowed.paths", "")
    if not text.strip():
        return None
    paths = [Path(part.strip()) for part in text.split(",")]
    for path in paths:
        if not path.is_absolute() or not path.exists():
            raise ConfigError(f'allowed.paths names "{path}"; expected absolute paths that exist')
    return [path.resolve() for path in paths]


def _is_allowed(path: str, allowed: list[Path] | None) -> bool:
    if allowed is None:
        return True
    # Dots and links are followed first: they may lead out of what is allowed.
    real = Path(path).resolve()
    return any(real == place or place in real.parents for place in allowed)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def as_given(config: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """A task's configuration for readers: where its connector's, as it was given, has a variable, the variable."""
    return {key: given[key] if "${" in given.get(key, "") else value for key, value in config.items()}


def with_values(config: Mapping[str, str], given: Mapping[str, str], resolved: Mapping[str, str]) -> dict[str, str]:
    """What `as_given` was made of. given, resolved: the connector's configuration before and after its variables."""
    unresolved = {(key, value) for key, value in given.items() if "${" in value}
    return {key: resolved[key] if (key, value) in unresolved else value for key, value in config.items()}
