"""The teacher's logits for every view of every training image, computed once and read by all candidates.

A memory-mapped fp16 file (views, images, teacher exits, classes) under a hash of teacher, data and view seed. It is
written beside its place and moved there whole, so readers never see half of it.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from erde_nas.data.cache import cache_dir
from erde_nas.data.views import Views
from erde_nas.distil.teacher import Teacher
from erde_nas.files import write_atomic

BATCH = 512


def targets_path(teacher: Teacher, views: Views) -> Path:
    """Where the logits of this teacher for these views are kept."""
    parts = [teacher.key, views.section.model_dump(), views.seed, len(views), views.count]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return cache_dir() / "logits" / f"{key}.npy"


def cached_logits(teacher: Teacher, views: Views, progress: Callable[[int, int], None] | None = None) -> torch.Tensor:
    """Logits (views, images, teacher exits, classes) fp16, on the views' device where they fit a GPU."""
    path = targets_path(teacher, views)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda temporary: _compute(teacher, views, temporary, progress))
    logits = np.load(path, mmap_mode="c")  # copy on write: torch wants a writable array, the file stays as it is
    return torch.from_numpy(logits).to(views.images.device)


@torch.no_grad()
def _compute(teacher: Teacher, views: Views, path: Path, progress: Callable[[int, int], None] | None) -> None:
    first = teacher.network(views.images[:1])
    shape = (views.count, len(views), len(first), first[0].shape[-1])
    with path.open("wb") as file:  # not open_memmap: it would add a suffix to the temporary name
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for number in range(views.count):
            images = views.view(number)
            for start in range(0, len(views), BATCH):
                logits = torch.stack(teacher.network(images[start : start + BATCH]), 1)  # (batch, exits, classes)
                file.write(logits.float().clamp(-6e4, 6e4).half().cpu().numpy().tobytes())
            if progress is not None:
                progress(number + 1, views.count)
