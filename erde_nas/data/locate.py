"""Finds an official data set on this machine."""

from pathlib import Path

from erde_nas.cache import cache_dir
from erde_nas.data.official import Source
from erde_nas.errors import DataMissing, UserError


def find(source: Source, data_dir: Path | None) -> Path | None:
    """The first folder that holds every file of the data set, or None.

    With `data_dir` only this folder and its official sub-folders count, so that the images asked for are never
    replaced by others; without it the cache directory, then where the operating system's package puts them.
    """
    return next((place for place in _places(source, data_dir) if not missing_files(source, place)), None)


def locate(source: Source, data_dir: Path | None) -> Path:
    """Like `find`, but raises UserError that says what is missing, where it was sought and what to do.

    DataMissing where nothing of it is here.
    """
    found = find(source, data_dir)
    if found:
        return found
    places = _places(source, data_dir)
    for place in places:
        missing = missing_files(source, place)
        if len(missing) < len(source.needs):
            raise UserError(f"data set '{source.name}': {place} lacks {', '.join(missing)}; {source.next_step}")
    raise DataMissing(
        f"data set '{source.name}' not found: looked for {', '.join(source.needs)} "
        f"in {', '.join(map(str, places))}; {source.next_step}"
    )


def file_in(source: Source, place: Path, name: str) -> Path | None:
    """The file or folder `name` of the data set in `place`, under any of the source's suffixes, or None."""
    return next((path for suffix in source.suffixes if (path := place / (name + suffix)).exists()), None)


def missing_files(source: Source, place: Path) -> list[str]:
    """Which of the files that the data set cannot be read without are not in `place`."""
    return [name for name in source.needs if file_in(source, place, name) is None]


def _places(source: Source, data_dir: Path | None) -> list[Path]:
    if data_dir is not None:
        return [data_dir, *(data_dir / folder for folder in source.folders)]
    return [*(cache_dir() / folder for folder in source.folders), *source.system]
