"""Environments of plugins, made by hand as pip would have made them: packages, and the metadata beside them.

    shop = virtual(tmp_path / "shop")
    install(shop, "shop-connector", "1.2", modules, points={"millrace.connectors": {"Shop": "shop:Shop"}})

No index is asked, nothing is built.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["install", "virtual", "wheel"]


def virtual(folder: Path) -> Path:
    """The site-packages of a virtual environment, without its Python."""
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("home = /nowhere\n")
    return site


def install(
    site: Path,
    name: str,
    version: str,
    modules: Mapping[str, str],
    *,
    points: Mapping[str, Mapping[str, str]] | None = None,
    requires: Sequence[str] = (),
) -> None:
    """Put a distribution there. modules: text by path. points: entry points by group."""
    site.mkdir(parents=True, exist_ok=True)
    for path, text in (dict(modules) | _metadata(name, version, points or {}, requires)).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)


def wheel(
    folder: Path,
    name: str,
    version: str,
    modules: Mapping[str, str],
    *,
    points: Mapping[str, Mapping[str, str]] | None = None,
    requires: Sequence[str] = (),
) -> Path:
    """The same distribution as a wheel in `folder`, for pip."""
    base = f"{name.replace('-', '_')}-{version}"
    files = dict(modules) | _metadata(name, version, points or {}, requires)
    files[f"{base}.dist-info/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = f"{base}.dist-info/RECORD"
    files[record] = "".join(f"{path},,\n" for path in [*files, record])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{base}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
    return path


def _metadata(
    name: str, version: str, points: Mapping[str, Mapping[str, str]], requires: Sequence[str]
) -> dict[str, str]:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {text}\n" for text in requires)
    lines = [
        f"[{group}]\n" + "".join(f"{alias} = {target}\n" for alias, target in named.items())
        for group, named in points.items()
    ]
    return {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/entry_points.txt": "\n".join(lines),
    }
