"""Unpacks .tar.gz and .zip archives, and nothing outside the folder that it is given."""

import gzip
import tarfile
import zipfile
import zlib
from pathlib import Path

from erde_nas.errors import UserError


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` below `folder`. Raises UserError if it is damaged, or if a member would land elsewhere.

    Links, devices and absolute names in a tar file are refused by `tarfile`'s data filter (PEP 706). After an error
    `folder` may hold some of the members.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".zip":
            _unpack_zip(archive, folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
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
        file.extractall(folder)
