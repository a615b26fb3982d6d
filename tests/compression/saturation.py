"""x86 without VNNI, in integers: u8 times s8 as `vpmaddubsw` and `vpmaddwd` add them, on every machine.

`vpmaddubsw` adds two neighbouring products and keeps them within 16 bits; `vpmaddwd` and what follows add in 32. ONNX
Runtime lays out a convolution's patches as (rows, columns, channels), so that neighbours are channels of one pixel.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper

LEAST, MOST = -(2**15), 2**15 - 1


def exact_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """u8 (m, k) times s8 (k, n) in 64 bits."""
    return a.astype(np.int64) @ b.astype(np.int64)


def saturating_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same with every sum of two neighbouring products cut to 16 bits."""
    total = np.zeros((len(a), b.shape[1]), np.int64)
    for k in range(0, a.shape[1], 2):  # an odd last product stands alone
        total += exact_product(a[:, k : k + 2], b[k : k + 2]).clip(LEAST, MOST)
    return total


@dataclass(frozen=True)
class Convolution:
    """A quantized one that is not depthwise: patches (n, k) u8 of real images, and weights (k, out) s8."""

    name: str
    patches: np.ndarray
    weights: np.ndarray


def convolutions(segments: list[ModelProto], images: np.ndarray) -> Iterator[Convolution]:
    """The quantized convolutions of the segments, with what enters them for `images` (n, channels, h, w) uint8."""
    x = images
    for segment in segments:
        made_by = {name: node for node in segment.graph.node for name in node.output}
        values = {t.name: numpy_helper.to_array(t) for t in segment.graph.initializer}
        found = [n for n in segment.graph.node if n.op_type == "Conv" and made_by[n.input[1]].input[0] in values]
        entering = [made_by[node.input[0]] for node in found]
        features, x = _run(segment, [node.input[0] for node in entering], x)
        for node, scaled, levels in zip(found, entering, features, strict=True):
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            weights = values[made_by[node.input[1]].input[0]]
            if given.get("group", 1) == 1:
                patches = _patches(levels, weights.shape[2:], given, int(values[scaled.input[2]]))
                yield Convolution(node.name, patches, weights.transpose(2, 3, 1, 0).reshape(-1, len(weights)))


def _run(segment: ModelProto, names: list[str], x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """These values inside a segment, and what it hands on. Calculated in floats: no integer kernel takes part."""
    model = onnx.ModelProto.FromString(segment.SerializeToString())
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    *features, last = session.run([*names, segment.graph.output[-1].name], {segment.graph.input[0].name: x})
    return features, last


def _patches(levels: np.ndarray, kernel: tuple[int, ...], given: dict[str, list[int]], zero: int) -> np.ndarray:
    """(n, channels, h, w) -> (patches, rows · columns · channels)."""
    top, left, bottom, right = given.get("pads", [0] * 4)
    down, along = given.get("strides", [1, 1])
    padded = np.pad(levels, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=zero)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (2, 3))[:, :, ::down, ::along]
    count = windows.shape[0] * windows.shape[2] * windows.shape[3]
    return windows.transpose(0, 2, 3, 4, 5, 1).reshape(count, -1)  # (n, h, w, rows, columns, channels)
