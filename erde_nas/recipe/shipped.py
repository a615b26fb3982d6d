"""Finds the shipped YAMLs: beside the package in a checkout, inside the package in an installed wheel."""

from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from erde_nas.errors import UserError
from erde_nas.files import expanded

Kind = Literal["search", "profiles"]

PACKAGE = Path(__file__).resolve().parents[1]
COMMANDS: dict[Kind, str] = {"search": "erde-nas recipes list", "profiles": "erde-nas profiles list"}
NOUNS: dict[Kind, str] = {"search": "recipe", "profiles": "profile"}


def shipped(kind: Kind) -> dict[str, Path]:
    """The shipped files of one kind by name, sorted."""
    return {path.stem: path for path in sorted((_root() / kind).glob("*.yaml"), key=lambda path: path.stem)}


def find(kind: Kind, name_or_path: str) -> Path:
    """The file that a user means by the name of a shipped file or by the path of an own one.

    What has a folder or an ending is a path. Raises UserError where there is no such file.
    """
    path = expanded(name_or_path)
    if path.suffix not in (".yaml", ".yml") and path.name == name_or_path:
        return _named(kind, name_or_path)
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        return path
    hint = f"; '{path.stem}' alone is a shipped one" if path.stem in shipped(kind) else ""
    raise UserError(f"no {NOUNS[kind]} file {name_or_path} (a path ends in .yaml){hint}; see '{COMMANDS[kind]}'")


def copy(kind: Kind, name: str, to: Path) -> Path:
    """Copy the shipped file `name` to the file `to`, or into the folder `to`; returns the new file.

    Raises UserError rather than overwrite anything.
    """
    source = _named(kind, name)
    target = to / source.name if to.is_dir() else to
    if target.suffix not in (".yaml", ".yml"):
        raise UserError(f"{target}: is no folder and does not end in .yaml; name an existing folder or a .yaml file")
    try:
        with target.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        raise UserError(f"{target}: exists and is not overwritten; name another file or remove it first") from None
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); check its folder") from None
    return target


def _named(kind: Kind, name: str) -> Path:
    files = shipped(kind)
    if name not in files:
        near = get_close_matches(name, files)
        known = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(files)};"
        step = f"see '{COMMANDS[kind]}', or give the path of a .yaml file"
        raise UserError(f"no shipped {NOUNS[kind]} '{name}'; {known} {step}")
    return files[name]


def _root() -> Path:
    """The folder that holds `search` and `profiles`. In a checkout the files that people edit win."""
    project = PACKAGE.parent / "pyproject.toml"
    if project.is_file() and 'name = "erde-nas"' in project.read_text(encoding="utf-8"):
        return PACKAGE.parent
    return PACKAGE / "_shipped"
