"""The teacher's logits for every view of every training image, computed once and read by all candidates.

A memory-mapped fp16 file (views, images, teacher exits, classes) named by a hash of teacher, data and views, and a
description beside it that says the same in words, with a digest of the content. The description is written
last: where it is, the file is whole. A cache is disposable: whatever does not fit its description is made again.

One process writes while the others that need the same file wait for it. Readers need no lock.
"""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from erde_nas.cache import cache_dir, only_writer
from erde_nas.data.memory import readable
from erde_nas.data.views import Views
from erde_nas.distil.teachers.load import content_key
from erde_nas.distil.teachers.teacher import Teacher
from erde_nas.distil.teachers.teacher_pass import TeacherPass
from erde_nas.errors import UserError
from erde_nas.files import is_temporary, read_json, sha256_of, write_atomic, write_json

FORMAT = 4  # raise it when the files change their meaning
Progress = Callable[[int, int], None]
"""(views done, views in all)."""


def _nobody(_: object, __: object = None) -> None:
    """Hears nothing."""


@dataclass(frozen=True)
class Wanted:
    """What a file of logits must be, by which it is found and checked."""

    teacher: str
    data: str
    views: dict[str, Any]
    seed: int
    count: int
    images: int

    @property
    def path(self) -> Path:
        """The file; `.json` in place of `.npy` is its description."""
        return cache_dir() / "logits" / f"{content_key([FORMAT, vars(self)])}.npy"


def wanted(teacher: Teacher, views: Views, count: int) -> Wanted:
    """The logits of this teacher for the first `count` views."""
    section = views.section.model_dump(exclude={"cached_views"})
    key = content_key([teacher.key, teacher.weights]) if teacher.weights else teacher.key
    return Wanted(key, views.data, section, views.seed, count, len(views))


def targets_path(teacher: Teacher, views: Views, count: int) -> Path:
    """Where the logits of this teacher for the first `count` views are kept."""
    return wanted(teacher, views, count).path


def is_cached(teacher: Teacher, views: Views, count: int) -> bool:
    """Whether they are there, whole and fitting."""
    return _open(wanted(teacher, views, count))[0] is not None


def cached_logits(
    teacher: Teacher,
    views: Views,
    count: int,
    progress: Progress = _nobody,
    say: Callable[[str], None] = _nobody,
) -> torch.Tensor:
    """Logits (count, images, teacher exits, classes) fp16 of the first `count` views, on the views' device.

    `say` hears of the size before anything is written, of waiting for another process, and of a file that has to be
    made again. Raises UserError where they fit neither the disk nor the device.
    """
    want = wanted(teacher, views, count)
    logits, _ = _open(want)
    if logits is None:
        with only_writer(want.path, say):
            logits, why = _open(want)  # another process may have made it meanwhile
            if logits is None:
                if why:
                    say(f"{want.path} {why}; the teacher's logits are computed again")
                _make(want, teacher, views, progress, say)
                logits, why = _open(want)
    if logits is None:
        raise UserError(f"{want.path} {why} right after it was written; check the disk, or set ERDE_NAS_CACHE")
    return _on_device(torch.from_numpy(logits), views.device)


def _open(want: Wanted) -> tuple[np.ndarray | None, str]:
    """The file's array, or None and what is wrong with it (nothing where it is just absent)."""
    description = want.path.with_suffix(".json")
    if not want.path.is_file() and not description.is_file():
        return None, ""
    try:
        found = read_json(description)
        if {key: found[key] for key in vars(want)} != vars(want):
            differing = [key for key, value in vars(want).items() if found[key] != value]
            return None, f"belongs to another {differing[0]}"
        if want.path.stat().st_size != found["bytes"] or sha256_of(want.path) != found["digest"]:
            return None, "is truncated or damaged"
        # Copy on write: torch wants a writable array, the file stays as it is.
        logits = np.load(want.path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:  # DamagedJson is a ValueError
        return None, "is incomplete" if isinstance(error, FileNotFoundError) else "or its description is damaged"
    if logits.dtype != np.float16 or logits.ndim != 4 or logits.shape[:2] != (want.count, want.images):
        return None, f"holds {logits.dtype} {logits.shape}, not fp16 for {want.count} views of {want.images} images"
    return logits, ""


def _make(want: Wanted, teacher: Teacher, views: Views, progress: Progress, say: Callable[[str], None]) -> None:
    """Compute and write the file, then its description; the caller holds the lock."""
    run = TeacherPass(teacher.network, views)
    shape = (want.count, want.images, *run.shape)
    size = 2 * int(np.prod(shape, dtype=np.int64))
    description = want.path.with_suffix(".json")
    for left in want.path.parent.glob(f".{want.path.name}.*"):  # of a writer that was killed: no other has the lock
        if is_temporary(left.name):
            left.unlink(missing_ok=True)
    say(
        f"teacher logits: {readable(size)} in {want.path.parent}, fp16 "
        f"({' × '.join(map(str, shape))} views, images, exits and classes)"
    )
    _check_space(size, want)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # not open_memmap: it would add a suffix to the temporary name
            _write(file, shape, run, progress)

    try:
        description.unlink(missing_ok=True)
        write_atomic(want.path, write)
        stored = {"bytes": want.path.stat().st_size, "digest": sha256_of(want.path), "shape": shape, "dtype": "fp16"}
        write_json(description, {**vars(want), **stored})
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_space(size, shutil.disk_usage(want.path.parent).free, want) from error
        raise UserError(f"{want.path} cannot be written ({error.strerror}); set ERDE_NAS_CACHE") from error


def _write(file: BinaryIO, shape: tuple[int, ...], run: TeacherPass, progress: Progress) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
    for number in range(shape[0]):
        for logits in run.view(number):
            file.write(logits.numpy().tobytes())
        progress(number + 1, shape[0])
    file.flush()
    os.fsync(file.fileno())  # what is moved to its place must be whole even if the power fails


def _check_space(size: int, want: Wanted) -> None:
    free = shutil.disk_usage(want.path.parent).free
    if size > free:
        raise _no_space(size, free, want)


def _no_space(size: int, free: int, want: Wanted) -> UserError:
    fit = free * want.count // size
    fewer = f"lower views.cached_views from {want.count} to {fit}" if 0 < fit < want.count else "free some space"
    return UserError(
        f"the teacher's logits need {readable(size)}, but {want.path.parent} has {readable(free)} free; {fewer}, "
        "or set ERDE_NAS_CACHE to a larger disk"
    )


def _on_device(logits: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if logits.nbytes > free:
            raise UserError(
                f"the teacher's logits need {readable(logits.nbytes)} on the GPU, but {readable(free)} are free; lower "
                "views.cached_views, or use --device cpu"
            )
    return logits.to(device)
