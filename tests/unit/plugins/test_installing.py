"""`millrace plugins install` makes an environment that a worker finds, from wheels alone, or leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.api.errors import ConnectError
from engine.plugins.catalog import discover
from engine.plugins.environment import find_environments, unmet
from engine.plugins.installing import install
from tests.harness.environments import wheel
from tests.unit.plugins.test_environment import CONNECTORS, SHOP, asked

OFFLINE = ["--no-index", "--quiet", "--find-links"]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Two versions of a package, which need different versions of another one, Millrace, and what Millrace needs."""
    folder = tmp_path / "wheels"
    for version, rulers in (("1.0", "0.9"), ("2.0", "3.1")):
        requires = [f"rulers=={rulers}", "millrace", "msgspec"]
        wheel(folder, "shop-connector", version, {"shop.py": SHOP}, points={CONNECTORS: {"Shop": "shop:Shop"}},
              requires=requires)  # fmt: skip
        wheel(folder, "rulers", rulers, {"rulers/__init__.py": f"VERSION = '{rulers}'"})
    wheel(folder, "wants-connector", "1.0", {}, requires=["msgspec<0.1"])
    wheel(folder, "msgspec", "0.0.1", {})
    return folder


@pytest.mark.slow
@pytest.mark.long
def test_an_environment_has_what_its_package_needs_and_the_worker_has_not(tmp_path: Path, wheels: Path) -> None:
    made = install("shop-connector", tmp_path / "plugins", version="1.0", options=[*OFFLINE, str(wheels)])
    assert made == tmp_path / "plugins" / "shop-connector-1.0"
    (environment,) = find_environments([str(tmp_path / "plugins")]).environments
    names = {path.name for path in Path(environment.folder).iterdir()}
    assert {"shop.py", "rulers"} <= names
    assert not {"engine", "msgspec"} & names
    assert unmet(environment) == []
    assert asked(discover([str(tmp_path / "plugins")])) == "1.0 0.9"


@pytest.mark.slow
@pytest.mark.long
def test_what_a_worker_cannot_give_way_to_is_refused_by_pip_and_nothing_is_left(tmp_path: Path, wheels: Path) -> None:
    with pytest.raises(ConnectError, match="pip could not install wants-connector"):
        install("wants-connector", tmp_path / "plugins", options=[*OFFLINE, str(wheels)])
    assert not (tmp_path / "plugins" / "wants-connector").exists()


@pytest.mark.parametrize(
    ("package", "version", "name"),
    [
        ("Shop_Connector", "", "shop-connector"),
        ("shop-connector", "1.0", "shop-connector-1.0"),
        ("shop-connector[fast]>=1,<2", "", "shop-connector-2-1"),
        ("wheels/shop_connector-1.0-py3-none-any.whl", "", "shop-connector-1.0"),
        ("./my_shop", "", "my-shop"),
    ],
)
def test_an_environment_that_is_there_is_never_touched(tmp_path: Path, package: str, version: str, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConnectError, match=rf"{name} is there already: remove it first"):
        install(package, tmp_path, version=version)
    assert list((tmp_path / name).iterdir()) == []


@pytest.mark.parametrize("package", ["", "no such name", "odd.whl"])
def test_what_is_no_package_is_refused_before_anything_is_made(tmp_path: Path, package: str) -> None:
    with pytest.raises(ConnectError, match=r".") as caught:
        install(package, tmp_path / "plugins")
    assert package in str(caught.value)
    assert not (tmp_path / "plugins").exists()
