"""PyTorch's torch.compile: the segments of `erde_nas.device.runtimes.torch`, compiled where they are measured.

That needs a C++ compiler. What it makes lies beside the segments, so that the processes of one measurement share it.
Batches are compiled for a free batch size, and for single images apart: PyTorch treats a size of 1 as another shape.
"""

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erde_nas.device.runtimes.compaction import Compacting
from erde_nas.device.runtimes.interface import Deployable, Runner, Setting
from erde_nas.device.runtimes.torch import DEVICES, EXTRA, PACKAGE, PRECISIONS, as_segment, load_modules, versions
from erde_nas.device.runtimes.torch import prepare as prepare_eager
from erde_nas.errors import UserError

__all__ = ["DEVICES", "EXTRA", "PACKAGE", "PRECISIONS", "load", "prepare", "versions"]

ANSWERS_LIKE = "torch"  # which loads in a moment, where compiling takes minutes
COMPILERS = ("g++", "c++", "clang++")


def prepare(deployable: Deployable, setting: Setting, folder: Path) -> list[Path]:
    """The files of the eager runtime and an image to compile with. Raises UserError without a C++ compiler."""
    wanted = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if not any(map(shutil.which, wanted)):
        raise UserError(
            f"torch.compile needs a C++ compiler, but found none of {', '.join(wanted)}; install g++ (Debian: apt-get "
            "install g++), or take a profile with the runtime torch"
        )
    files = prepare_eager(deployable, setting, folder)
    _, example = deployable.modules(setting, "torch-compile")[0]
    np.save(folder / "image.npy", np.asarray(example))
    return [*files, folder / "image.npy"]


def load(files: Sequence[str], setting: Setting) -> Runner:
    """Compiled segments. Raises RuntimeError where the compiler fails."""
    *segments, image = files
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(image).parent / "compiled")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of processes beside the measured one
    import torch

    images = np.load(image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what PyTorch itself deprecates
        modules = [torch.compile(module, dynamic=setting.batch_size > 1) for module in load_modules(segments, setting)]
        runner = Compacting([as_segment(module, setting.device) for module in modules], setting.rule)
        for count in {len(images), 1}:
            runner.run(images[:count], np.full(len(modules) - 1, -1, np.float32))
    return runner
