"""Variables are replaced by what their provider answers, and what it answered counts as secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from engine.api.errors import ConfigError
from engine.api.provider import ConfigProvider
from engine.config.providers import EnvVarConfigProvider, make_providers, resolve

KAFKA = "org.apache.kafka.common.config.provider."


class Vault(ConfigProvider):
    """A third party's provider, with paths and keys of its own."""

    def configure(self, parameters: Mapping[str, str]) -> None:
        if parameters != {"address": "there"}:
            raise ConfigError("expected param.address")

    def get(self, path: str, keys: Collection[str]) -> Mapping[str, str]:
        if path == "sealed":
            raise ConfigError("the vault is sealed")
        return {key: f"<{path}/{key}>" for key in keys if key != "absent"}


def load_class(name: str) -> type[ConfigProvider]:
    if name != "third.party:Vault":
        raise ConfigError(f"no class {name}")
    return Vault


def providers_of(**classes: str) -> dict[str, ConfigProvider]:
    worker = {"config.providers": ",".join(classes)}
    for name, class_name in classes.items():
        worker[f"config.providers.{name}.class"] = class_name
    worker["config.providers.vault.param.address"] = "there"
    return make_providers(worker, load_class)


def test_a_variable_is_replaced_wherever_it_stands_and_its_key_becomes_secret() -> None:
    resolved = resolve(
        {"url": "x://${vault:db:user}:${vault:db:pass}@h", "plain": "y", "short": "${vault:k}"},
        providers_of(vault="third.party:Vault"),
    )
    assert resolved.properties == {"url": "x://<db/user>:<db/pass>@h", "plain": "y", "short": "</k>"}
    assert resolved.secret_keys == {"url", "short"}
    assert resolved.secrets == {"<db/user>", "<db/pass>", "</k>"}


@pytest.mark.parametrize("text", ["${other:a:b}", "${vault:p:absent}", "$vault:a", "${vault}", "${}"])
def test_what_no_provider_knows_stays_the_text_it_is(text: str) -> None:
    resolved = resolve({"a": text}, providers_of(vault="third.party:Vault"))
    assert resolved.properties == {"a": text}
    assert not resolved.secret_keys


def test_an_answer_is_not_looked_through_again(tmp_path: Path) -> None:
    file = tmp_path / "s.properties"
    file.write_text("a=${env:HOME}\n", "utf-8")
    providers = providers_of(file="FileConfigProvider", env="EnvVarConfigProvider")
    assert resolve({"k": f"${{file:{file}:a}}"}, providers).properties["k"] == "${env:HOME}"


def test_each_key_whose_provider_fails_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"a": "${vault:sealed:x}", "b": "${vault:sealed:y}"}, providers_of(vault="third.party:Vault"))
    assert [problem.key for problem in caught.value.problems] == ["a", "b"]
    assert "the vault is sealed" in str(caught.value)


def test_all_providers_that_cannot_be_made_are_told() -> None:
    with pytest.raises(ConfigError) as caught:
        make_providers(
            {
                "config.providers": "a, b,c",
                "config.providers.b.class": "unknown",
                "config.providers.c.class": "third.party:Vault",
            },
            load_class,
        )
    assert [problem.key for problem in caught.value.problems] == [
        f"config.providers.{name}.class" for name in ("a", "b", "c")
    ]


@pytest.mark.parametrize("package", ["", KAFKA])
def test_files_and_directories_give_values_only_where_they_are_allowed(tmp_path: Path, package: str) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "s.properties").write_text("pass=w0rd\n", "utf-8")
        (folder / "key").write_text("k3y", "utf-8")
    (inside / "link").symlink_to(outside / "s.properties")
    worker = {"config.providers": "file,dir"}
    for name, kind in (("file", "File"), ("dir", "Directory")):
        worker[f"config.providers.{name}.class"] = f"{package}{kind}ConfigProvider"
        worker[f"config.providers.{name}.param.allowed.paths"] = str(inside)
    providers = make_providers(worker, load_class)
    allowed = {"a": f"${{file:{inside}/s.properties:pass}}", "b": f"${{dir:{inside}:key}}"}
    assert resolve(allowed, providers).properties == {"a": "w0rd", "b": "k3y"}
    denied = {
        "outside": f"${{file:{outside}/s.properties:pass}}",
        "by dots": f"${{file:{inside}/../out/s.properties:pass}}",
        "by a link": f"${{file:{inside}/link:pass}}",
        "directory": f"${{dir:{outside}:key}}",
        "key with dots": f"${{dir:{inside}:../out/key}}",
    }
    assert resolve(denied, providers).properties == denied


def test_files_that_cannot_be_read_and_paths_that_are_not_there_are_told(tmp_path: Path) -> None:
    providers = providers_of(file="FileConfigProvider", dir="DirectoryConfigProvider")
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError) as caught:
        resolve({"a": f"${{file:{missing}:k}}", "b": f"${{dir:{missing}:k}}"}, providers)
    assert "No such file or directory" in caught.value.problems[0].message
    assert "is not a directory" in caught.value.problems[1].message
    with pytest.raises(ConfigError, match="expected absolute paths that exist"):
        make_providers(
            {
                "config.providers": "f",
                "config.providers.f.class": "FileConfigProvider",
                "config.providers.f.param.allowed.paths": "relative",
            },
            load_class,
        )


def test_the_environment_gives_what_its_pattern_allows() -> None:
    provider = EnvVarConfigProvider({"APP_A": "1", "HOME": "/root"})
    provider.configure({"allowlist.pattern": "APP_.*"})
    assert resolve({"x": "${env:APP_A}-${env:HOME}"}, {"env": provider}).properties == {"x": "1-${env:HOME}"}
    with pytest.raises(ConfigError, match="expected a regular expression"):
        provider.configure({"allowlist.pattern": "("})
    with pytest.raises(ConfigError, match="have only a key"):
        resolve({"x": "${env:path:APP_A}"}, {"env": provider})
