"""The teacher's logits for every view of every training image, computed once and read by all candidates.

A memory-mapped fp16 file (views, images, teacher exits, classes) under a hash of teacher, data and view seed. It is
written beside its place and moved there whole, so readers never see half of it.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from erde_nas.data.cache import cache_dir
from erde_nas.data.views import Views
from erde_nas.distil.teacher import Teacher
from erde_nas.files import write_atomic

BATCH = 512


def targets_path(teacher: Teacher, views: Views, count: int) -> Path:
    """Where the logits of this teacher for the first `count` views are kept."""
    parts = [teacher.key, views.section.model_dump(), views.seed, len(views), count]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return cache_dir() / "logits" / f"{key}.npy"


def cached_logits(
    teacher: Teacher, views: Views, count: int, progress: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """Logits (count, images, teacher exits, classes) fp16 of the first `count` views, on the views' device."""
    path = targets_path(teacher, views, count)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda temporary: _compute(teacher, views, count, temporary, progress))
    logits = np.load(path, mmap_mode="c")  # copy on write: torch wants a writable array, the file stays as it is
    return torch.from_numpy(logits).to(views.images.device)


@torch.no_grad()
def _compute(
    teacher: Teacher, views: Views, count: int, path: Path, progress: Callable[[int, int], None] | None
) -> None:
    first = teacher.network(views.images[:1])
    shape = (count, len(views), len(first), first[0].shape[-1])
    with path.open("wb") as file:  # not open_memmap: it would add a suffix to the temporary name
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        bf16 = _bf16_is_faster(teacher, views.images[:BATCH])
        for number in range(count):
            images = views.view(number)
            for start in range(0, len(views), BATCH):
                with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                    logits = torch.stack(teacher.network(images[start : start + BATCH]), 1)  # (batch, exits, classes)
                file.write(logits.float().clamp(-6e4, 6e4).half().cpu().numpy().tobytes())
            if progress is not None:
                progress(number + 1, count)


def _bf16_is_faster(teacher: Teacher, images: torch.Tensor) -> bool:
    """Whether one batch takes less time under bf16 autocast here; the second run of each counts."""
    seconds = {}
    for bf16 in (False, True):
        for _ in range(2):
            begin = time.perf_counter()
            with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                teacher.network(images)
            if images.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[bf16] = time.perf_counter() - begin
    return seconds[True] < seconds[False]
