"""Packages of other people that add names to erde-nas, installed without an installer."""

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, name: str, source: str, points: Mapping[str, Mapping[str, str]]) -> Path:
    """The package `name` 1.0 in `folder`: one module, and entry points (group -> name -> "module:attribute")."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / f"{name}.py").write_text(source)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [line for group, of in points.items() for line in (f"[{group}]", *(f"{n} = {at}" for n, at in of.items()))]
    (information / "entry_points.txt").write_text("\n".join([*lines, ""]))
    return folder
