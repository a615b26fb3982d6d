"""Downloads the official data sets, and lists which are there."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from erde_nas.cache import cache_dir
from erde_nas.data.download import Progress, download
from erde_nas.data.locate import find, missing_files
from erde_nas.data.sources import SOURCES, Source
from erde_nas.data.unpack import unpack
from erde_nas.errors import UserError
from erde_nas.recipe.recipe import DatasetName

_ARCHIVES = (".tar.gz", ".zip")


@dataclass(frozen=True)
class Listing:
    """One line of `erde-nas data list`."""

    name: str
    origin: str  # the host or the package it comes from
    size_bytes: int  # of the download, 0 where there is none
    found: str | None  # where it lies on this machine
    note: str  # citation and licence


_OWN = (
    Listing(
        "digits",
        "comes with scikit-learn",
        0,
        "scikit-learn",
        "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits; CC BY 4.0",
    ),
    Listing("folder", "your images, one sub-folder per class: dataset.path in the recipe", 0, None, ""),
    Listing("npz", "your arrays, images and labels: dataset.path in the recipe", 0, None, ""),
)


def list_datasets(data_dir: Path | None = None) -> list[Listing]:
    """Every data set that a recipe can name; sought in `data_dir`, or else in the usual places."""
    listings = {listing.name: listing for listing in _OWN}
    for name, source in SOURCES.items():
        found = find(source, data_dir)
        origin = source.files[0].url.rsplit("/", 1)[0]
        listings[name] = Listing(name, origin, source.size_bytes, str(found) if found else None, source.note)
    return [listings[name] for name in get_args(DatasetName)]


def fetch(
    name: str,
    data_dir: Path | None = None,
    *,
    sources: Mapping[str, Source] = SOURCES,
    progress: Progress | None = None,
) -> Path:
    """Download a data set into `data_dir` (None: the cache directory) and return its folder.

    Does nothing if it is there already. The folder appears under its name only when it is whole; until then
    everything is in FOLDER.part, and the next call continues there. Raises UserError.
    """
    if name not in sources:
        raise _nothing_to_fetch(name, sources)
    source = sources[name]
    found = find(source, data_dir)
    if found:
        return found
    target = (data_dir or cache_dir()) / source.folders[0]
    if target.exists():
        raise UserError(f"{target} is there, but not all of {', '.join(source.needs)}; move it away and run this again")
    work = target.with_name(target.name + ".part")
    try:
        work.mkdir(parents=True, exist_ok=True)
        files = [download(remote, work, progress) for remote in source.files]
        os.replace(_unpacked(files, work, source), target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error}); name another folder with --data-dir DIR") from error
    finally:
        with suppress(OSError):
            work.rmdir()  # succeeds only if nothing has arrived
    shutil.rmtree(work, ignore_errors=True)
    return target


def _unpacked(files: list[Path], work: Path, source: Source) -> Path:
    """The folder with the verified files: `work` itself, or the data set's folder in what its archives hold."""
    archives = [path for path in files if path.name.endswith(_ARCHIVES)]
    if not archives:
        return work
    fresh = work / "unpacked"
    if fresh.exists():
        shutil.rmtree(fresh)  # left by an interrupted call
    for archive in archives:
        unpack(archive, fresh)
    ready = fresh / source.folders[0]
    # Looked at because `tarfile` takes an archive that ends between two members for a whole one.
    if missing := missing_files(source, ready):
        raise UserError(
            f"{archives[0]}: damaged archive, {ready.name}/{missing[0]} is not in it; remove it and try again"
        )
    return ready


def _nothing_to_fetch(name: str, sources: Mapping[str, Source]) -> UserError:
    why = {
        "digits": "digits comes with scikit-learn, there is nothing to fetch",
        "folder": "folder means your own images, there is nothing to fetch; name them with dataset.path in the recipe",
        "npz": "npz means your own arrays, there is nothing to fetch; name them with dataset.path in the recipe",
    }
    return UserError(why.get(name, f"unknown data set '{name}'; choose from {', '.join(sources)}"))
