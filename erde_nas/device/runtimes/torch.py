"""PyTorch itself, eagerly: the baseline of servers that never export anything. Its segments run one after the other.

A segment is shipped as a torch.fx graph of its layers, which is as fast as the network itself and needs PyTorch alone
where it runs; what torch.export makes of it takes 1.7 to 2.1 times as long in eager mode. In bf16 weights and features
are converted: autocast takes 1.9 to 2.9 times as long as fp32 for students, since it converts the weights in each call.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from erde_nas.device.runtimes.compaction import Compacting, Segment
from erde_nas.device.runtimes.interface import Deployable, Runner, Setting
from erde_nas.errors import UserError

PACKAGE = "torch"
EXTRA = ""
PRECISIONS = ("fp32", "bf16")
DEVICES = ("cpu", "cuda")


def versions() -> dict[str, str]:
    """The version of PyTorch."""
    return {"torch": version("torch")}


def prepare(deployable: Deployable, setting: Setting, folder: Path) -> list[Path]:
    """One file per segment, in the setting's precision."""
    import torch

    paths = []
    for number, (module, _) in enumerate(deployable.modules(setting, "torch")):
        paths.append(folder / f"segment{number}.pt")
        graph = _in_precision(_graph(module), setting.precision)
        graph.reads = getattr(module, "reads", ())
        torch.save(graph, paths[-1])
    return paths


def _graph(module: Any) -> Any:
    """The module's layers without its classes. One that cannot be traced stays as it is."""
    from torch.fx import symbolic_trace

    try:
        return symbolic_trace(module).eval()
    except Exception:  # torch.fx raises whatever a foreign teacher's code makes of a symbolic value
        return module


def _in_precision(module: Any, precision: str) -> Any:
    """The graph with weights and features in that precision. Raises UserError where that is impossible."""
    import torch

    if precision == "fp32":
        return module
    if not isinstance(module, torch.fx.GraphModule):
        raise UserError("the network cannot be traced for bf16; take a profile with precision: fp32")
    for node in module.graph.nodes:
        if node.op == "call_method" and node.target == "float":  # pixels are normalised in bf16 as well
            node.target = "bfloat16"
    module.recompile()
    return module.to(torch.bfloat16)


def load(files: Sequence[str], setting: Setting) -> Runner:
    """The segments, on `threads` threads or the GPU. Raises RuntimeError where there is none."""
    segments = [as_segment(module, setting.device) for module in load_modules(files, setting)]
    return Compacting(segments, setting.rule)


def load_modules(files: Sequence[str], setting: Setting) -> list[Any]:
    """What `prepare` wrote, on the setting's device."""
    import torch

    torch.set_num_threads(setting.threads)
    # They are pickled graphs, but of our own making, in a folder that was made for this measurement.
    return [torch.load(path, map_location=setting.device, weights_only=False) for path in files]


def as_segment(module: Callable[..., Any], device: str) -> Segment:
    """Pixels (numpy) or features (a tensor that stays on the device) -> logits (numpy, float32) and features."""
    import torch

    def segment(*xs: Any) -> list[Any]:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(x).to(device) if isinstance(x, np.ndarray) else x for x in xs))
            logits, *features = outputs if isinstance(outputs, tuple) else (outputs,)
            return [logits.float().cpu().numpy(), *features]

    return Segment(segment, tuple(getattr(module, "reads", ())))
