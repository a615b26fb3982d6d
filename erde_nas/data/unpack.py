"""Unpacks .tar.gz and .zip archives, nothing outside the folder that it is given, and no more than a data set holds.

A checksum says that a file is the one that was meant, not that it is harmless: what is unpacked is bounded all the
same.
"""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from erde_nas.errors import UserError

MOST_TIMES = 20  # what an archive's members may take together, in sizes of the archive; of images it is 1 to 3
LEAST_BYTES = 100_000_000  # that are allowed whatever the archive's size
MOST_MEMBERS = 2_000_000
Sized = tuple[str, int]  # a member's name, and the bytes that it takes


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` below `folder`. Raises UserError if it is damaged, if a member would land elsewhere, or if it
    unpacks to far more than an archive of images does.

    Links, devices and absolute names in a tar file are refused by `tarfile`'s data filter (PEP 706). After an error
    `folder` may hold some of the members.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, _within(tar, archive), filter="data")
    except tarfile.FilterError as error:
        raise UserError(
            f"{archive}: refused to unpack, {error}; remove the archive and get it from its authors"
        ) from error
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{archive}: damaged archive ({error}); remove it and fetch it again") from error
    except OSError as error:
        raise UserError(
            f"{archive}: cannot be unpacked into {folder} ({error}); make room there and try again"
        ) from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    root = folder.resolve()
    with zipfile.ZipFile(archive) as file:
        # `extractall` would quietly rename such members; an archive that holds one is not what it claims to be.
        outside = [name for name in file.namelist() if not (root / name).resolve().is_relative_to(root)]
        if outside:
            raise UserError(
                f"{archive}: refused to unpack, '{outside[0]}' would land outside {folder}; remove the archive and "
                "get it from its authors"
            )
        for _ in _bounded(((member.filename, member.file_size) for member in file.infolist()), archive):
            pass  # all of them before the first is written: a zip archive lists its members at its end
        file.extractall(folder)


def _within(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    """The members in turn, as long as they are within bounds: each is unpacked before the next is looked at."""

    def sized() -> Iterator[tuple[str, int]]:
        for member in tar:
            members.append(member)
            yield member.name, member.size

    members: list[tarfile.TarInfo] = []
    for _ in _bounded(sized(), archive):
        yield members.pop()


def _bounded(members: Iterable[Sized], archive: Path) -> Iterator[Sized]:
    most, total = max(LEAST_BYTES, MOST_TIMES * archive.stat().st_size), 0
    for count, (name, size) in enumerate(members, 1):
        total += size
        if total > most or count > MOST_MEMBERS:
            raise UserError(
                f"{archive}: refused to unpack, from '{name}' on it would take more than {most} bytes or "
                f"{MOST_MEMBERS} files; remove the archive and get it from its authors"
            )
        yield name, size
