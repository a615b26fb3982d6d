"""What a network's segments make a runtime do, as numbers from which latency can be predicted.

The operations are those that PyTorch runs on one image, seen as a runtime fuses them: a batch norm behind a convolution
and every ReLU belong to the operation before them, as in the kernels of nn-Meter (Zhang et al., MobiSys 2021). Small
networks spend most of their time on operations as such, so they are counted by kind. What an operation computes is
counted in MACs with its output channels rounded up to the 16 that fit an AVX-512 register: ONNX Runtime's CPU kernels
work on such blocks of channels, so latency rises in steps. Each kind has a bandwidth of its own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from erde_nas.networks.network import EarlyExitNetwork

CHANNEL_STEP = 16
FLOAT_BYTES = 4
FEATURES = (
    "first segments",  # 1 for the first one, which bears what a call costs as such
    "later segments",  # 1 for every other one, which bears the decision that leads to it
    "convolutions",
    "convolution MACs",
    "pointwise convolutions",
    "pointwise MACs",
    "depthwise convolutions",
    "depthwise MACs",
    "linear layers",
    "linear MACs",
    "norms",  # that follow no convolution
    "norm bytes",
    "poolings",
    "pooling bytes",
    "additions",
    "addition bytes",
    "shuffles",
    "shuffle bytes",
    "activation bytes",  # that convolutions read and write
    "weight bytes",
)
Counts = dict[str, float]


@torch.no_grad()
def segment_features(network: EarlyExitNetwork) -> np.ndarray:
    """(segments, len(FEATURES)): what runs between two exits, with the head that it ends in, for one image.

    MACs have their channels rounded up; bytes are those of 32-bit floats. The network's mode is left as it was.
    """
    arch, training, device = network.arch, network.training, next(network.parameters()).device
    network.eval()
    x = torch.zeros(1, arch.in_channels, arch.image_size, arch.image_size, device=device)
    rows = []
    for number, segment in enumerate(network.parts):
        with _Recorder() as recorder:
            x = segment(x)[0]
        counts = {"first segments" if number == 0 else "later segments": 1.0, **recorder.counts}
        rows.append([counts.get(name, 0.0) for name in FEATURES])
    network.train(training)
    return np.array(rows)


class _Recorder(TorchFunctionMode):
    """Counts the operations that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counts = {}
        self._convolved: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result, name = func(*args, **(kwargs or {})), getattr(func, "__name__", "")
        if name == "conv2d":
            self._add(_convolution(args[0], args[1], result))
            self._convolved = result
        elif name == "linear":
            self._add({"linear layers": 1, "linear MACs": args[1].numel(), "weight bytes": _bytes(args[1])})
        elif name == "batch_norm" and args[0] is not self._convolved:
            self._add({"norms": 1, "norm bytes": _bytes(args[0]) + _bytes(result)})
        elif name in ("avg_pool2d", "max_pool2d"):
            self._add({"poolings": 1, "pooling bytes": _bytes(args[0]) + _bytes(result)})
        elif name == "stack":
            self._add({"shuffles": 1, "shuffle bytes": 2 * _bytes(result)})
        elif name == "add" and isinstance(args[1], Tensor) and args[0].shape == args[1].shape:
            self._add({"additions": 1, "addition bytes": 3 * _bytes(result)})
        return result

    def _add(self, counts: Counts) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0.0) + count


def _convolution(x: Tensor, weight: Tensor, result: Tensor) -> Counts:
    """Of `weight` (outputs, inputs of a group, k, k); one with several groups is taken for a depthwise one."""
    outputs, inputs, kernel, _ = weight.shape
    stepped = -(-outputs // CHANNEL_STEP) * CHANNEL_STEP
    macs = stepped * inputs * kernel**2 * result.shape[-1] * result.shape[-2]
    depthwise, kind = inputs < x.shape[1], "convolution"
    if depthwise or kernel == 1:
        kind = "depthwise" if depthwise else "pointwise"
    return {
        "convolutions" if kind == "convolution" else f"{kind} convolutions": 1,
        f"{kind} MACs": macs,
        "activation bytes": _bytes(x) + _bytes(result),
        "weight bytes": _bytes(weight),
    }


def _bytes(tensor: Tensor) -> int:
    return FLOAT_BYTES * tensor.numel()
