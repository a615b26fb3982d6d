"""Downloads the official data sets, and lists which are there."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from erde_nas.cache import cache_dir
from erde_nas.data.download import Progress, download
from erde_nas.data.kind import DatasetKind, kind_of, official
from erde_nas.data.locate import find, missing_files
from erde_nas.data.official import Source
from erde_nas.data.unpack import unpack
from erde_nas.errors import UserError
from erde_nas.registry import DATASETS

_ARCHIVES = (".tar.gz", ".zip")


@dataclass(frozen=True)
class Listing:
    """One line of `erde-nas data list`."""

    name: str
    origin: str  # the host or the package it comes from
    size_bytes: int  # of the download, 0 where there is none
    found: str | None  # where it lies on this machine
    note: str  # citation and licence


def list_datasets(data_dir: Path | None = None) -> list[Listing]:
    """Every data set that a recipe can name; sought in `data_dir`, or else in the usual places."""
    return [_listing(name, kind_of(name), data_dir) for name in DATASETS]


def _listing(name: str, kind: DatasetKind, data_dir: Path | None) -> Listing:
    if kind.source is None:
        return Listing(name, kind.origin, 0, kind.found, kind.note)
    found = find(kind.source, data_dir)
    origin = kind.source.files[0].url.rsplit("/", 1)[0]
    return Listing(name, origin, kind.source.size_bytes, str(found) if found else None, kind.source.note)


def fetch(
    name: str,
    data_dir: Path | None = None,
    *,
    sources: Mapping[str, Source] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a data set into `data_dir` (None: the cache directory) and return its folder.

    Does nothing if it is there already. The folder appears under its name only when it is whole; until then
    everything is in FOLDER.part, and the next call continues there. Raises UserError. `sources`: what can be fetched.
    """
    sources = official() if sources is None else sources
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
    if name in DATASETS and name not in sources:
        kind = kind_of(name)
        means = "means " if "path" in kind.keys else ""
        return UserError(f"{name} {means}{kind.origin}, there is nothing to fetch")
    return UserError(f"unknown data set '{name}'; choose from {', '.join(sources)}")
