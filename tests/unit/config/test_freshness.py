"""Values of config providers are good as long as their provider says, and as long as their files stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path

from engine.api.provider import ConfigProvider
from engine.config.freshness import Freshness, freshness, version_of
from engine.config.providers import DirectoryConfigProvider, EnvVarConfigProvider, FileConfigProvider


class Leasing(ConfigProvider):
    """Gives values for a time that its path says."""

    def get(self, path: str, keys: Collection[str]) -> Mapping[str, str]:
        return dict.fromkeys(keys, path)

    def ttl_ms(self, path: str) -> int | None:
        return int(path) if path.isdecimal() else None


def configured(made: ConfigProvider, **parameters: str) -> ConfigProvider:
    made.configure({key.replace("_", "."): value for key, value in parameters.items()})
    return made


def test_the_shortest_time_of_those_that_are_asked_counts() -> None:
    providers: dict[str, ConfigProvider] = {"lease": Leasing()}
    assert freshness({"a": "${lease:900:x}", "b": "${lease:500:y}${lease::z}"}, providers) == Freshness(500)
    assert freshness({"a": "${lease::x}", "b": "${other:5:y}", "c": "5"}, providers) == Freshness()


def test_the_files_that_hold_values_are_told_as_they_are(tmp_path: Path) -> None:
    secrets, outside = tmp_path / "secrets", tmp_path / "outside"
    secrets.mkdir()
    outside.write_text("password=no")
    (secrets / "db").write_text("password=yes")
    providers = {
        "file": configured(FileConfigProvider(), allowed_paths=str(secrets)),
        "dir": configured(DirectoryConfigProvider(), allowed_paths=str(secrets)),
        "env": configured(EnvVarConfigProvider({})),
    }
    texts = {
        "a": f"${{file:{secrets}/db:password}}${{file:{outside}:password}}",
        "b": f"${{dir:{secrets}:absent}}${{dir:{secrets}:../x}}${{env:HOME}}",
    }
    assert freshness(texts, providers).files == {
        f"{secrets}/absent": None,
        f"{secrets}/db": version_of(f"{secrets}/db"),
    }


def test_a_file_that_is_written_replaced_or_led_elsewhere_is_another(tmp_path: Path) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    old.write_text("1")
    new.write_text("22")
    link.symlink_to(old)
    seen = [version_of(str(link))]
    old.write_text("333")
    seen.append(version_of(str(link)))
    link.unlink()
    seen.append(version_of(str(link)))
    link.symlink_to(new)
    seen.append(version_of(str(link)))
    new.rename(tmp_path / "newer")
    old.rename(new)
    seen.append(version_of(str(link)))
    assert all(before != after for before, after in pairwise(seen))
    assert version_of(str(link)) == seen[-1]
