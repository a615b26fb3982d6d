"""ExecuTorch with XNNPACK: a program per segment, for phones and boards.

Its programs have no usable control flow, hence segments. They are made for a fixed number of images: a batch that has
shrunk is filled up, so that compaction saves whole segments but no part of one. int8 is not offered: it would need a
quantizer of its own, beside the one whose files the other runtimes share.
"""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.device.runtimes.compaction import Compacting, Segment
from erde_nas.device.runtimes.interface import Deployable, Runner, Setting

PACKAGE = EXTRA = "executorch"
PRECISIONS = ("fp32",)
DEVICES = ("cpu",)


def versions() -> dict[str, str]:
    """The version of ExecuTorch."""
    return {"executorch": version("executorch")}


def prepare(deployable: Deployable, setting: Setting, folder: Path) -> list[Path]:
    """One program per segment. Lowering takes seconds each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls what PyTorch deprecates
        return [
            _write(module, x, folder / ".".join([f"segment{number}", *getattr(module, "reads", ()), "pte"]))
            for number, (module, x) in enumerate(deployable.modules(setting, "executorch"))
        ]


def _write(module: Any, x: Any, path: Path) -> Path:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(module, x if isinstance(x, tuple) else (x,))
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(program.buffer)
    return path


def load(files: Sequence[str], setting: Setting) -> Runner:
    """The programs, on `threads` threads. Raises RuntimeError where ExecuTorch refuses them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
        from executorch.runtime import Runtime

    runtime = Runtime.get()
    _unsafe_reset_threadpool(setting.threads)  # before anything runs: its one way to choose a number of threads
    return Compacting(
        [_as_segment(runtime.load_program(path), path, setting.batch_size) for path in map(Path, files)], setting.rule
    )


def _as_segment(program: Any, path: Path, batch_size: int) -> Segment:
    """`path` says what it reads where that is not just the segment before: segment2.image.logits1.pte."""
    import torch

    method = program.load_method("forward")

    def filled(x: np.ndarray) -> Any:
        if len(x) < batch_size:
            x = np.concatenate([x, np.zeros((batch_size - len(x), *x.shape[1:]), x.dtype)])
        return torch.from_numpy(np.ascontiguousarray(x))

    def segment(*xs: np.ndarray) -> list[np.ndarray]:
        outputs = method.execute([filled(x) for x in xs])
        return [output.numpy()[: len(xs[0])].copy() for output in outputs]  # the next call writes there

    return Segment(segment, tuple(path.name.split(".")[1:-1]))
